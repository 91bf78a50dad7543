/** Tokenized documents in a folder of their own: written once, then read in any order. */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { DataError } from "./data-error.ts";
import type { Documents } from "./documents.ts";
import { readRange } from "./files.ts";
import type { TokenDocument } from "./read/document.ts";
import { readTokens } from "./read/shards.ts";

/** Documents that lie one after the other in a file. */
export interface Region {
  /** Of another file than `tokens.bin`. */
  readonly path?: string;
  /** Where the tokens begin, in bytes. */
  readonly at: number;
  readonly width: 2 | 4 | 8;
  readonly documents: number;
}

/** `corpus.json`. The other files are `tokens.bin`, `lengths.bin` and `hashes.bin` (u32 a document), `counted.bin` (u8 a token). */
interface Index {
  readonly format: 1;
  readonly regions: readonly Region[];
  readonly counted: boolean;
  /** What a user should know about the files. */
  readonly remarks: readonly string[];
}

/** Writes a folder aside; it gets its name when it is complete. */
export class StoreWriter {
  readonly #folder: string;
  readonly #aside: string;
  readonly #tokens: Appender;
  readonly #counted: Appender;
  readonly #lengths: Appender;
  readonly #hashes: Appender;
  readonly #width: 2 | 4;
  #documents = 0;
  #anyCounted = false;

  /** @param vocabulary token numbers are below it */
  constructor(folder: string, vocabulary: number) {
    this.#folder = folder;
    this.#aside = join(dirname(folder), `.${basename(folder)}.${process.pid}`);
    this.#width = vocabulary <= 1 << 16 ? 2 : 4;
    clearAside(folder);
    mkdirSync(this.#aside, { recursive: true });
    const file = (name: string): Appender => new Appender(join(this.#aside, name));
    this.#tokens = file("tokens.bin");
    this.#counted = file("counted.bin");
    this.#lengths = file("lengths.bin");
    this.#hashes = file("hashes.bin");
  }

  add({ tokens, counted, hash }: TokenDocument): void {
    this.#tokens.append(this.#width === 2 ? Uint16Array.from(tokens) : Uint32Array.from(tokens));
    if (counted !== undefined) {
      this.#counted.append(Uint8Array.from(counted));
      this.#anyCounted = true;
    }
    this.describe(tokens.length, hash);
  }

  /** Notes a document whose tokens lie in a region of another file. */
  describe(length: number, hash: number): void {
    this.#lengths.append(Uint32Array.of(length));
    this.#hashes.append(Uint32Array.of(hash));
    this.#documents++;
  }

  /** @param regions where the tokens are, if they were not added */
  finish(remarks: readonly string[], regions?: readonly Region[]): void {
    for (const file of [this.#tokens, this.#counted, this.#lengths, this.#hashes]) file.close();
    const own: Region = { at: 0, width: this.#width, documents: this.#documents };
    const index: Index = { format: 1, regions: regions ?? [own], counted: this.#anyCounted, remarks };
    writeFileSync(join(this.#aside, "corpus.json"), `${JSON.stringify(index, undefined, 2)}\n`);
    try {
      renameSync(this.#aside, this.#folder);
    } catch (error) {
      this.discard();
      // Another process was faster: what it wrote is the same.
      if (!existsSync(join(this.#folder, "corpus.json"))) throw error;
    }
  }

  discard(): void {
    for (const file of [this.#tokens, this.#counted, this.#lengths, this.#hashes]) file.abandon();
    rmSync(this.#aside, { recursive: true, force: true });
  }
}

/** Removes what processes left that were killed while they wrote this folder. */
function clearAside(folder: string): void {
  const prefix = `.${basename(folder)}.`;
  const parent = dirname(folder);
  for (const name of existsSync(parent) ? readdirSync(parent) : []) {
    const pid = name.startsWith(prefix) ? Number(name.slice(prefix.length)) : undefined;
    if (pid !== undefined && !isOther(pid)) rmSync(join(parent, name), { recursive: true, force: true });
  }
}

/** Whether another process runs under this number. */
function isOther(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

const BUFFER = 1 << 20;

/** Appends to a file by a mebibyte. */
class Appender {
  readonly #buffer = Buffer.allocUnsafe(BUFFER);
  #fd: number | undefined;
  #used = 0;

  constructor(path: string) {
    this.#fd = openSync(path, "w");
  }

  append({ buffer, byteOffset, byteLength }: ArrayBufferView): void {
    const bytes = new Uint8Array(buffer, byteOffset, byteLength);
    for (let at = 0; at < bytes.length;) {
      if (this.#used === BUFFER) this.#flush();
      const part = bytes.subarray(at, at + BUFFER - this.#used);
      this.#buffer.set(part, this.#used);
      this.#used += part.length;
      at += part.length;
    }
  }

  close(): void {
    if (this.#fd === undefined) return;
    const fd = this.#fd;
    try {
      this.#flush();
      fsyncSync(fd);
    } finally {
      this.#fd = undefined;
      closeSync(fd);
    }
  }

  abandon(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #flush(): void {
    for (let at = 0; at < this.#used;) at += writeSync(this.#fd!, this.#buffer, at, this.#used - at);
    this.#used = 0;
  }
}

/** Files that are open at once. */
const OPEN_FILES = 64;

export class StoredDocuments implements Documents {
  readonly count: number;
  readonly tokens: number;
  readonly remarks: readonly string[];
  readonly #folder: string;
  readonly #lengths: Uint32Array;
  readonly #hashes: Uint32Array;
  /** Where each document begins among all tokens, and the end of the last one. */
  readonly #starts: Float64Array;
  readonly #regions: readonly Region[];
  /** The first document of each region, and the number of all. */
  readonly #firsts: readonly number[];
  readonly #counted: boolean;
  readonly #open = new Map<string, number>();

  private constructor(folder: string, { regions, counted, remarks }: Index) {
    this.#folder = folder;
    this.#lengths = words(join(folder, "lengths.bin"));
    this.#hashes = words(join(folder, "hashes.bin"));
    this.count = this.#lengths.length;
    this.#starts = new Float64Array(this.count + 1);
    this.#lengths.forEach((length, i) => (this.#starts[i + 1] = this.#starts[i]! + length));
    this.tokens = this.#starts[this.count]!;
    this.remarks = remarks;
    for (const { path, width } of regions) {
      // Token files of the user are part of the name of the folder.
      if (path === undefined && statSync(join(folder, "tokens.bin")).size !== this.tokens * width) {
        throw new DataError([`${folder} is damaged: remove it, and the data are tokenized anew`]);
      }
    }
    this.#regions = regions;
    this.#counted = counted;
    const firsts = [0];
    for (const { documents } of regions) firsts.push(firsts.at(-1)! + documents);
    this.#firsts = firsts;
  }

  /** Undefined when the folder is not there or was written in another format. */
  static open(folder: string): StoredDocuments | undefined {
    let text: string;
    try {
      text = readFileSync(join(folder, "corpus.json"), "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
    return new StoredDocuments(folder, JSON.parse(text) as Index);
  }

  length(document: number): number {
    return this.#lengths[document]!;
  }

  hash(document: number): number {
    return this.#hashes[document]!;
  }

  read(document: number, from: number, to: number): Int32Array {
    const number = this.#regionOf(document);
    const region = this.#regions[number]!;
    const start = this.#starts[document]! - this.#starts[this.#firsts[number]!]!;
    return readTokens(this.#file(region.path ?? join(this.#folder, "tokens.bin")), region, start + from, start + to);
  }

  counted(document: number, from: number, to: number): Uint8Array | undefined {
    if (!this.#counted) return undefined;
    return readRange(this.#file(join(this.#folder, "counted.bin")), this.#starts[document]! + from, to - from);
  }

  close(): void {
    for (const fd of this.#open.values()) closeSync(fd);
    this.#open.clear();
  }

  #regionOf(document: number): number {
    let [low, high] = [0, this.#regions.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#firsts[middle]! <= document) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #file(path: string): number {
    const known = this.#open.get(path);
    if (known !== undefined) return known;
    const [oldest] = this.#open;
    if (oldest !== undefined && this.#open.size >= OPEN_FILES) {
      closeSync(oldest[1]);
      this.#open.delete(oldest[0]);
    }
    const fd = openSync(path, "r");
    this.#open.set(path, fd);
    return fd;
  }
}

function words(path: string): Uint32Array {
  const bytes = readFileSync(path);
  return new Uint32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}
