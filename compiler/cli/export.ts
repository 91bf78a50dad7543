/** `dskc export FILE|DIR -o DIR`: a model as a checkpoint of Hugging Face: config.json and safetensors. */
import { existsSync, readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { Command } from "commander";
import { weightsFolder } from "../../runtime/io/checkpoints/find.ts";
import { locateParams, storeParams } from "../../runtime/io/names/load.ts";
import { type Param, resolveNames } from "../../runtime/io/names/resolve.ts";
import { readTable } from "../../runtime/io/names/table.ts";
import { replaceFile } from "../../runtime/io/replace-file.ts";
import { encode } from "../../runtime/io/safetensors/encode.ts";
import { CheckpointError } from "../../runtime/io/safetensors/format.ts";
import { Checkpoint } from "../../runtime/io/safetensors/read.ts";
import { SHARD_BYTES, writeCheckpoint } from "../../runtime/io/safetensors/shards.ts";
import type { WrittenTensor } from "../../runtime/io/safetensors/written.ts";
import type { CheckedModel } from "../../dsl/semantics/check.ts";
import { exportConfig } from "../export/export.ts";
import { scoreProgram } from "../elaborate/score.ts";
import { storedWeights, type WeightForm } from "../lower/stored-weights.ts";
import { weightsOf } from "../model-ir/places.ts";
import type { Module } from "../model-ir/types.ts";
import { servingPrograms } from "../package/programs.ts";
import { writeShardIndex } from "../package/shard-index.ts";
import { listened } from "../package/weights.ts";
import { runPasses } from "../passes/pipeline.ts";
import type { DType } from "../tensor-ir/types.ts";
import { installation } from "./installation.ts";
import { examples, InputError, isFolder, positive, remark, ticking, UsageError, writing } from "./io.ts";
import { loadModel } from "./load-model.ts";
import { weightForm } from "./weight-form.ts";

interface Options {
  readonly model?: string;
  readonly weights?: string;
  readonly out: string;
  readonly shard: number;
  readonly store?: WeightForm;
}

export function register(command: Command): void {
  command
    .argument("<source>", "a spec, or a folder with a spec or a config.json and weights")
    .requiredOption("-o, --out <dir>", "the folder to write")
    .option("--weights <dir>", "where the weights are; beside the spec without this")
    .option("--model <name>", "the model of the file; the first one without this")
    .option("--store <form>", "the floats of weights of products and lookups: f32 or bf16", weightForm)
    .option("--shard <bytes>", "the most bytes of one file", positive, SHARD_BYTES)
    .action(run);
  examples(
    command,
    ["dskc export model.dsk --weights RUN -o model-hf", "config.json, model.safetensors"],
    ["dskc export RUN -o model-hf --shard 2e9", "files of at most 2 GB"],
    ["dskc export RUN -o model-hf --store bf16", "half the size of f32"],
  );
}

function run(source: string, options: Options): void {
  const { store } = options;
  if (store !== undefined && "group" in store)
    throw new UsageError(`Hugging Face has no format for ${store.kind} weights of dskc: --store is f32 or bf16`);
  const spec = specOf(source);
  const loaded = loadModel(spec, options.model);
  if (loaded === undefined) return;
  const { module } = loaded;
  const config = exportConfig(loaded);
  if (config === undefined)
    throw new InputError(`model ${module.name} is none that a config.json describes: Hugging Face has no code for it`);
  const weights = options.weights ?? (isFolder(spec) ? spec : dirname(spec));
  if (resolve(weights) === resolve(options.out)) throw new UsageError("the folder to write is the one to read");
  try {
    const stored = store === undefined ? undefined : { dtype: store.kind, params: storedParams(module) };
    const tensors = tensorsOf(loaded, new Checkpoint(weightsFolder(weights)), stored);
    const scaled = tensors.some(({ dtype }) => dtype === "F8_E4M3");
    writing(options.out, () => {
      writeCheckpoint(options.out, listened(tensors, "writing weights", ticking()), options.shard);
      writeShardIndex(options.out);
      const dtype = store === undefined ? {} : { torch_dtype: store.kind === "bf16" ? "bfloat16" : "float32" };
      replaceFile(join(options.out, "config.json"), configText({ ...config, ...dtype, ...(scaled ? FP8 : {}) }));
    });
    remark(`wrote ${tensors.length} tensors and config.json to \`${options.out}\``);
  } catch (error) {
    if (error instanceof CheckpointError) throw new InputError(error.message);
    throw error;
  }
}

/** How published FP8 weights are told apart: E4M3 with a factor for each block (DeepSeek-V3, README_WEIGHTS). */
const FP8 = {
  quantization_config: {
    quant_method: "fp8",
    fmt: "e4m3",
    weight_block_size: [128, 128],
    activation_scheme: "dynamic",
  },
};

function configText(config: Readonly<Record<string, unknown>>): string {
  return `${JSON.stringify(config, undefined, 2)}\n`;
}

/** A folder stands for its config.json, or for the one spec in it. */
function specOf(source: string): string {
  if (!isFolder(source) || existsSync(join(source, "config.json"))) return source;
  const specs = readdirSync(source).filter((name) => name.endsWith(".dsk"));
  if (specs.length === 1) return join(source, specs[0]!);
  throw new InputError(`\`${source}\` has no config.json and ${specs.length === 0 ? "no" : "more than one"} spec`);
}

/** Floats that some params are written as, whatever they were. */
interface StoredParams {
  readonly dtype: "f32" | "bf16";
  /** By path. */
  readonly params: ReadonlySet<string>;
}

/** Params that only products and lookups read, whatever dtype the model has them in: files may have them in another one. */
function storedParams(module: Module): Set<string> {
  const programs = [scoreProgram(module), ...servingPrograms(module)].map((program) => runPasses(program));
  return new Set((["f32", "bf16"] as const).flatMap((kind) => [...storedWeights(programs, { kind }).keys()]));
}

/**
 * The tensors of the checkpoint. Weights with checkpoint names are copied byte for byte, whatever their dtype; weights that
 * have the paths of the params, in their own order of dims, are written in the dtypes of the model's params; those that are to
 * be stored otherwise as they shall be.
 */
function tensorsOf(
  { module }: CheckedModel,
  weights: Checkpoint,
  stored: StoredParams | undefined,
): readonly WrittenTensor[] {
  const params = weightsOf(module);
  const table = readTable(join(installation(), "dsl", "std", "hf"), module.checkpoint!);
  if (!params.every(({ path }) => weights.has(path))) {
    const ahead = new Set(params.filter(({ place }) => place.ahead).map(({ path }) => path));
    const located = locateParams(weights, table, params, { optional: ({ path }) => ahead.has(path) });
    return located.flatMap(({ tensor, parts }): WrittenTensor[] => {
      if (stored !== undefined && parts.every(({ param }) => stored.params.has(param.path))) {
        const { name, shape } = tensor;
        const dtype = STORED[stored.dtype]!;
        return [{ name, shape, dtype, bytes: () => encode(Float32Array.from(tensor.read()), dtype) }];
      }
      return tensor.scales === undefined ? [tensor] : [tensor, tensor.scales];
    });
  }
  const dtypes = new Map(params.map(({ path, type }) => [path, stored?.params.has(path) ? stored.dtype : type.dtype]));
  const dtypeOf = new Map(
    resolveNames(table, params).stored.map(({ name, parts }) => [name, dtypes.get(parts[0]!.param.path)!]),
  );
  const values = new Map(params.map((param) => [param.path, ownValues(weights, param)]));
  return storeParams(table, params, values).map((tensor) => inDtype(tensor, dtypeOf.get(tensor.name)!));
}

function ownValues(weights: Checkpoint, { path, shape }: Param): Float32Array {
  const tensor = weights.tensor(path);
  if (tensor.shape.join() !== shape.join())
    throw new CheckpointError(
      `${weights.path}: tensor \`${path}\` has the shape [${tensor.shape.join(", ")}], the model needs [${shape.join(", ")}]`,
    );
  return Float32Array.from(tensor.read());
}

const STORED: Readonly<Partial<Record<DType, "F64" | "F32" | "F16" | "BF16">>> = {
  f64: "F64",
  f32: "F32",
  f16: "F16",
  bf16: "BF16",
};

function inDtype(tensor: WrittenTensor, dtype: DType): WrittenTensor {
  const stored = STORED[dtype];
  if (stored === undefined) throw new Error(`a param of dtype ${dtype}`);
  return {
    ...tensor,
    dtype: stored,
    bytes: () => encode(new Float32Array(tensor.bytes().buffer as ArrayBuffer), stored),
  };
}
