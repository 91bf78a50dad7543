/** A training that is small enough for the interpreter: some 20 ms a step. */
import { trainPlan } from "../../compiler/cli/train-plan.ts";
import { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import { modelFile } from "../../compiler/package/model.ts";
import { trainingPlan } from "../../compiler/package/training-plan.ts";
import { referenceSession } from "../../compiler/reference/session.ts";
import { checkFile } from "../../dsl/semantics/check.ts";
import type { Piece, Sequence } from "../../runtime/data/batch.ts";
import type { Data } from "../../runtime/data/data.ts";
import type { SequenceStream, StreamState } from "../../runtime/data/stream.ts";
import type { Session } from "../../runtime/device/session.ts";
import type { ModelFile } from "../../runtime/program/model.ts";
import type { TrainingPlan } from "../../runtime/train/plan.ts";

const TEXT = `edition 2026

import { Gqa } from "std/attention"
import { DeepSeekMoe } from "std/moe"
import { Decoder, Embedding, RmsNorm } from "std/nn"

model Pico {
  dim V = 32
  dim D = 12
  dtype = f32
  init  = normal(0.1)

  use embed = Embedding[V, D]
  use trunk = stack { 2 of Decoder[D](mixer: Gqa[D, 1, 2, 4], ffn: DeepSeekMoe[D](E: 4, F: 6, K: 2, G: 1, keep: 1)) }
  use norm = RmsNorm[D]
  use head = Embedding[V, D].transposed
  use mtp = predict_ahead(
    depth: 1,
    with: Decoder[D](mixer: Gqa[D, 1, 2, 4], ffn: DeepSeekMoe[D](E: 4, F: 6, K: 2, G: 1, keep: 1)),
    shares: [embed, head]
  )

  fn forward(tokens: i32[T], pos: i32[T]) -> f32[T, V] {
    return head(norm(trunk(embed(tokens), pos)))
  }
}

train Short for Pico {
  data         = lines("*.jsonl", pack: true)
  length       = 16 tokens
  stop         = 30 steps
  batch        = 4
  optimizer    = adamw(clip: 1.0)
  lr           = schedule by steps { ..10 => ramp(1e-3, 1e-2)  ..end => 1e-2 }
  balance_rate = 1e-3
  loss         = next_token() + sequence_balance(1e-3) + mtp(0.3)
  seed         = 7
}
`;

const { models, sections } = checkFile({ path: "pico.dsk", text: TEXT }, new Diagnostics());
const MODEL = models.get("Pico")!;
const SECTION = sections.all.find(({ kind }) => kind === "train")!;

export const PLAN: TrainingPlan = trainingPlan(SECTION, MODEL, new Diagnostics())!;

export interface TinyTraining {
  readonly session: Session;
  readonly model: ModelFile;
  readonly plan: TrainingPlan;
  readonly data: Data;
}

export function tinyTraining(changes: Partial<TrainingPlan> = {}): TinyTraining {
  const training = MODEL.training();
  const plan = trainPlan(SECTION, training);
  return {
    session: referenceSession(MODEL.module, { module: training.module, plan }),
    model: modelFile(training.module, undefined, plan),
    plan: { ...PLAN, ...changes },
    data: sequenceData(),
  };
}

/** Pieces of counting in several strides, modulo 29: easy to learn, and no two sequences are alike. */
function sequenceData(): Data {
  const piece = (number: number, length: number, from: number): Piece => ({
    length,
    tokens: Int32Array.from({ length: length + 2 }, (_, i) => (number + (from + i) * (1 + (number % 3))) % 29),
  });
  // Two documents share every third sequence.
  const sequence = (number: number): Sequence =>
    number % 3 === 0 ? [piece(number, 9, 0), piece(number + 5, 7, 3)] : [piece(number, 16, 0)];
  return {
    train: { documents: 200, tokens: 200 * 16 },
    valid: { documents: 8, tokens: 8 * 16 },
    remarks: [],
    stream: ({ epochs = Infinity, state }) => new CountingStream(sequence, 200 * epochs, state),
    validation: () => Array.from({ length: 8 }, (_, i) => sequence(1000 + i)),
    close: () => undefined,
  };
}

class CountingStream implements SequenceStream {
  readonly #sequence: (number: number) => Sequence;
  readonly #end: number;
  #at: number;

  constructor(sequence: (number: number) => Sequence, end: number, state: StreamState | undefined) {
    this.#sequence = sequence;
    this.#end = end;
    this.#at = state?.parts[0]!.sequence ?? 0;
  }

  next(count: number): Sequence[] {
    const numbers = Array.from({ length: Math.min(count, this.#end - this.#at) }, (_, i) => this.#at + i);
    this.#at += numbers.length;
    return numbers.map((number) => this.#sequence((number * 37) % 200));
  }

  get epochs(): number {
    return this.#at / 200;
  }

  state(): StreamState {
    return {
      format: 1,
      stream: "counting",
      parts: [{ epoch: 0, window: 0, sequence: this.#at, tokens: 16 * this.#at }],
    };
  }
}
