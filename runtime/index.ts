/** What a generated package, and whoever loads one, may use: `import { openPackage } from "dskc/runtime"`. */
export { loadTokenizer } from "./data/tokenizer/load.ts";
export type { Tokenizer, TokenStream } from "./data/tokenizer/tokenizer.ts";
export { DataError } from "./data/data-error.ts";
export { DeviceError, DeviceLostError, type Elements, MemoryError, type MemoryUse } from "./device/session.ts";
export { NoGpuError } from "./device/webgpu/adapter.ts";
export { LimitError } from "./device/webgpu/limits.ts";
export type { WeightsListener } from "./io/names/read-params.ts";
export { CheckpointError } from "./io/safetensors/format.ts";
export type { StorageType } from "./program/launch.ts";
export type { GenerateOptions, Generation, GenerationEnd } from "./package/answer.ts";
export type {
  ChatMessage,
  ChatOptions,
  Model,
  ModelMemory,
  ModelNames,
  ModelServer,
  ModelTensor,
  ServeOptions,
  TrainOptions,
} from "./package/model.ts";
export { ModelError } from "./package/model-error.ts";
export type { ModelOptions } from "./package/open.ts";
export { openPackage, type OpenOptions } from "./package/open-package.ts";
export type { Device } from "./package/read.ts";
export type { ScoredRow, Scores } from "./package/score.ts";
export type { ModelTrainer, Row, StepOf, TrainerOptions, TrainingNames, TrainingNamesOf } from "./package/trainer.ts";
export { ContextError, DeadlineError, DrainingError, QueueFullError } from "./serve/engine/request.ts";
export { LogitsError } from "./serve/sampling/sampler.ts";
export type { GeneratedToken } from "./serve/text/token-texts.ts";
export type { Listener, StopEvent, TrainEvent } from "./train/events.ts";
export type { Evaluation } from "./train/evaluate.ts";
export { LockedError } from "./train/lock.ts";
export type { TrainingPlan } from "./train/plan.ts";
export { RunError } from "./train/run-folder.ts";
export { DivergedError } from "./train/trainer.ts";
