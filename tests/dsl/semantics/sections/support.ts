import { Diagnostics } from "../../../../compiler/diagnostics/diagnostic.ts";
import { type CheckedFile, checkFile } from "../../../../dsl/semantics/check.ts";

/** A mixture of four layers of 16 experts, balanced by a bias, without look-ahead. */
const MODEL = `edition 2026

import { Mha } from "std/attention"
import { DeepSeekMoe } from "std/moe"
import { Decoder, Embedding, RmsNorm } from "std/nn"

model Tiny {
  dim V = 512
  dim D = 64
  dim H = 4
  dim N = 16
  use embed = Embedding[V, D]
  use trunk = stack {
    4 of Decoder[D](mixer: Mha[D, H, N], ffn: DeepSeekMoe[D](E: 16, F: 32, K: 2, G: 4, keep: 2))
  }
  use norm = RmsNorm[D]
  use head = Embedding[V, D].transposed

  fn forward(tokens: i32[T], pos: i32[T]) -> f32[T, V] {
    return head(norm(trunk(embed(tokens), pos)))
  }
}
`;

export interface Result extends CheckedFile {
  /** `CODE message`, then `| help` where there is one. */
  readonly messages: readonly string[];
}

/** Checks sections behind the model. */
export function check(sections: string): Result {
  const diagnostics = new Diagnostics();
  const file = checkFile({ path: "test.dsk", text: `${MODEL}\n${sections}` }, diagnostics);
  const messages = diagnostics.all.map(
    ({ code, message, help, fix }) =>
      `${code} ${message}${(help ?? fix?.title) === undefined ? "" : ` | ${help ?? fix!.title}`}`,
  );
  return { ...file, messages };
}

const ENTRIES: Readonly<Record<string, string>> = {
  data: 'shards("corpus/*.bin")',
  length: "4Ki tokens",
  stop: "10B tokens",
  optimizer: "adamw()",
  batch: "64",
  lr: "1e-3",
  balance_rate: "1e-3",
  loss: "next_token()",
};

/** A sound train section with some entries changed, or left out where they are undefined. */
export function train(changes: Readonly<Record<string, string | undefined>> = {}, more = ""): string {
  const entries = Object.entries({ ...ENTRIES, ...changes }).filter(([, value]) => value !== undefined);
  return `train Pretrain for Tiny {\n${entries.map(([name, value]) => `  ${name} = ${value}\n`).join("")}${more}}\n`;
}

/** A sound train section with a layout for it. */
export function layout(body: string, changes: Readonly<Record<string, string>> = {}): string {
  return `${train(changes)}\nlayout Cluster for Pretrain {\n${body}\n}\n`;
}
