/** Guessing with two look-ahead modules, over caches and in chunks, against the modules on whole sequences as in training. */
import { expect, test } from "vitest";
import { runForward } from "../../../compiler/elaborate/forward.ts";
import { ProgramHost } from "../../../compiler/elaborate/host.ts";
import { Inliner } from "../../../compiler/elaborate/inline.ts";
import { runAhead } from "../../../compiler/elaborate/look-ahead.ts";
import { draftPrograms, serveProgram } from "../../../compiler/elaborate/serve.ts";
import { storesOf } from "../../../compiler/model-ir/places.ts";
import { parseModule } from "../../../compiler/model-ir/parse.ts";
import type { Given } from "../../../compiler/reference/border.ts";
import { runProgram } from "../../../compiler/reference/run.ts";
import type { Tensor } from "../../../compiler/reference/tensor.ts";
import type { Program } from "../../../compiler/tensor-ir/types.ts";
import { elementsOf } from "../../../compiler/analysis/bytes.ts";
import { randoms } from "../../support/plain.ts";
import { TINY } from "../../support/tiny-module.ts";

const module = parseModule({ path: "tiny.model", text: TINY });
const tokens = [3, 1, 4, 1, 5, 9, 2, 6];
const weights = new Map<string, Given>(
  storesOf(module.root)
    .filter(({ store }) => store.kind !== "cache")
    .map(({ path, type }, i) => [path, { data: randoms(7 * i + 1, elementsOf(type, module.dims), 0.8) }]),
);

function run(
  program: Program,
  inputs: Readonly<Record<string, readonly number[]>>,
  caches: ReadonlyMap<string, Tensor>,
) {
  const sizes = { T: inputs["tokens"]!.length, S: inputs["key.pos"]!.length, B: inputs["rows"]?.length ?? 1 };
  const values = new Map<string, Given>(weights);
  for (const [name, data] of Object.entries(inputs)) values.set(name, { data });
  return runProgram(program, { sizes, values, caches }, { precision: "f64" });
}

const upTo = (end: number): number[] => Array.from({ length: end }, (_, i) => i);

/** Outputs of all positions, in chunks of some size. */
function inChunks(
  program: Program,
  size: number,
  more: (at: readonly number[]) => Record<string, readonly number[]>,
): Map<string, number[]> {
  const outputs = new Map<string, number[]>();
  let caches: ReadonlyMap<string, Tensor> = new Map();
  const count = tokens.length;
  for (let from = 0; from < count; from += size) {
    const end = Math.min(from + size, count);
    const at = upTo(end).slice(from);
    const seq = { seq: at.map(() => 0), "key.seq": upTo(end).map(() => 0) };
    const inputs = { pos: at, "key.pos": upTo(end), rows: at.map((p) => p - from), ...seq, ...more(at) };
    const result = run(program, inputs, caches);
    ({ caches } = result);
    for (const [name, { data }] of result.outputs) outputs.set(name, [...(outputs.get(name) ?? []), ...data]);
  }
  return outputs;
}

/** The logits of both modules on the whole sequence. */
function whole(): number[][] {
  const host = new ProgramHost(module, { caches: "whole", metrics: false, losses: false });
  const inliner = new Inliner(module, host);
  runForward(module, host, inliner);
  runAhead(module, host, inliner);
  const entropies = host.builder.ops.filter(({ name }) => name === "nn.logsumexp");
  entropies.forEach((op, k) => host.builder.effect("program.output", [op.operands[0]!], { name: `${k}` }));
  const ahead = (by: number): number[] => tokens.map((_, i) => tokens[i + by] ?? -1);
  const inputs = { tokens, pos: upTo(8), seq: tokens.map(() => 0), "key.pos": upTo(8) };
  const targets = { "ahead.1": ahead(1), "ahead.2": ahead(2), "target.2": ahead(2), "target.3": ahead(3) };
  const { outputs } = run(host.builder.finish("ahead"), { ...inputs, ...targets }, new Map());
  return [...outputs.values()].map(({ data }) => [...data]);
}

test.each([1, 3, 8])("logits of both modules in chunks of %i", (size) => {
  const wanted = whole();
  expect(wanted.length).toBe(2);
  const [first, second] = draftPrograms(module);
  const width = 4;
  let hidden = inChunks(serveProgram(module, "decode"), size, (at) => ({ tokens: at.map((p) => tokens[p]!) })).get(
    "hidden",
  )!;
  for (const [k, program] of [first!, second!].entries()) {
    const outputs = inChunks(program, size, (at) => ({
      tokens: at.map((p) => tokens[p + k + 1] ?? -1),
      hidden: hidden.slice(at[0]! * width, (at.at(-1)! + 1) * width),
    }));
    // Positions that have a token ahead.
    const live = (tokens.length - k - 1) * 11;
    const logits = outputs.get("logits")!;
    for (let i = 0; i < live; i++) expect(logits[i]).toBeCloseTo(wanted[k]![i]!, 10);
    hidden = outputs.get("hidden")!;
  }
});
