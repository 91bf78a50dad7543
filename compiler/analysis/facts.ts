import type { Diagnostics } from "../diagnostics/diagnostic.ts";
import { type FactName, isFact } from "../model-ir/fact-names.ts";
import { storesOf } from "../model-ir/places.ts";
import type { Expectation, FactExpr, Module } from "../model-ir/types.ts";
import { bytesOf, elementsOf } from "./bytes.ts";
import { type CacheFacts, cacheFacts } from "./cache.ts";
import { type FlopFacts, flopFacts, flopsByPlace } from "./flops.ts";
import { type ParameterFacts, parameterFacts } from "./parameters.ts";
import { type Probe, probe } from "./probe.ts";

export interface Facts {
  readonly params: ParameterFacts;
  readonly flops: FlopFacts;
  readonly cache: CacheFacts;
  /** Bytes of params and states in the dtypes of the model, look-ahead modules not included. */
  readonly weightBytes: number;
}

/** The context that FLOPs are counted at when nobody asks for another one. */
export const DEFAULT_CONTEXT = 4096;

export function factsOf(module: Module, context = DEFAULT_CONTEXT): Facts {
  const forward = probe(module);
  return factsFrom(module, forward, flopsByPlace(module, forward, context), context);
}

/** The facts, from parts of them that are there already. */
export function factsFrom(module: Module, forward: Probe, flops: ReadonlyMap<string, number>, context: number): Facts {
  return {
    params: parameterFacts(module, forward),
    flops: flopFacts(flops, context),
    cache: cacheFacts(module),
    weightBytes: weightBytes(module),
  };
}

function weightBytes({ root, dims }: Module): number {
  return storesOf(root)
    .filter(({ store, place }) => store.kind !== "cache" && !place.ahead)
    .reduce((total, { type }) => total + elementsOf(type, dims) * bytesOf(type.dtype), 0);
}

const FACTS: Readonly<Record<FactName, (facts: Facts) => number>> = {
  "params.total": ({ params }) => params.total,
  "params.activated": ({ params }) => params.activated,
  "params.activated_no_input_embedding": ({ params }) => params.activatedNoInputEmbedding,
  "params.activated_no_embeddings": ({ params }) => params.activatedNoEmbeddings,
  "params.mtp": ({ params }) => params.mtp,
  "params.embedding": ({ params }) => params.embedding,
  "cache.values": ({ cache }) => cache.valuesPerToken,
  "cache.bytes": ({ cache }) => cache.bytesPerToken,
  "flops.forward": ({ flops }) => flops.forwardPerToken,
  "flops.train": ({ flops }) => flops.trainPerToken,
  "weights.bytes": ({ weightBytes: bytes }) => bytes,
};

export interface ExpectationResult {
  readonly text: string;
  readonly expected: number;
  readonly actual: number;
  readonly within: number;
  readonly holds: boolean;
}

/** Compares what a model expects of itself with the facts. What fails or names no fact is reported. */
export function evaluateExpectations(module: Module, facts: Facts, diagnostics: Diagnostics): ExpectationResult[] {
  const results: ExpectationResult[] = [];
  for (const expectation of module.expects) {
    const actual = evaluate(expectation.left, facts, diagnostics);
    const expected = evaluate(expectation.right, facts, diagnostics);
    if (actual === undefined || expected === undefined) continue;
    const { text, within } = expectation;
    const holds = Math.abs(actual - expected) <= within * Math.abs(expected);
    results.push({ text, expected, actual, within, holds });
    if (!holds) fail(expectation, expected, actual, diagnostics);
  }
  return results;
}

function fail({ text, within, span }: Expectation, expected: number, actual: number, diagnostics: Diagnostics): void {
  const tolerance = within === 0 ? "" : ` within ${formatNumber(within * 100)}%`;
  const difference =
    expected === 0
      ? ""
      : `, ${formatNumber(Math.abs(actual / expected - 1) * 100)}% ${actual > expected ? "more" : "less"}`;
  diagnostics.report(
    "DSK2201",
    span,
    { what: text, expected: `${formatNumber(expected)}${tolerance}`, actual: formatNumber(actual) },
    { label: `is ${formatNumber(actual)}${difference}` },
  );
}

function evaluate(expr: FactExpr, facts: Facts, diagnostics: Diagnostics): number | undefined {
  switch (expr.kind) {
    case "number":
      return expr.value;
    case "fact": {
      return isFact(expr.name, expr.span, diagnostics) ? FACTS[expr.name](facts) : undefined;
    }
    case "binary": {
      const left = evaluate(expr.left, facts, diagnostics);
      const right = evaluate(expr.right, facts, diagnostics);
      return left === undefined || right === undefined ? undefined : OPERATORS[expr.op](left, right);
    }
  }
}

const OPERATORS: Readonly<Record<"+" | "-" | "*" | "/", (a: number, b: number) => number>> = {
  "+": (a, b) => a + b,
  "-": (a, b) => a - b,
  "*": (a, b) => a * b,
  "/": (a, b) => a / b,
};

/** With `_` between groups of three digits, as numbers are written in `.dsk`; at most six significant digits behind the point. */
export function formatNumber(value: number): string {
  if (!Number.isInteger(value)) return `${Number(value.toPrecision(6))}`;
  return `${value}`.replace(/\B(?=(\d{3})+$)/g, "_");
}
