/** Runs of train sections, as `dskc train` makes them. */
import { dirname, join } from "node:path";
import type { Session } from "../device/session.ts";
import { loadWeights } from "../device/weights.ts";
import type { StopEvent } from "../train/events.ts";
import { openTrainingData } from "../train/open-data.ts";
import { type PackagedTraining, trainedModel } from "../train/plan.ts";
import { runTraining } from "../train/run.ts";
import { withoutUndefined } from "./without-undefined.ts";
import type { TrainOptions } from "./model.ts";
import { type ModelSource, openForTraining } from "./source.ts";

interface RunOptions extends TrainOptions {
  readonly folder: string;
  readonly threads: number | undefined;
  readonly tokenizer: string | undefined;
  /** Writes weights to start from; those of the run that the section is based on without it. */
  readonly weights: ((session: Session) => void) | undefined;
}

/** @throws RunError, LockedError, DataError, CheckpointError, MemoryError */
export function trainInFolder(
  source: ModelSource,
  training: PackagedTraining,
  options: RunOptions,
): Promise<StopEvent> {
  const { plan } = training;
  const model = trainedModel(source.model, training);
  const { folder, root = ".", tokenizer, cache, signal, remark = () => undefined, threads, ...more } = options;
  const weights =
    options.weights ?? weightsOfBase(folder, plan.from, (session, path) => loadWeights(session, model, path));
  const { resume, tokensPerCall, saveEvery, keep, evaluateEvery, evaluateTokens, listen } = more;
  return runTraining({
    folder,
    session: async () => openForTraining(source, training, threads),
    model,
    plan,
    data: (run) => openTrainingData(plan, model.vocabulary, { root, run, tokenizer, cache, signal, remark }),
    ...withoutUndefined({
      resume,
      tokensPerCall,
      saveEvery,
      keep,
      evaluateEvery,
      evaluateTokens,
      listen,
      signal,
      weights,
    }),
  });
}

/** A section `from` another one starts from the run of that name beside its own. */
function weightsOfBase(
  folder: string,
  base: string | undefined,
  load: (session: Session, path: string) => void,
): ((session: Session) => void) | undefined {
  return base === undefined ? undefined : (session) => load(session, join(dirname(folder), base));
}
