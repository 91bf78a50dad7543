import type { Tokenizer } from "../data/tokenizer/tokenizer.ts";
import type { Elements, MemoryUse } from "../device/session.ts";
import type { StorageType } from "../program/launch.ts";
import type { EngineCounts } from "../serve/engine/counts.ts";
import type { RunningServer } from "../serve/http/server.ts";
import type { Listener, StopEvent } from "../train/events.ts";
import type { GenerateOptions, Generation } from "./answer.ts";
import type { Scores } from "./score.ts";
import type { ModelTrainer, TrainerOptions, TrainingNames } from "./trainer.ts";

/** What is special about one model, for types: a generated package fills it in. */
export interface ModelNames {
  /** Params and states with their shapes. */
  readonly params: Readonly<Record<string, readonly number[]>>;
  /** Train sections. */
  readonly trainings: Readonly<Record<string, TrainingNames>>;
  /** Who speaks in conversations. */
  readonly roles: string;
}

/** A turn of a conversation; other keys (`tool_calls`) go to the chat template as they are. */
export interface ChatMessage<Role extends string = string> {
  readonly role: Role;
  readonly content: string;
  readonly [key: string]: unknown;
}

/** The key of a record with names. */
type NameIn<R> = keyof R & string;

export interface ModelTensor<Shape extends readonly number[] = readonly number[]> {
  readonly dtype: StorageType;
  readonly shape: Shape;
  /** In row-major order; bits for bf16 and f16. */
  readonly elements: Elements;
}

export interface ChatOptions extends GenerateOptions {
  /** More variables of the chat template: `tools`, `enable_thinking`. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** How a run of a train section is made: as `dskc train` makes it. */
export interface TrainOptions {
  /** The run's folder: `runs/NAME` when not given. */
  readonly folder?: string;
  /** What globs of the section's data are relative to: the working directory when not given. */
  readonly root?: string;
  /** The folder of tokenized data: `.data` beside the run when not given. */
  readonly cache?: string;
  /** Goes on from the newest sound checkpoint. */
  readonly resume?: boolean;
  /** The most tokens of one call; a step with more is split, which needs a package that was built for it. */
  readonly tokensPerCall?: number;
  /** Steps between two checkpoints, and how many are kept: 200 and 3. */
  readonly saveEvery?: number;
  readonly keep?: number;
  /** Steps between two evaluations of held-out data, and the tokens of each: 100 and 16,384. */
  readonly evaluateEvery?: number;
  readonly evaluateTokens?: number;
  /** When it is aborted the step is finished and saved. */
  readonly signal?: AbortSignal;
  /** Told everything that happens. */
  readonly listen?: Listener;
  /** Told what is done before the first step: `a tokenizer of 4,096 tokens is learned from the data`. */
  readonly remark?: (text: string) => void;
}

export interface ServeOptions {
  /** As the serve section says when not given: 127.0.0.1, 8000. Port 0 is any that is free. */
  readonly host?: string;
  readonly port?: number;
  /** What requests call the model: its name when not given. */
  readonly name?: string;
  /** Requests need it as `Authorization: Bearer KEY`. */
  readonly apiKey?: string;
  /** Pages of these origins may use the API as well as those of this machine. */
  readonly origins?: readonly string[];
  /** Milliseconds that a request may take; no limit when not given. */
  readonly timeout?: number;
}

export interface ModelServer extends RunningServer {
  /** Answers that run or wait. */
  readonly pending: number;
}

/** Bytes by what they are for; undefined for what was not needed yet. */
export interface ModelMemory {
  /** Of answers and scores. */
  readonly serving: (MemoryUse & { readonly cacheRows: number }) | undefined;
  readonly trainers: readonly MemoryUse[];
}

/** A model that is loaded: it generates, scores, is trained and served. */
export interface Model<Names extends ModelNames = ModelNames> {
  readonly name: string;
  /** Where it runs: `cpu`. */
  readonly device: string;
  /** Token numbers are below it. */
  readonly vocabulary: number;
  /** The longest prompt and answer together, in tokens. */
  readonly context: number;
  /** That of the weights, or of the package. */
  readonly tokenizer: Tokenizer | undefined;
  /** Continues a text, or tokens as they are. Errors come when the answer is read. */
  generate(prompt: string | readonly number[], options?: GenerateOptions): Generation;
  /** Answers a conversation, by the chat template of the tokenizer. */
  chat(messages: readonly ChatMessage<Names["roles"]>[], options?: ChatOptions): Generation;
  /** What the model makes of rows: texts (as documents begin) or tokens as they are. */
  score(rows: readonly (string | readonly number[])[]): Promise<Scores>;
  /** A copy of a param or a state as the model has it now. */
  param<Name extends NameIn<Names["params"]>>(name: Name): Promise<ModelTensor<Names["params"][Name]>>;
  /** For training loops of one's own: starts with the weights of the model, or with initial ones when it has none. */
  trainer<Name extends NameIn<Names["trainings"]>>(
    name: Name,
    options?: TrainerOptions<Names["trainings"][Name]>,
  ): Promise<ModelTrainer<Names["trainings"][Name]>>;
  /** Trains as a train section says, on its data, into the folder of a run; then the model has the weights of that run. */
  train(name: NameIn<Names["trainings"]>, options?: TrainOptions): Promise<StopEvent>;
  /** Serves the model over HTTP: the API of OpenAI and a chat page. Resolves when it listens. */
  serve(options?: ServeOptions): Promise<ModelServer>;
  /** Takes other weights: answers and scores that begin later are made with them. */
  load(weights: string): Promise<void>;
  memory(): ModelMemory;
  /** What was generated so far; undefined before the first answer. */
  readonly counts: Readonly<EngineCounts> | undefined;
  /** Ends servers, trainers and answers, and gives the memory back. */
  close(): Promise<void>;
}
