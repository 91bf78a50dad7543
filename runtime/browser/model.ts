/** What a page knows of a model that runs in its worker. */
import type { GenerateOptions, Generation } from "../package/answer.ts";
import type { ChatMessage, ChatOptions, ModelMemory, ModelNames, ModelTensor } from "../package/model.ts";
import type { ModelOptions } from "../package/open.ts";
import type { Scores } from "../package/score.ts";
import type { ModelTrainer, Row, StepOf, TrainerOptions, TrainingNames } from "../package/trainer.ts";
import type { EngineCounts } from "../serve/engine/counts.ts";

/** A folder with weights, as `dskc build --weights` writes it: its address, or one that the reader has chosen. */
export type WeightsFolder = string | URL | FileSystemDirectoryHandle;

/** How far something is that takes long. */
export interface Progress {
  /** `fetching weights` (bytes), `reading weights`, `checking weights` (tensors), `compiling kernels` */
  readonly what: string;
  readonly done: number;
  readonly all: number;
}

export interface LoadOptions extends Omit<ModelOptions, "weights" | "tokenizer" | "threads" | "onWeights"> {
  /** `weights/` of the package when not given, if it has one. */
  readonly weights?: WeightsFolder;
  /** The address of a folder with tokenizer.json; that of the package when not given. */
  readonly tokenizer?: string | URL;
  /** False keeps nothing on the reader's disk. */
  readonly cache?: boolean;
  /** False runs the model in the page itself; a function makes the worker, where a bundler needs to be told how. */
  readonly worker?: boolean | (() => Worker);
  /** Told how far loading is, and later how far kernels are that are compiled when they are first needed. */
  readonly onProgress?: (progress: Progress) => void;
  /** Gives up loading; what was fetched of the weights is kept. */
  readonly signal?: AbortSignal;
}

/** A training in the worker. */
export interface BrowserTrainer<Names extends TrainingNames = TrainingNames> extends Omit<
  ModelTrainer<Names>,
  "save" | "close"
> {
  step(rows: readonly Row[]): Promise<StepOf<Names>>;
  /** The weights as a safetensors file. */
  save(): Promise<Blob>;
  close(): Promise<void>;
}

/** A model that is loaded. Everything happens in its worker; answers that are read at the same time share each step. */
export interface BrowserModel<Names extends ModelNames = ModelNames> {
  readonly name: string;
  readonly device: string;
  /** Token numbers are below it. */
  readonly vocabulary: number;
  /** The longest prompt and answer together, in tokens. */
  readonly context: number;
  /** The names of its train sections. */
  readonly trainings: readonly (keyof Names["trainings"] & string)[];
  /** Whether there is a chat template, and the model was trained on conversations. */
  readonly chats: boolean;
  /** Continues a text, or tokens as they are. Errors come when the answer is read. */
  generate(prompt: string | readonly number[], options?: GenerateOptions): Generation;
  /** Answers a conversation, by the chat template of the tokenizer. */
  chat(messages: readonly ChatMessage<Names["roles"]>[], options?: ChatOptions): Generation;
  /** What the model makes of rows: texts (as documents begin) or tokens as they are. */
  score(rows: readonly (string | readonly number[])[]): Promise<Scores>;
  /** A copy of a param or a state as the model has it now. */
  param<Name extends keyof Names["params"] & string>(name: Name): Promise<ModelTensor<Names["params"][Name]>>;
  /** For training: starts with the weights of the model, or with initial ones when it has none. */
  trainer<Name extends keyof Names["trainings"] & string>(
    name: Name,
    options?: TrainerOptions<Names["trainings"][Name]>,
  ): Promise<BrowserTrainer<Names["trainings"][Name]>>;
  /** Takes other weights: answers that begin later are made with them. */
  load(weights: WeightsFolder, options?: Pick<LoadOptions, "signal">): Promise<void>;
  encode(text: string): Promise<number[]>;
  decode(tokens: readonly number[]): Promise<string>;
  memory(): Promise<ModelMemory>;
  /** What was generated so far; undefined before the first answer. */
  counts(): Promise<Readonly<EngineCounts> | undefined>;
  /** Ends answers and trainers, and the worker. */
  close(): Promise<void>;
}
