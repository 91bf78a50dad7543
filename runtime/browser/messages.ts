/** What a page and its worker say to each other. */
import type { GenerateOptions, GenerationEnd } from "../package/answer.ts";
import type { ChatMessage, ChatOptions, ModelMemory, ModelTensor } from "../package/model.ts";
import type { Scores } from "../package/score.ts";
import type { Row, StepOf, TrainerOptions, TrainingNames } from "../package/trainer.ts";
import type { EngineCounts } from "../serve/engine/counts.ts";
import type { GeneratedToken } from "../serve/text/token-texts.ts";
import type { Evaluation } from "../train/evaluate.ts";
import type { TrainingPlan } from "../train/plan.ts";
import type { SentError } from "./errors.ts";
import type { LoadOptions, Progress } from "./model.ts";

/** Addresses are absolute. */
export interface OpenRequest extends Omit<LoadOptions, "weights" | "tokenizer" | "worker" | "onProgress" | "signal"> {
  /** The folder of the package, with a slash at the end. */
  readonly package: string;
  readonly weights?: string | FileSystemDirectoryHandle;
  readonly tokenizer?: string;
}

export interface Facts {
  readonly name: string;
  readonly device: string;
  readonly vocabulary: number;
  readonly context: number;
  readonly trainings: readonly string[];
  readonly chats: boolean;
}

export type Prompt =
  | { readonly prompt: string | readonly number[]; readonly options: Omit<GenerateOptions, "signal"> }
  | { readonly messages: readonly ChatMessage[]; readonly options: Omit<ChatOptions, "signal"> };

/** What the worker does when it is asked. Trainers are numbered. */
export interface Calls {
  open(request: OpenRequest): Promise<Facts>;
  load(weights: string | FileSystemDirectoryHandle): Promise<void>;
  answer(prompt: Prompt): Promise<GenerationEnd>;
  score(rows: readonly (string | readonly number[])[]): Promise<Scores>;
  param(name: string): Promise<ModelTensor>;
  encode(text: string): Promise<number[]>;
  decode(tokens: readonly number[]): Promise<string>;
  memory(): Promise<ModelMemory>;
  counts(): Promise<EngineCounts | undefined>;
  trainer(name: string, options: TrainerOptions): Promise<{ readonly trainer: number; readonly plan: TrainingPlan }>;
  step(trainer: number, rows: readonly Row[]): Promise<StepOf<TrainingNames>>;
  evaluate(trainer: number, rows: readonly Row[]): Promise<Evaluation>;
  publish(trainer: number): Promise<void>;
  save(trainer: number): Promise<Blob>;
  closeTrainer(trainer: number): Promise<void>;
  close(): Promise<void>;
}

export type CallName = keyof Calls;

/** From the page. */
export type Asked =
  | { readonly id: number; readonly call: CallName; readonly args: readonly unknown[] }
  | { readonly id: number; readonly cancel: true };

/** From the worker: any number of tokens before the end of a call. */
export type Told =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: SentError }
  | { readonly id: number; readonly token: GeneratedToken }
  | { readonly progress: Progress };

/** A worker, what a worker sees of its page, or one end of a channel. */
export interface Port {
  postMessage(message: unknown, transfer: Transferable[]): void;
  addEventListener(type: "message", listen: (event: MessageEvent) => void): void;
}
