/** From a spec and weights to an engine: what generate and serve start with. */
import { existsSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Command, Option } from "commander";
import { loadTokenizer } from "../../runtime/data/tokenizer/load.ts";
import type { Tokenizer } from "../../runtime/data/tokenizer/tokenizer.ts";
import type { Session } from "../../runtime/device/session.ts";
import { loadWeights } from "../../runtime/device/weights.ts";
import { readTable } from "../../runtime/io/names/table.ts";
import { CheckpointError } from "../../runtime/io/safetensors/format.ts";
import { Engine } from "../../runtime/serve/engine/engine.ts";
import { nonFiniteStore } from "../../runtime/train/finite.ts";
import { modelFile } from "../package/model.ts";
import { installation } from "./installation.ts";
import { InputError, positive, UsageError } from "./io.ts";
import { loadModel } from "./load-model.ts";
import { type Device, DEVICES, openForServing } from "./open-session.ts";
import { isTrainedToTalk, type ServePlan, servePlan, serveSection } from "./serve-plan.ts";

export interface EngineArguments {
  readonly model?: string;
  readonly weights?: string;
  readonly tokenizer?: string;
  readonly device: Device;
  readonly context?: number;
  readonly cacheTokens?: number;
  /** False with --no-draft. */
  readonly draft: boolean;
}

/** Adds the options that `openEngine` understands. */
export function engineOptions(command: Command): Command {
  return command
    .option("--model <name>", "the model of the file; the first one without this")
    .option("--weights <dir>", "a checkpoint or a run; what the serve section says without this")
    .option("--tokenizer <dir>", "a folder with tokenizer.json; that of the weights without this")
    .addOption(new Option("--device <device>", "where it runs").choices(DEVICES).default("cpu"))
    .option("--context <tokens>", "the longest prompt and answer together", positive)
    .option("--cache-tokens <n>", "positions that the cache holds, of all answers together", positive)
    .option("--no-draft", "do not guess tokens with look-ahead modules");
}

export interface OpenedEngine {
  readonly engine: Engine;
  readonly session: Session;
  readonly plan: ServePlan;
  /** The name of the model in the file. */
  readonly name: string;
  readonly vocabulary: number;
  /** Whether it was trained on conversations. */
  readonly talks: boolean;
  /** @throws InputError when there is no tokenizer, or one of another model */
  readonly tokenizer: () => Tokenizer;
}

/**
 * Loads a model with its weights. Undefined after errors in the file, which are reported.
 * @throws UsageError, InputError
 */
export async function openEngine(
  file: string,
  section: string | undefined,
  given: EngineArguments,
): Promise<OpenedEngine | undefined> {
  const loaded = loadModel(file, given.model);
  if (loaded === undefined) return undefined;
  const plan = servePlan(serveSection(loaded, section), file);
  const weights = given.weights ?? plan.weights;
  if (weights === undefined) throw new UsageError("no serve section says which weights: use --weights");
  const { module } = loaded;
  const names = module.checkpoint;
  const model = modelFile(
    module,
    names === undefined ? undefined : readTable(join(installation(), "dsl", "std", "hf"), names),
  );
  const context = given.context ?? plan.context;
  const rows = given.cacheTokens ?? Math.max(context, Math.min(16 * context, 65_536));
  const draftTokens = given.draft ? plan.draftTokens : 0;
  const depth = [...module.ahead.values()][0]?.depth ?? 0;
  if (draftTokens > depth)
    throw new InputError(`\`draft\` guesses ${draftTokens} tokens, the model looks ${depth} ahead`);
  const cacheRows = Math.ceil(rows / plan.pageSize) * plan.pageSize;
  const session = await openForServing(given.device, loaded, model, { cacheRows, drafts: draftTokens > 0 });
  try {
    loadWeights(session, model, weights);
    const bad = nonFiniteStore(session);
    if (bad !== undefined) throw new InputError(`\`${weights}\`: ${bad.message}`);
  } catch (error) {
    session.close();
    throw error instanceof CheckpointError ? new InputError(error.message) : error;
  }
  const folder = given.tokenizer ?? tokenizerFolder(weights);
  const tokenizer = existsSync(join(folder, "tokenizer.json")) ? load(folder, model.vocabulary) : undefined;
  const engine = new Engine(session, {
    context,
    pageSize: plan.pageSize,
    draftTokens,
    ...(tokenizer === undefined ? {} : { tokens: tokenizer.size }),
  });
  return {
    engine,
    session,
    plan,
    name: module.name,
    vocabulary: model.vocabulary,
    talks: isTrainedToTalk(loaded),
    tokenizer: () => tokenizer ?? noTokenizer(folder),
  };
}

/** Weights may be a folder, a run or one file: the tokenizer lies beside them. */
function tokenizerFolder(weights: string): string {
  return existsSync(weights) && statSync(weights).isDirectory() ? weights : dirname(weights);
}

function noTokenizer(folder: string): never {
  throw new InputError(`there is no \`${join(folder, "tokenizer.json")}\`: use --tokenizer`);
}

function load(folder: string, vocabulary: number): Tokenizer {
  let tokenizer: Tokenizer;
  try {
    tokenizer = loadTokenizer(folder);
  } catch (error) {
    throw new InputError((error as Error).message);
  }
  if (tokenizer.size <= vocabulary) return tokenizer;
  throw new InputError(`the tokenizer of \`${folder}\` has ${tokenizer.size} tokens, the model ${vocabulary}`);
}
