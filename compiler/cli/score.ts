/** `dskc score FILE --weights DIR --tokens FILE.json -o OUT.safetensors`: teacher-forced logits, hidden states, loss, gradients. */
import { type Command, Option } from "commander";
import { weightsFolder } from "../../runtime/io/checkpoints/find.ts";
import { storeParams } from "../../runtime/io/names/load.ts";
import { readParams } from "../../runtime/io/names/read-params.ts";
import type { NameTable } from "../../runtime/io/names/table.ts";
import { DeviceError } from "../../runtime/device/session.ts";
import { storedElements, storedValues } from "../../runtime/device/stored-elements.ts";
import { keptBy } from "../../runtime/device/stores.ts";
import { CheckpointError } from "../../runtime/io/safetensors/format.ts";
import { Checkpoint } from "../../runtime/io/safetensors/read.ts";
import { writeSafetensors } from "../../runtime/io/safetensors/write.ts";
import { f32, type WrittenTensor } from "../../runtime/io/safetensors/written.ts";
import { NonFiniteError } from "../../runtime/train/finite.ts";
import { vocabularySize } from "../elaborate/forward.ts";
import { scoreProgram, type ScoreOptions } from "../elaborate/score.ts";
import { weightsOf } from "../model-ir/places.ts";
import type { Module } from "../model-ir/types.ts";
import type { Given } from "../reference/border.ts";
import { type RowScores, scoreRows } from "../reference/score-rows.ts";
import type { WeightForm } from "../lower/stored-weights.ts";
import { modelFile } from "../package/model.ts";
import { loweredSource } from "../package/package.ts";
import { outputTypes, scoreOn } from "../package/score-on.ts";
import { inDtype } from "../passes/in-dtype.ts";
import { examples, InputError, print, remark, ticking, timed, UsageError, writing } from "./io.ts";
import { loadModel } from "./load-model.ts";
import { tableOf } from "./name-table.ts";
import { type Device, DEVICES, openOn } from "./open-session.ts";
import { readRows } from "./rows-file.ts";
import { STORE_HELP, weightForm } from "./weight-form.ts";

interface Options {
  readonly model?: string;
  readonly weights: string;
  readonly tokens: string;
  readonly out: string;
  /** False with --no-logits. */
  readonly logits: boolean;
  readonly hidden?: boolean;
  readonly grad?: boolean;
  readonly routing?: boolean;
  readonly device: Device;
  readonly precision: "f32" | "f64";
  readonly store?: WeightForm;
}

export function register(command: Command): void {
  command
    .argument("<file>", "a spec, or a config.json of Hugging Face")
    .requiredOption("--weights <dir>", "a checkpoint: a folder with .safetensors files, or one such file")
    .requiredOption("--tokens <file>", 'the rows to score: `{"tokens": [[...], ...]}`')
    .requiredOption("-o, --out <file>", "the safetensors file to write")
    .option("--model <name>", "the model of the file; the first one without this")
    .option("--no-logits", "write no logits, which takes less memory")
    .option("--hidden", "write the residual stream: `hidden.0` before the layers, `hidden.k` after k of them")
    .option("--grad", "write `grad.<name in the checkpoint>` of the loss")
    .option("--routing", "write what the routers emit: `<path>.chosen`, `<path>.load`")
    .addOption(new Option("--device <device>", "where it runs").choices(DEVICES).default("reference"))
    .addOption(new Option("--precision <precision>", "how results are rounded").choices(["f32", "f64"]).default("f32"))
    .option("--store <form>", `${STORE_HELP}; as the model declares them without this`, weightForm)
    .action(run);
  examples(
    command,
    ["dskc score model.dsk --weights DIR --tokens rows.json -o out.safetensors", "`logits` and `loss`"],
    ["dskc score model.dsk --weights DIR --tokens rows.json -o out.safetensors --grad", "with gradients"],
  );
}

async function run(file: string, options: Options): Promise<void> {
  const loaded = loadModel(file, options.model);
  if (loaded === undefined) return;
  if (options.store !== undefined && options.precision === "f64")
    throw new UsageError("--store goes with --precision f32: nothing is rounded in f64");
  if (options.device === "webgpu" && options.precision === "f64")
    throw new UsageError("--precision f64 goes with --device cpu and reference: WebGPU has no f64");
  const { module } = loaded;
  const rows = readRows(options.tokens, vocabularySize(module));
  const started = performance.now();
  try {
    const table = tableOf(module);
    const weights = readWeights(module, new Checkpoint(weightsFolder(options.weights)), table);
    timed(`read ${weights.size} parameters`, started);
    const wanted = {
      logits: options.logits,
      hidden: options.hidden ?? false,
      gradients: options.grad ?? false,
      metrics: options.routing ?? false,
    };
    const { precision, store } = options;
    const scores =
      options.device === "reference"
        ? scoreRows(module, roundedAs(store, module, weights), rows, { ...wanted, precision })
        : await scoreOnDevice(options.device, module, weights, rows, { ...wanted, precision, store });
    writing(options.out, () => writeSafetensors(options.out, results(module, table, scores)));
    timed(`scored ${rows.length} rows`, started);
    const loss = scores.tensors.get("loss")!.data[0]!;
    print(`loss ${loss}`);
    if (Number.isFinite(loss)) return;
    remark("dskc: the loss is not finite: weights are too large, or not those of the model");
    process.exitCode = 1;
  } catch (error) {
    if (error instanceof CheckpointError || error instanceof DeviceError) throw new InputError(error.message);
    throw error;
  }
}

async function scoreOnDevice(
  device: Exclude<Device, "reference">,
  module: Module,
  weights: ReadonlyMap<string, Given>,
  rows: readonly (readonly number[])[],
  {
    precision,
    store,
    ...wanted
  }: ScoreOptions & { readonly precision: Options["precision"]; readonly store: WeightForm | undefined },
): Promise<RowScores> {
  const program = inDtype(scoreProgram(module, wanted), precision);
  const session = await openOn(device, { programs: [program], model: modelFile(module), store });
  try {
    // Scales are made with their codes.
    for (const spec of session.stores.filter(({ name }) => weights.has(name)))
      for (const [name, elements] of storedElements(spec, weights.get(spec.name)!.data)) session.write(name, elements);
    return await scoreOn(session, outputTypes(program), rows, (label) => module.dims.get(label)!);
  } finally {
    session.close();
  }
}

/** What the weights are that stand for those of a checkpoint when they are stored in another form. */
function roundedAs(
  store: WeightForm | undefined,
  module: Module,
  weights: ReadonlyMap<string, Given>,
): ReadonlyMap<string, Given> {
  if (store === undefined) return weights;
  const { programs } = loweredSource({ programs: [inDtype(scoreProgram(module), "f32")], store });
  const specs = keptBy(programs).stores.filter(({ name, dtype }) => weights.has(name) && dtype !== "f32");
  return new Map([
    ...weights,
    ...specs.map((spec) => [spec.name, { data: storedValues(spec, weights.get(spec.name)!.data) }] as const),
  ]);
}

function readWeights(module: Module, checkpoint: Checkpoint, table: NameTable | undefined): Map<string, Given> {
  const params = weightsOf(module);
  const ahead = new Set(params.filter(({ place }) => place.ahead).map(({ path }) => path));
  const values = readParams(checkpoint, table, params, {
    optional: ({ path }) => ahead.has(path),
    listen: ticking(),
  });
  const wrong = [...values].flatMap(([path, data]) => {
    const index = Array.prototype.findIndex.call(data, (value: number) => !Number.isFinite(value));
    return index < 0 ? [] : [new NonFiniteError(path, index).message];
  });
  if (wrong.length > 0) throw new CheckpointError(`${checkpoint.path}: ${wrong.join("\n")}`);
  return new Map([...values].map(([path, data]) => [path, { data }]));
}

/** Gradients have the names and shapes of the checkpoint, those of the model where it does not say how checkpoints call them. */
function results(module: Module, table: NameTable | undefined, scores: RowScores): WrittenTensor[] {
  const tensors = [...scores.tensors, ...scores.metrics].map(([name, { shape, data }]) => f32(name, shape, data));
  const trained = weightsOf(module).filter(({ path }) => scores.gradients.has(path));
  const gradients = new Map([...scores.gradients].map(([path, { data }]) => [path, data]));
  if (table !== undefined) return [...tensors, ...storeParams(table, trained, gradients, "grad.")];
  return [...tensors, ...trained.map(({ path, shape }) => f32(`grad.${path}`, shape, gradients.get(path)!))];
}
