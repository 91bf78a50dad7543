import { serveProgram } from "../../compiler/elaborate/serve.ts";
import type { Module } from "../../compiler/model-ir/types.ts";
import type { Given } from "../../compiler/reference/border.ts";
import { runProgram } from "../../compiler/reference/run.ts";
import type { Tensor } from "../../compiler/reference/tensor.ts";

export interface Generated {
  readonly tokens: readonly number[];
  /** Those that each token was taken from. */
  readonly logits: readonly (readonly number[])[];
  /** After the last call: all but the last token. */
  readonly caches: ReadonlyMap<string, Tensor>;
}

/** Takes the best token again and again: the prompt through `prefill`, then one token at a time through `decode`. */
export function generateGreedily(
  module: Module,
  weights: ReadonlyMap<string, Given>,
  prompt: readonly number[],
  count: number,
): Generated {
  const [prefill, decode] = [serveProgram(module, "prefill"), serveProgram(module, "decode")];
  const generated: { tokens: number[]; logits: number[][] } = { tokens: [], logits: [] };
  let caches: ReadonlyMap<string, Tensor> = new Map();
  let call = prompt;
  let kept = 0;
  while (generated.tokens.length < count) {
    const all = Array.from({ length: kept + call.length }, (_, i) => i);
    const values = new Map<string, Given>([
      ...weights,
      ["tokens", { data: call }],
      ["pos", { data: all.slice(kept) }],
      ["seq", { data: call.map(() => 0) }],
      ["key.pos", { data: all }],
      ["key.seq", { data: all.map(() => 0) }],
      ["rows", { data: [call.length - 1] }],
    ]);
    const sizes = { T: call.length, S: all.length, B: 1 };
    const result = runProgram(kept === 0 ? prefill : decode, { sizes, values, caches }, { precision: "f64" });
    const last = Array.from(result.outputs.get("logits")!.data);
    kept = all.length;
    call = [last.indexOf(Math.max(...last))];
    generated.tokens.push(...call);
    generated.logits.push(last);
    ({ caches } = result);
  }
  return { ...generated, caches };
}
