/** Weights over the network: each shard once, checked, and gone on with where it stopped. */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { SHARD_INDEX, type Shard, type ShardIndex } from "../io/safetensors/shard-index.ts";
import { ShardError } from "./shard-error.ts";
import type { ShardPlace, ShardStore } from "./shard-store.ts";

export interface FetchOptions {
  readonly store: ShardStore;
  /** Bytes that are there, of all. */
  readonly onProgress: (done: number, all: number) => void;
  readonly signal: AbortSignal;
}

/** How often a shard that stops is gone on with, when nothing more of it comes. */
const TRIES = 3;
/** Bytes that are read at once to be hashed again. */
const PIECE = 1 << 20;

/**
 * The shards of a folder by name.
 * @param folder its address, which ends in a slash
 * @throws ShardError that names the shard; the signal's reason
 */
export async function fetchShards(
  folder: string,
  index: ShardIndex,
  options: FetchOptions,
): Promise<Map<string, Blob>> {
  const { store, onProgress, signal } = options;
  const all = index.shards.reduce((sum, { bytes }) => sum + bytes, 0);
  const shards = new Map<string, Blob>();
  let before = 0;
  for (const shard of index.shards) {
    signal.throwIfAborted();
    const url = new URL(shard.file, folder).href;
    const listen = (bytes: number): void => onProgress(before + bytes, all);
    // Another tab may be at it: what it has fetched is there when it is our turn.
    const blob = await exclusively(shard.sha256, signal, () => fetchShard(url, shard, store, listen, signal));
    shards.set(shard.file, blob);
    before += shard.bytes;
    listen(0);
  }
  return shards;
}

/** Shards that are there already. @throws ShardError that names one that is not what the index says */
export async function checkShards(index: ShardIndex, shards: ReadonlyMap<string, Blob>): Promise<void> {
  for (const { file, bytes, sha256: wanted } of index.shards) {
    const blob = shards.get(file);
    if (blob === undefined) throw new ShardError(file, "is missing");
    if (blob.size !== bytes) throw new ShardError(file, `has ${blob.size} bytes, not ${bytes}`);
    const hash = sha256.create();
    for (let at = 0; at < bytes; at += PIECE) hash.update(await bytesOf(blob.slice(at, at + PIECE)));
    const got = bytesToHex(hash.digest());
    if (got !== wanted) throw new ShardError(file, mismatch(got, wanted));
  }
}

async function bytesOf(blob: Blob): Promise<Uint8Array> {
  return new Uint8Array(await blob.arrayBuffer());
}

function mismatch(got: string, wanted: string): string {
  return `is not the one that ${SHARD_INDEX} means: its SHA-256 is ${got}, not ${wanted}`;
}

function exclusively<T>(name: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const locks = (globalThis.navigator as Navigator | undefined)?.locks;
  return locks === undefined ? work() : (locks.request(`dskc ${name}`, { signal }, work) as Promise<T>);
}

async function fetchShard(
  url: string,
  shard: Shard,
  store: ShardStore,
  listen: (bytes: number) => void,
  signal: AbortSignal,
): Promise<Blob> {
  const found = await store.open(shard.sha256, shard.bytes);
  if (found instanceof Blob) return found;
  const place = found;
  try {
    for (let again = false; ; again = true) {
      const download = new Download(url, shard, place, listen, signal);
      await download.run(again);
      const got = download.digest();
      if (got === shard.sha256) return await place.finish();
      place.clear();
      if (again) throw new ShardError(shard.file, `${mismatch(got, shard.sha256)}; it was fetched twice`);
    }
  } catch (error) {
    place.close();
    throw error;
  }
}

/** One shard on its way into its place. */
class Download {
  readonly #url: string;
  readonly #shard: Shard;
  readonly #place: ShardPlace;
  readonly #listen: (bytes: number) => void;
  readonly #signal: AbortSignal;
  #hash = sha256.create();

  constructor(url: string, shard: Shard, place: ShardPlace, listen: (bytes: number) => void, signal: AbortSignal) {
    this.#url = url;
    this.#shard = shard;
    this.#place = place;
    this.#listen = listen;
    this.#signal = signal;
    if (place.size > shard.bytes) place.clear();
    for (let at = 0; at < place.size;) {
      const piece = place.read(at, Math.min(PIECE, place.size - at));
      this.#hash.update(piece);
      at += piece.length;
    }
  }

  digest(): string {
    return bytesToHex(this.#hash.digest());
  }

  /** @param anew past the cache of the browser, which may have what was wrong */
  async run(anew: boolean): Promise<void> {
    const { file, bytes } = this.#shard;
    for (let tries = 0; this.#place.size < bytes;) {
      const from = this.#place.size;
      try {
        await this.#read(from, anew);
        if (this.#place.size < bytes) throw new Error("the connection ended");
      } catch (error) {
        this.#signal.throwIfAborted();
        if (error instanceof ShardError) throw error;
        if ((error as Error).name === "QuotaExceededError") {
          const why = `of ${bytes.toLocaleString("en-US")} bytes has no room in what this page may store`;
          throw new ShardError(file, `${why}: \`cache: false\` stores nothing`, { cause: error });
        }
        tries = this.#place.size > from ? 0 : tries + 1;
        const why = `stopped at byte ${this.#place.size} of ${bytes}: ${(error as Error).message}`;
        if (tries === TRIES)
          throw new ShardError(file, `${why}; the next attempt goes on from there`, { cause: error });
        await new Promise((resolve) => setTimeout(resolve, 200 * 2 ** tries));
      }
    }
  }

  async #read(from: number, anew: boolean): Promise<void> {
    const response = await fetch(this.#url, {
      headers: from > 0 ? { Range: `bytes=${from}-` } : {},
      cache: anew ? "reload" : "default",
      signal: this.#signal,
    });
    // A server that knows no ranges gives everything.
    if (from > 0 && (response.status === 416 || response.status === 200)) this.#startAgain();
    if (response.status === 416) return this.#read(0, true);
    if (!response.ok || response.body === null) {
      // The server may be able to in a moment.
      if (response.status >= 500) throw new Error(`the server answers ${response.status}`);
      throw new ShardError(this.#shard.file, `is not there: the server answers ${response.status}`);
    }
    const reader = response.body.getReader();
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      if (this.#place.size + piece.value.length > this.#shard.bytes) {
        await reader.cancel();
        this.#startAgain();
        throw new ShardError(
          this.#shard.file,
          `is longer than the ${this.#shard.bytes} bytes that ${SHARD_INDEX} says`,
        );
      }
      this.#place.append(piece.value);
      this.#hash.update(piece.value);
      this.#listen(this.#place.size);
    }
  }

  #startAgain(): void {
    this.#place.clear();
    this.#hash = sha256.create();
  }
}
