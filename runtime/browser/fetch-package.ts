/** A package over the network: what `openPackage` is in Node. */
import { byteLevelTokenizer, checkedFiles } from "../data/tokenizer/byte-level-tokenizer.ts";
import type { TokenizerConfig, TokenizerJson } from "../data/tokenizer/format.ts";
import type { Tokenizer } from "../data/tokenizer/tokenizer.ts";
import { placeTensors } from "../device/place-tensors.ts";
import type { Session } from "../device/session.ts";
import { requestAdapter, requestGpu } from "../device/webgpu/adapter.ts";
import { openWebGpuSession } from "../device/webgpu/session.ts";
import type { WeightsListener } from "../io/names/read-params.ts";
import { SHARD_INDEX, type ShardIndex } from "../io/safetensors/shard-index.ts";
import type { CheckpointTensors } from "../io/safetensors/tensors.ts";
import { safetensorsParts } from "../io/safetensors/written.ts";
import { ModelError } from "../package/model-error.ts";
import type { ModelFiles, ModelSource, SessionRequest } from "../package/source.ts";
import type { PackagePrograms } from "../program/launch.ts";
import type { ModelFile } from "../program/model.ts";
import { selectPrograms } from "../program/select.ts";
import type { SimtKernels } from "../program/grids.ts";
import type { PackageServing } from "../serve/plan.ts";
import type { PackageTraining } from "../train/plan.ts";
import { openBlobs } from "./blob-checkpoint.ts";
import { checkShards, fetchShards } from "./fetch-shards.ts";
import { IN_MEMORY, openShardStore } from "./shard-store.ts";

export interface FetchPackageOptions {
  /** A folder with tokenizer.json, with a slash at the end. */
  readonly tokenizer: string | undefined;
  readonly cache: boolean;
  readonly listen: WeightsListener;
  readonly signal: AbortSignal;
}

/**
 * @param folder the address of the package, with a slash at the end
 * @throws NoGpuError, before anything is fetched; ModelError for what is no package, or one without kernels for WebGPU
 */
export async function fetchPackage(
  folder: string,
  { tokenizer, cache, listen, signal }: FetchPackageOptions,
): Promise<{ readonly source: ModelSource; readonly files: FetchedFiles }> {
  await requestAdapter(navigator.gpu as GPU | undefined);
  const part = <T extends { readonly format: 1 }>(name: string): Promise<T> => fetchPart<T>(folder, name, signal);
  const [{ programs }, model, training, serving, { kernels }] = await Promise.all([
    part<PackagePrograms>("program.json"),
    part<ModelFile>("model.json"),
    part<PackageTraining>("training.json"),
    part<PackageServing>("serve.json"),
    part<SimtKernels>("kernels/webgpu.json"),
  ]);
  const files = new FetchedFiles(cache, listen);
  const own = tokenizer ?? folder;
  const hasTokenizer = await files.addTokenizer(own, signal);
  if (tokenizer !== undefined && !hasTokenizer) throw new ModelError(`there is no ${tokenizer}tokenizer.json`);
  const source = async (kernel: string): Promise<string> => {
    const path = `kernels/${kernel}.wgsl`;
    const text = await fetchText(folder + path);
    if (text === undefined) throw new ModelError(`there is no ${folder}${path}`);
    return text;
  };
  const open = async ({ programs: wanted, weights, model: named, cacheRows }: SessionRequest): Promise<Session> => {
    const device = await requestGpu(navigator.gpu as GPU | undefined);
    let session: Session | undefined;
    try {
      session = openWebGpuSession({
        device,
        ownsDevice: true,
        programs: selectPrograms(programs, wanted),
        kernels,
        source,
        onProgress: (done, all) => listen("compiling kernels", done, all),
        ...(cacheRows === undefined ? {} : { cacheRows }),
      });
      if (weights !== undefined)
        placeTensors(session.stores, named, files.checkpoint(weights)).write(session, "all", listen);
      return session;
    } catch (error) {
      session?.close();
      device.destroy();
      throw error;
    }
  };
  return {
    files,
    source: {
      device: "webgpu",
      files,
      model,
      programs: programs.map(({ name }) => name),
      trainings: training.trainings,
      serving: serving.plans,
      talks: serving.talks,
      // Floats of every dtype take a word each.
      cacheRowBytes: undefined,
      weights: undefined,
      tokenizer: hasTokenizer ? own : undefined,
      open,
    },
  };
}

/** What was fetched, by where it came from. */
export class FetchedFiles implements ModelFiles {
  readonly #cache: boolean;
  readonly #listen: WeightsListener;
  readonly #checkpoints = new Map<string, CheckpointTensors>();
  readonly #tokenizers = new Map<string, Tokenizer>();
  /** By the folders that were asked for. */
  readonly saved = new Map<string, Blob>();

  constructor(cache: boolean, listen: WeightsListener) {
    this.#cache = cache;
    this.#listen = listen;
  }

  readonly checkpoint = (path: string): CheckpointTensors => this.#checkpoints.get(path)!;

  readonly tokenizer = (folder: string): Tokenizer => this.#tokenizers.get(folder)!;

  readonly tokenizerBeside = (): undefined => undefined;

  readonly save: ModelFiles["save"] = (folder, tensors) => {
    const { header, sorted } = safetensorsParts(tensors);
    const parts = [header, ...sorted.map(({ bytes }) => bytes())] as Uint8Array<ArrayBuffer>[];
    this.saved.set(folder, new Blob(parts, { type: "application/octet-stream" }));
  };

  /**
   * Fetches weights, or finds them on the reader's disk. Gives the path that they have from now on.
   * @param optional undefined is given where there are none
   * @throws ShardError; ModelError
   */
  async addWeights(
    from: string | FileSystemDirectoryHandle,
    signal: AbortSignal,
    optional = false,
  ): Promise<string | undefined> {
    if (typeof from !== "string") {
      const path = from.name;
      const { index, shards } = await filesOf(from);
      if (index !== undefined) await checkShards(index, shards);
      this.#checkpoints.set(path, await openBlobs(path, shards));
      return path;
    }
    const index = await fetchJson<ShardIndex>(from + SHARD_INDEX, signal);
    if (index === undefined) {
      if (optional) return undefined;
      throw new ModelError(`there is no ${from}${SHARD_INDEX}: \`dskc build --weights\` writes it`);
    }
    const store = this.#cache ? await openShardStore() : IN_MEMORY;
    const onProgress = (done: number, all: number): void => this.#listen("fetching weights", done, all);
    const shards = await fetchShards(from, index, { store, onProgress, signal });
    this.#checkpoints.set(from, await openBlobs(from, shards));
    return from;
  }

  /** Whether there is one. @throws ModelError when it cannot be used */
  async addTokenizer(folder: string, signal: AbortSignal): Promise<boolean> {
    const [tokenizer, config, template] = await Promise.all([
      fetchJson<TokenizerJson>(`${folder}tokenizer.json`, signal),
      fetchJson<TokenizerConfig>(`${folder}tokenizer_config.json`, signal),
      fetchText(`${folder}chat_template.jinja`, signal),
    ]);
    if (tokenizer === undefined) return false;
    try {
      const files = checkedFiles(tokenizer, {
        ...config,
        ...(template === undefined ? {} : { chat_template: template }),
      });
      // Kinds that are rare are a part of their own.
      const made =
        byteLevelTokenizer(files) ?? (await import("../data/tokenizer/library-tokenizer.ts")).libraryTokenizer(files);
      this.#tokenizers.set(folder, made);
    } catch (error) {
      throw new ModelError(`${folder} holds no tokenizer: ${(error as Error).message}`, { cause: error });
    }
    return true;
  }
}

/** The safetensors files of a folder that the reader has chosen, and their index where it has one. */
async function filesOf(
  folder: FileSystemDirectoryHandle,
): Promise<{ readonly index: ShardIndex | undefined; readonly shards: Map<string, Blob> }> {
  const files = new Map<string, Blob>();
  let index: ShardIndex | undefined;
  for await (const [name, entry] of folder.entries()) {
    if (entry.kind !== "file" || (name !== SHARD_INDEX && !name.endsWith(".safetensors"))) continue;
    const file = await (entry as FileSystemFileHandle).getFile();
    if (name !== SHARD_INDEX) files.set(name, file);
    else index = JSON.parse(await file.text()) as ShardIndex;
  }
  if (files.size === 0) throw new ModelError(`the folder \`${folder.name}\` has no safetensors files`);
  return { index, shards: files };
}

async function fetchPart<T extends { readonly format: 1 }>(
  folder: string,
  name: string,
  signal: AbortSignal,
): Promise<T> {
  const value = await fetchJson<T>(folder + name, signal);
  const isKernels = name.startsWith("kernels/");
  if (value === undefined)
    throw new ModelError(
      `${folder} is no package${isKernels ? " for WebGPU (`dskc build --target webgpu`)" : ""}: there is no ${name}`,
    );
  if (value.format === 1) return value;
  throw new ModelError(`${folder}${name} has another format than this version of dskc: build the package anew`);
}

async function fetchJson<T>(url: string, signal?: AbortSignal): Promise<T | undefined> {
  const text = await fetchText(url, signal);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as T;
  } catch (error) {
    throw new ModelError(`${url}: ${(error as Error).message}`, { cause: error });
  }
}

/** Undefined where there is nothing; some servers show a page then. */
async function fetchText(url: string, signal?: AbortSignal): Promise<string | undefined> {
  let response: Response;
  try {
    response = await fetch(url, signal === undefined ? {} : { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw new ModelError(`${url} cannot be reached: ${(error as Error).message}`, { cause: error });
  }
  if (response.status === 404 || response.headers.get("content-type")?.startsWith("text/html") === true)
    return undefined;
  if (!response.ok) throw new ModelError(`${url}: the server answers ${response.status}`);
  return response.text();
}
