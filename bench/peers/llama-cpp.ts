/**
 * llama.cpp by its bindings in node-llama-cpp, one level below its API: whole batches, nothing of JavaScript between two calls.
 * The folder has both packages: `npm install --ignore-scripts node-llama-cpp @node-llama-cpp/linux-x64`.
 */
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import type { Generator, Piece } from "./generator.ts";

/** What is used of `AddonTypes.d.ts` of node-llama-cpp 3. */
interface Bindings {
  readonly AddonModel: new (path: string, options: object) => Model;
  readonly AddonContext: new (model: Model, options: object) => Context;
  readonly AddonSampler: new (model: Model) => Sampler;
  markLoaded(): boolean;
  setLoggerLogLevel(level: number): void;
  loadBackends(folder?: string): void;
  init(): Promise<void>;
  systemInfo(): string;
}
interface Model {
  init(): Promise<boolean>;
  dispose(): Promise<void>;
}
interface Context {
  init(): Promise<boolean>;
  dispose(): Promise<void>;
  initBatch(size: number): void;
  addToBatch(sequence: number, from: number, tokens: Uint32Array, logits: Uint32Array): Uint32Array;
  decodeBatch(): Promise<void>;
  sampleToken(index: number, sampler: Sampler): Promise<number>;
  sampleToken(index: number, sampler: Sampler, probabilities: false, confidence: false, logits: true): Promise<Told>;
  removeTokenCellsFromSequence(sequence: number, from: number, to: number): boolean;
}
type Told = readonly [token: number, probabilities: undefined, confidence: undefined, logits: readonly number[]];
interface Sampler {
  applyConfig(config: object): void;
  dispose(): void;
}

export interface LlamaOptions {
  readonly threads: number;
  readonly sequences: number;
  /** Positions of each sequence. */
  readonly context: number;
  /**
   * `exact`: keys and values in f32, products and softmax apart. Its own ways, over a cache in f16, round more: `flash`, and
   * `plain`, which is faster in some cases.
   */
  readonly attention: "exact" | "flash" | "plain";
}

/** Tokens that llama.cpp computes at once: its own default. */
export const BATCH = 512;
/** Numbers of ggml's types. */
const [F32, F16] = [0, 1];

let bindings: Promise<Bindings> | undefined;

/** Loads the addon of `folder/node_modules`, with the kernels of the best instruction set that it has. */
async function load(folder: string): Promise<Bindings> {
  const library = resolve(folder, "node_modules/@node-llama-cpp/linux-x64/bins/linux-x64");
  const loaded = createRequire(import.meta.url)(join(library, "llama-addon.node")) as Bindings;
  loaded.markLoaded();
  loaded.setLoggerLogLevel(2);
  loaded.loadBackends(library);
  await loaded.init();
  return loaded;
}

/** What llama.cpp says of its kernels. */
export async function llamaInfo(folder: string): Promise<string> {
  return (await (bindings ??= load(folder))).systemInfo();
}

export interface Llama extends Generator {
  /** Draws the token behind each piece of the last call. */
  sample(): Promise<number[]>;
}

/** @param sampling of node-llama-cpp; the likeliest token when it is empty */
export async function openLlama(
  folder: string,
  gguf: string,
  { threads, sequences, context, attention }: LlamaOptions,
  sampling: { readonly temperature?: number; readonly topP?: number; readonly seed?: number } = {},
): Promise<Llama> {
  const { AddonModel, AddonContext, AddonSampler } = await (bindings ??= load(folder));
  const model = new AddonModel(gguf, { gpuLayers: 0, useMmap: true });
  if (!(await model.init())) throw new Error(`llama.cpp cannot read ${gguf}`);
  const own = new AddonContext(model, {
    contextSize: sequences * context,
    batchSize: BATCH,
    sequences,
    threads,
    flashAttention: attention === "flash",
    kvCacheKeyType: attention === "exact" ? F32 : F16,
    kvCacheValueType: attention === "exact" ? F32 : F16,
  });
  if (!(await own.init())) throw new Error("llama.cpp has no room for a context");
  const sampler = new AddonSampler(model);
  sampler.applyConfig({ temperature: 0, ...sampling });
  let wanted: number[] = [];
  const decode = async (pieces: readonly Piece[]): Promise<void> => {
    own.initBatch(pieces.reduce((sum, { tokens }) => sum + tokens.length, 0));
    wanted = pieces.map(({ sequence, from, tokens }) => {
      own.removeTokenCellsFromSequence(sequence, from, -1);
      return own.addToBatch(sequence, from, Uint32Array.from(tokens), Uint32Array.of(tokens.length - 1))[0]!;
    });
    await own.decodeBatch();
  };
  return {
    read: async (pieces) => {
      const longest = Math.max(...pieces.map(({ tokens }) => tokens.length));
      if (pieces.length > 1 && longest > 1) throw new Error("several sequences read one token each");
      for (let at = 0; at < longest; at += BATCH)
        await decode(
          pieces.map(({ sequence, from, tokens }) => ({
            sequence,
            from: from + at,
            tokens: tokens.slice(at, at + BATCH),
          })),
        );
    },
    logits: async () => {
      const rows: Float32Array[] = [];
      for (const index of wanted) {
        const [, , , pairs] = await own.sampleToken(index, sampler, false, false, true);
        const row = new Float32Array(pairs.length / 2);
        for (let i = 0; i < pairs.length; i += 2) row[pairs[i]!] = pairs[i + 1]!;
        rows.push(row);
      }
      return rows;
    },
    sample: async () => {
      const tokens: number[] = [];
      for (const index of wanted) tokens.push(await own.sampleToken(index, sampler));
      return tokens;
    },
    close: async () => {
      sampler.dispose();
      await own.dispose();
      await model.dispose();
    },
  };
}
