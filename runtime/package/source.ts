import type { Tokenizer } from "../data/tokenizer/tokenizer.ts";
import type { Session } from "../device/session.ts";
import type { WeightsListener } from "../io/names/read-params.ts";
import type { CheckpointTensors } from "../io/safetensors/tensors.ts";
import type { WrittenTensor } from "../io/safetensors/written.ts";
import type { ModelFile } from "../program/model.ts";
import type { PackageServing, ServePlan } from "../serve/plan.ts";
import { type PackagedTraining, trainedModel } from "../train/plan.ts";

/** The programs that answer and score, by name. */
export const ANSWERING = /^(score|prefill|decode|draft\.\d+)$/;

/** What a session is opened for. */
export interface SessionRequest {
  /** Programs of the package by the names that calls use. */
  readonly programs: Readonly<Record<string, string>>;
  /** Weights to begin with: a run, a folder or a file. Params and states are zero without them. */
  readonly weights?: string | undefined;
  /** The model whose names the weights have. */
  readonly model: ModelFile;
  readonly cacheRows?: number;
  readonly threads?: number | undefined;
  /** Told while weights are read. */
  readonly listen?: WeightsListener | undefined;
}

/** Where weights and tokenizers are: what paths mean. */
export interface ModelFiles {
  /** The weights of a path. @throws CheckpointError */
  readonly checkpoint: (path: string) => CheckpointTensors;
  /** The tokenizer of a folder. @throws Error */
  readonly tokenizer: (folder: string) => Tokenizer;
  /** The folder with the tokenizer of some weights; undefined where there is none. */
  readonly tokenizerBeside: (weights: string | undefined) => string | undefined;
  /** Writes weights into a folder. */
  readonly save: (folder: string, tensors: readonly WrittenTensor[]) => void;
}

/** What a model is made of: a package on a device, or what stands for one. */
export interface ModelSource {
  /** `cpu`, `reference` */
  readonly device: string;
  readonly files: ModelFiles;
  readonly model: ModelFile;
  /** All programs by name. */
  readonly programs: readonly string[];
  readonly trainings: readonly PackagedTraining[];
  readonly serving: readonly ServePlan[];
  /** False for a model that was not trained on conversations. */
  readonly talks: boolean;
  /** What a position must take in the caches; unknown where floats of every dtype take the same. */
  readonly cacheRowBytes: PackageServing["cacheRowBytes"] | undefined;
  /** Folders that the package brings. */
  readonly weights: string | undefined;
  readonly tokenizer: string | undefined;
  /** @throws CheckpointError for weights that do not fit; MemoryError; Error that says what is missing */
  readonly open: (request: SessionRequest) => Session | Promise<Session>;
}

/** A session with the programs of a training, its stores empty. */
export function openForTraining(
  source: ModelSource,
  training: PackagedTraining,
  threads: number | undefined,
): Session | Promise<Session> {
  return source.open({ programs: training.programs, model: trainedModel(source.model, training), threads });
}
