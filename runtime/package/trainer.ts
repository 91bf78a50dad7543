/** Training steps on rows that the caller brings. */
import type { Piece, Sequence } from "../data/batch.ts";
import { encodeDocument } from "../data/read/encode-document.ts";
import type { Message } from "../data/tokenizer/chat-template.ts";
import type { Tokenizer } from "../data/tokenizer/tokenizer.ts";
import type { Elements, Session } from "../device/session.ts";
import type { WrittenTensor } from "../io/safetensors/written.ts";
import type { ModelFile } from "../program/model.ts";
import { TrainingClock } from "../train/clock.ts";
import { type Evaluation, evaluate } from "../train/evaluate.ts";
import type { TrainingPlan } from "../train/plan.ts";
import { storedTensors } from "../train/stores.ts";
import { type StepResult, Trainer } from "../train/trainer.ts";
import { checkTokens } from "./generate.ts";
import { ModelError } from "./model-error.ts";

/** What is learned: a text, a conversation of which the answers count, or tokens as they are. */
export type Row = string | { readonly messages: readonly Message[] } | readonly number[];

/** Names of a train section, for types: of its losses, and of the metrics that blocks emit. */
export interface TrainingNames {
  readonly losses: string;
  readonly metrics: string;
}

/** The names of train sections from lists of them. */
export type TrainingNamesOf<
  Lists extends Readonly<Record<string, Readonly<Record<keyof TrainingNames, readonly string[]>>>>,
> = {
  readonly [Name in keyof Lists]: { readonly [Kind in keyof TrainingNames]: Lists[Name][Kind][number] };
};

export interface TrainerOptions<Names extends TrainingNames = TrainingNames> {
  /** Metrics that every step shall give. */
  readonly metrics?: readonly Names["metrics"][];
  /** Tokens of one pass over the data: what a training by epochs is measured with. */
  readonly epochTokens?: number;
  /** The most tokens of one call; a step with more is split, which needs a package that was built for it. */
  readonly tokensPerCall?: number;
}

/** What one step gave; its losses and metrics by their names. */
export interface StepOf<Names extends TrainingNames> extends Omit<StepResult, "losses" | "metrics"> {
  readonly losses: Readonly<Record<Names["losses"], number>>;
  readonly metrics: Readonly<Partial<Record<Names["metrics"], Elements>>>;
}

export interface ModelTrainer<Names extends TrainingNames = TrainingNames> {
  readonly plan: TrainingPlan;
  /** Steps that were made. */
  readonly steps: number;
  /**
   * Trains on rows: one step of the section, with the learning rate and the other schedules of its place in the training.
   * @throws DivergedError when a result is not finite
   */
  step(rows: readonly Row[]): Promise<StepOf<Names>>;
  /** The mean loss of the next token over rows; nothing is learned. */
  evaluate(rows: readonly Row[]): Promise<Evaluation>;
  /** Gives the model what was learned so far: answers and scores that begin later are made with it. */
  publish(): Promise<void>;
  /** Writes the weights into a folder: something to load, serve and go on from. */
  save(folder: string): Promise<void>;
  close(): void;
}

export interface TrainerParts {
  readonly session: Session;
  readonly model: ModelFile;
  readonly plan: TrainingPlan;
  readonly tokenizer: () => Tokenizer;
  readonly publish: (from: Session) => Promise<void>;
  readonly save: (folder: string, tensors: readonly WrittenTensor[]) => void;
  readonly onClose: () => void;
}

/** @param parts a session with the weights to start from */
export function modelTrainer<Names extends TrainingNames>(
  parts: TrainerParts,
  options: TrainerOptions<Names>,
): ModelTrainer<Names> {
  return new RowTrainer(parts, options) as unknown as ModelTrainer<Names>;
}

class RowTrainer implements ModelTrainer {
  readonly plan: TrainingPlan;
  readonly #parts: TrainerParts;
  readonly #trainer: Trainer;
  readonly #clock: TrainingClock;
  readonly #epochTokens: number;
  readonly #tokensPerCall: number;

  constructor(parts: TrainerParts, { metrics = [], epochTokens, tokensPerCall = Infinity }: TrainerOptions) {
    const { session, plan } = parts;
    if (plan.stop.clock === "epochs" && epochTokens === undefined)
      throw new ModelError(
        `\`train ${plan.name}\` is measured in epochs: say how many tokens one has with \`epochTokens\``,
      );
    this.plan = plan;
    this.#parts = parts;
    this.#epochTokens = epochTokens ?? Infinity;
    this.#tokensPerCall = tokensPerCall;
    this.#trainer = new Trainer(session, plan, tokensPerCall, metrics);
    this.#clock = new TrainingClock(plan, this.#epochTokens);
  }

  get steps(): number {
    return this.#clock.done.steps;
  }

  async step(rows: readonly Row[]): Promise<StepResult> {
    const result = await this.#trainer.step(this.#sequences(rows), this.#clock);
    const { sequences, tokens } = result;
    const epochs = (this.#clock.done.tokens + tokens) / this.#epochTokens;
    this.#clock.advance({ sequences, tokens, epochs });
    return result;
  }

  evaluate(rows: readonly Row[]): Promise<Evaluation> {
    return evaluate(this.#parts.session, this.#sequences(rows), this.#tokensPerCall);
  }

  publish(): Promise<void> {
    return this.#parts.publish(this.#parts.session);
  }

  async save(folder: string): Promise<void> {
    const { session, model } = this.#parts;
    const own = new Set(model.stores.flatMap(({ name, blocks }) => (blocks === undefined ? [] : [name])));
    const stores = session.stores.filter(({ name }) => own.has(name));
    this.#parts.save(folder, await storedTensors(session, stores));
  }

  close(): void {
    this.#parts.session.close();
    this.#parts.onClose();
  }

  #sequences(rows: readonly Row[]): Sequence[] {
    if (rows.length === 0) throw new ModelError("there are no rows");
    return rows.map((row, index) => [this.#piece(row, index)]);
  }

  #piece(row: Row, index: number): Piece {
    const { model, tokenizer } = this.#parts;
    const what = `row ${index + 1}`;
    if (typeof row !== "string" && !("messages" in row)) {
      checkTokens(what, row, model.vocabulary);
      return { length: row.length, tokens: Int32Array.from(row) };
    }
    const document =
      typeof row === "string" ? { text: row, first: true, last: true } : { messages: row.messages, place: what };
    const encoded = encodeDocument(document, tokenizer(), (problem) => {
      throw new ModelError(problem);
    })!;
    checkTokens(what, encoded.tokens, model.vocabulary);
    return {
      length: encoded.tokens.length,
      tokens: Int32Array.from(encoded.tokens),
      ...(encoded.counted === undefined ? {} : { counted: Uint8Array.from(encoded.counted) }),
    };
  }
}
