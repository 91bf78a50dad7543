import { describe, expect, test } from "vitest";
import { breakdown } from "../../../compiler/analysis/breakdown.ts";
import { evaluateExpectations, factsOf } from "../../../compiler/analysis/facts.ts";
import { flopsByPlace } from "../../../compiler/analysis/flops.ts";
import { probe } from "../../../compiler/analysis/probe.ts";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import { parseModule } from "../../../compiler/model-ir/parse.ts";
import type { Module } from "../../../compiler/model-ir/types.ts";
import { checkedModel } from "../../support/probe.ts";
import { TINY } from "../../support/tiny-module.ts";

const parse = (text: string): Module => parseModule({ path: "tiny.model", text });
const module = parse(TINY);

describe("a small model, counted by hand", () => {
  const expert = 4 * 6 + 6 + 6 * 4;
  const attention = 3 * 4 * 3;
  const dense = attention + 4 * 2 + 2 * expert;
  const moe = (experts: number): number => attention + 4 * 5 + experts * expert;
  const facts = factsOf(module, 16);

  test("params", () => {
    expect(facts.params).toEqual({
      total: 44 + dense + 2 * moe(5) + 4,
      activated: 44 + dense + 2 * moe(2) + 4,
      // The embedding is the output head as well.
      activatedNoInputEmbedding: 44 + dense + 2 * moe(2) + 4,
      activatedNoEmbeddings: dense + 2 * moe(2) + 4,
      mtp: 2 * (4 + moe(5)),
      embedding: 44,
    });
  });

  test("FLOPs: twice the weights of matrices, half of the scores", () => {
    const scores = 2 * (2 * 3 * 16) * 0.5;
    const mixing = 2 * 2 * 4;
    const weights = 3 * attention + 4 * 2 + 2 * 48 + 2 * (4 * 5 + 2 * 48) + 44;
    expect(facts.flops).toEqual({
      forwardPerToken: 2 * weights + 3 * scores + mixing,
      trainPerToken: 3 * (2 * weights + 3 * scores + mixing),
      context: 16,
    });
  });

  test("cache and bytes", () => {
    expect(facts.cache).toEqual({ valuesPerToken: 9, bytesPerToken: 36 });
    expect(facts.weightBytes).toBe(4 * (facts.params.total + 2 * 5));
  });
});

test("an output head of its own is not the input embedding", () => {
  const untied = parse(
    TINY.replace("use head = alias embed transposed", "use head = block @Embedding transposed")
      .replace('fn = "Embedding.transposed", use = "embed"', 'fn = "Embedding.transposed", use = "head"')
      .replace("head embed @Embedding.transposed", "head head @Embedding.transposed"),
  );
  const { params } = factsOf(untied);
  expect(params.activated - params.activatedNoInputEmbedding).toBe(44);
  expect(params.activated - params.activatedNoEmbeddings).toBe(88);
});

test("a window of attention bounds what a token sees", () => {
  const windowed = TINY.replace(
    "%13: bool[T, S] = math.and %11, %12",
    [
      "%18: bool[T, S] = math.and %11, %12",
      "%19: i32 = tensor.constant {value = 4}",
      "%20: i32[T] = math.sub %1, %19",
      "%21: bool[T, S] = math.gt %8, %20",
      "%13: bool[T, S] = math.and %18, %21",
    ].join("\n  "),
  );
  const scores = (text: string, context: number): number =>
    factsOf(parse(text), context).flops.forwardPerToken - factsOf(parse(text), 1).flops.forwardPerToken;
  expect(scores(windowed, 4)).toBe(scores(TINY, 4));
  const perPosition = 3 * (2 * 2 * 3);
  expect(scores(windowed, 16)).toBeCloseTo(perPosition * (4 - 4 ** 2 / (2 * 16) - 1 / 2), 9);
});

test("the parts add up to the whole", () => {
  const forward = probe(module);
  const parts = breakdown(module, forward, flopsByPlace(module, forward, 16), 3);
  const facts = factsOf(module, 16);
  const top = parts.filter(({ depth }) => depth === 0);
  expect(top.map(({ name }) => name)).toEqual(["embed", "trunk.0", "trunk.1-2", "norm", "mtp.0", "mtp.1"]);
  const sum = (key: "params" | "flopsPerToken" | "cacheBytesPerToken"): number =>
    top.reduce((total, part) => total + part[key], 0);
  expect(sum("params")).toBe(facts.params.total + facts.params.mtp);
  expect(sum("flopsPerToken")).toBe(facts.flops.forwardPerToken);
  const layers = parts.filter(({ name }) => name === "experts").map(({ params, activated }) => [params, activated]);
  expect(layers).toEqual([
    [108, 108],
    [540, 216],
  ]);
});

describe("expectations", () => {
  function evaluate(line: string): { messages: string[]; holds: boolean[] } {
    const text = TINY.replace(/^expect .*\n/gm, "").replace("losses balance\n", `losses balance\nexpect ${line}\n`);
    const diagnostics = new Diagnostics();
    const parsed = parse(text);
    const results = evaluateExpectations(parsed, factsOf(parsed), diagnostics);
    return {
      messages: diagnostics.all.map(({ message, help }) => `${message} ${help ?? ""}`.trim()),
      holds: results.map(({ holds }) => holds),
    };
  }

  test("hold exactly, with arithmetic, or within a share", () => {
    expect(evaluate("params.total == 852")).toEqual({ messages: [], holds: [true] });
    expect(evaluate("cache.bytes / cache.values == 8 / 2").holds).toEqual([true]);
    expect(evaluate("params.total == 850 within 0.01").holds).toEqual([true]);
  });

  test("that fail tell the actual value", () => {
    const { messages, holds } = evaluate("params.total == 1000 within 0.1");
    expect(holds).toEqual([false]);
    expect(messages[0]).toContain("expected params.total == 1_000 within 10%, it is 852");
  });

  test("of an unknown fact suggest a known one", () => {
    expect(evaluate("params.totl == 1").messages[0]).toMatch(/`params.totl`.*did you mean `params.total`/);
  });
});

test("stacks inside stacks, and layers of one kind in two of them, are all counted", () => {
  const { module: nested } = checkedModel(`edition 2026

import { SoftmaxMoe } from "std/moe"
import { Embedding, SwiGlu } from "std/nn"

block Pair[D] {
  use layers = stack { 2 of SwiGlu[D, 5]  3 of SoftmaxMoe[D](E: 4, F: 3, K: 2) }
  fn forward(x: [T, D]) -> [T, D] { return layers(x) }
}

model Nested {
  dim V = 11
  dim D = 4
  use embed  = Embedding[V, D]
  use first  = stack { 2 of Pair[D]  1 of SwiGlu[D, 5] }
  use second = stack { 1 of SwiGlu[D, 5]  1 of Pair[D] }
  use head   = Embedding[V, D].transposed
  fn forward(tokens: i32[T], pos: i32[T]) -> f32[T, V] { return head(second(first(embed(tokens)))) }
}
`);
  const { params, flops } = factsOf(nested);
  const [glu, gate, expert] = [3 * 4 * 5, 4 * 4, 3 * 4 * 3];
  // Three pairs, and two layers beside them.
  const dense = (3 * 2 + 2) * glu + 3 * 3 * gate;
  expect(params).toMatchObject({
    total: 2 * 44 + dense + 3 * 3 * 4 * expert,
    activated: 2 * 44 + dense + 3 * 3 * 2 * expert,
    activatedNoInputEmbedding: 44 + dense + 3 * 3 * 2 * expert,
  });
  expect(flops.forwardPerToken).toBe(2 * (44 + dense + 3 * 3 * 2 * expert));
  const forward = probe(nested);
  const parts = breakdown(nested, forward, flopsByPlace(nested, forward, 16), 3);
  const of = (name: string): unknown[] => parts.filter((part) => part.name === name).map((part) => part.flopsPerToken);
  expect(of("layers.0-1")).toEqual([2 * 2 * 2 * glu, 2 * 2 * glu]);
  expect(of("layers.2-4")).toEqual([2 * 3 * 2 * (gate + 2 * expert), 3 * 2 * (gate + 2 * expert)]);
});
