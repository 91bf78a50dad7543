/** From a spec, or a package, and weights to a model: what generate and serve start with. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Command, Option } from "commander";
import { tokenizerBeside } from "../../runtime/data/tokenizer/load.ts";
import { gpuOf } from "../../runtime/device/cuda/gpu.ts";
import { DeviceError } from "../../runtime/device/session.ts";
import { storedValues } from "../../runtime/device/stored-elements.ts";
import { keptBy } from "../../runtime/device/stores.ts";
import { loadWeights } from "../../runtime/device/weights.ts";
import { CheckpointError } from "../../runtime/io/safetensors/format.ts";
import { ModelError } from "../../runtime/package/model-error.ts";
import type { Model } from "../../runtime/package/model.ts";
import { openModel } from "../../runtime/package/open-package.ts";
import { isPackage, readPackage } from "../../runtime/package/read.ts";
import type { ModelSource, SessionRequest } from "../../runtime/package/source.ts";
import { readPrograms } from "../../runtime/program/read.ts";
import { FILES } from "../../runtime/package/files.ts";
import { withoutUndefined } from "../../runtime/package/without-undefined.ts";
import { ContextError } from "../../runtime/serve/engine/request.ts";
import { LogitsError } from "../../runtime/serve/sampling/sampler.ts";
import type { PackageTraining } from "../../runtime/train/plan.ts";
import type { WeightForm } from "../lower/stored-weights.ts";
import { modelFile } from "../package/model.ts";
import { loweredSource, packageFiles } from "../package/package.ts";
import { servingPrograms } from "../package/programs.ts";
import { type StoredForms, storedForms } from "../package/weight-form.ts";
import { weightsInCache } from "../package/weights-cache.ts";
import { servePlan } from "../package/serve-plan.ts";
import { referenceSession } from "../reference/session.ts";
import { InputError, positive, ticking, UsageError } from "./io.ts";
import { STORE_HELP, weightForm } from "./weight-form.ts";
import { loadModel, type LoadedModel } from "./load-model.ts";
import { tableOf } from "./name-table.ts";
import { cudaInCache, type Device, DEVICES, packageInCache } from "./open-session.ts";
import { packageServing, serveSection, weightsOfSection, remarkUnserved } from "./serve-plan.ts";

export interface ModelArguments {
  readonly model?: string;
  readonly weights?: string;
  readonly tokenizer?: string;
  readonly device: Device;
  readonly store?: WeightForm;
  readonly context?: number;
  readonly cacheTokens?: number;
  /** False with --no-draft. */
  readonly draft: boolean;
}

/** Adds the arguments and options that `openForAnswers` understands. */
export function modelArguments(command: Command): Command {
  return command
    .argument("<file>", "a spec, or the folder of a package")
    .argument("[name]", "a serve section; the first one without this")
    .option("--model <name>", "the model of the file; the first one without this")
    .option("--weights <dir>", "a checkpoint or a run; what the serve section says without this")
    .option("--tokenizer <dir>", "a folder with tokenizer.json; that of the weights without this")
    .option("--store <form>", STORE_HELP, weightForm)
    .addOption(new Option("--device <device>", "where it runs").choices(DEVICES).default("cpu"))
    .option("--context <tokens>", "the longest prompt and answer together", positive)
    .option("--cache-tokens <n>", "positions that the cache holds, of all answers together", positive)
    .option("--no-draft", "do not guess tokens with look-ahead modules");
}

/**
 * A model with its weights. Undefined after errors in the file, which are reported.
 * @throws UsageError, InputError
 */
export async function openForAnswers(
  path: string,
  section: string | undefined,
  given: ModelArguments,
): Promise<Model | undefined> {
  const { tokenizer } = given;
  if (tokenizer !== undefined && !existsSync(join(tokenizer, "tokenizer.json")))
    throw new InputError(`--tokenizer: there is no \`${join(tokenizer, "tokenizer.json")}\``);
  const source = isPackage(path) ? packageOf(path, given) : await sourceOf(path, section, given);
  if (source === undefined) return undefined;
  const chosen = given.weights ?? source.weights;
  if (chosen === undefined) throw new UsageError("nothing says which weights: use --weights");
  const options = {
    weights: source.prepare === undefined ? chosen : await answering(async () => source.prepare!(chosen)),
    tokenizer: tokenizer ?? tokenizerBeside(chosen),
    serve: section,
    context: given.context,
    cacheRows: given.cacheTokens,
    draftTokens: given.draft ? undefined : 0,
    onWeights: ticking(),
  };
  return answering(() => openModel(source, withoutUndefined(options)));
}

/** What `work` gives. @throws InputError for what a model was given and cannot use */
export async function answering<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const isInput = [ModelError, CheckpointError, ContextError, DeviceError, LogitsError].some(
      (e) => error instanceof e,
    );
    throw isInput ? new InputError((error as Error).message) : error;
  }
}

/** A source whose weights may have to be prepared before they are opened. */
interface Source extends ModelSource {
  readonly prepare?: (weights: string) => string;
}

function packageOf(path: string, { device, model, store }: ModelArguments): Source {
  if (store !== undefined) throw new UsageError("a package has its weights as it was built: --store is for specs");
  if (device === "reference")
    throw new UsageError("a package runs on cpu, webgpu or cuda: the interpreter needs the spec");
  if (model !== undefined) throw new UsageError("a package has one model: --model is for specs");
  return readPackage(path, device);
}

/** A spec as what a package has for answers; undefined after errors in it. */
async function sourceOf(path: string, section: string | undefined, given: ModelArguments): Promise<Source | undefined> {
  const loaded = loadModel(path, given.model);
  if (loaded === undefined) return undefined;
  const chosen = serveSection(loaded, section);
  const weights = chosen && weightsOfSection(chosen, path);
  if (chosen !== undefined) remarkUnserved(chosen);
  const drafts = given.draft && chosen !== undefined && servePlan(chosen).draftTokens > 0;
  const forms = storedForms(chosen, given.store);
  const made =
    given.device === "reference" ? interpreted(loaded, forms) : await compiled(loaded, given.device, drafts, forms);
  return { ...made, weights };
}

async function compiled(
  loaded: LoadedModel,
  device: Exclude<Device, "reference">,
  drafts: boolean,
  forms: StoredForms,
): Promise<Source> {
  const { module } = loaded;
  const training: PackageTraining = { format: 1, trainings: [] };
  const model = modelFile(module, tableOf(module));
  const files = packageFiles({
    programs: servingPrograms(module, drafts),
    model,
    targets: [device],
    ...forms,
    files: new Map([
      ["training.json", JSON.stringify(training)],
      ["serve.json", JSON.stringify(packageServing(loaded, forms.caches))],
    ]),
  });
  const directory =
    device === "cuda"
      ? await cudaInCache(files, gpuOf())
      : await packageInCache(files, device === "cpu" ? undefined : "none");
  const { stores } = keptBy(readPrograms(join(directory, "program.json")));
  return { ...readPackage(directory, device), prepare: (weights) => weightsInCache(weights, model, stores, ticking()) };
}

/** Floats of the interpreter are f32: they are rounded as the stores would. */
function interpreted(loaded: LoadedModel, { store, caches }: StoredForms): Source {
  const { module } = loaded;
  const serving = packageServing(loaded, caches);
  const model = modelFile(module, tableOf(module));
  const { programs } = loweredSource({ programs: servingPrograms(module), store });
  const known = new Map(modelFile(module).stores.map(({ name, dtype }) => [name, dtype]));
  const rounded =
    store === undefined
      ? []
      : keptBy(programs).stores.filter(({ name, dtype }) => known.has(name) && known.get(name) !== dtype);
  const depth = [...module.ahead.values()][0]?.depth ?? 0;
  const open = ({ weights, cacheRows = 0, listen }: SessionRequest) => {
    const session = referenceSession(module, undefined, withoutUndefined({ cacheRows, caches }));
    if (weights !== undefined) loadWeights(session, model, weights, listen);
    for (const spec of rounded)
      session.write(spec.name, Float32Array.from(storedValues(spec, session.read(spec.name))));
    return session;
  };
  return {
    device: "reference",
    files: FILES,
    model,
    programs: ["prefill", "decode", ...Array.from({ length: depth }, (_, k) => `draft.${k + 1}`)],
    trainings: [],
    serving: serving.plans,
    talks: serving.talks,
    cacheRowBytes: undefined,
    weights: undefined,
    tokenizer: undefined,
    open,
  };
}
