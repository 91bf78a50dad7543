import type { ProgramBuilder } from "../builder.ts";
import { stringAttr } from "../attrs.ts";
import { isFloat, type Op, type Value } from "../types.ts";
import { Emitter } from "./emitter.ts";
import { vjpOf } from "./table.ts";
import type { Vjp } from "./vjp/entry.ts";

/** An output and the gradient of the objective with respect to it, of the same type. */
export interface Seed {
  readonly output: Value;
  readonly cotangent: Value;
}

/**
 * Appends the backward part of everything in the builder: for each wanted value, by its id, the sum over the seeds of
 * (cotangent) (d output / d value), with exactly the value's type. A value that no seed depends on has no entry. The
 * backward part is made of ordinary ops, so gradients of gradients work.
 */
export function gradients(
  builder: ProgramBuilder,
  seeds: readonly Seed[],
  wanted: readonly Value[],
): Map<number, Value> {
  const forward = [...builder.ops];
  const varying = dependents(forward, wanted);
  const e = new Emitter(builder);
  const found = new Map<number, Value>();
  const add = (value: Value, gradient: Value): void => {
    const sum = found.get(value.id);
    found.set(value.id, sum === undefined ? gradient : e.emit("math.add", [sum, gradient], value.type));
  };
  for (const { output, cotangent } of seeds) if (varying.has(output.id)) add(output, cotangent);

  const hasZeros = new Set<number>();
  const { loc } = builder;
  for (const op of forward.toReversed()) {
    const [result] = op.results;
    const gradient = result === undefined ? undefined : found.get(result.id);
    const vjp = differentiable(op);
    if (result === undefined || gradient === undefined || vjp === undefined) continue;
    builder.loc = op.loc;
    e.guarded = hasZeros.has(result.id);
    const rules = vjp(e, op, gradient);
    for (const [i, operand] of op.operands.entries()) {
      const rule = rules[i];
      if (rule === undefined || !varying.has(operand.id)) continue;
      add(operand, rule());
      if (choosesElements(op) || (e.guarded && !mixesElements(op))) hasZeros.add(operand.id);
    }
  }
  builder.loc = loc;
  const results = new Map(wanted.flatMap(({ id }) => (found.has(id) ? [[id, found.get(id)!] as const] : [])));
  return named(builder.ops, forward.length, results);
}

/** The gradients, which are called `grad` from the op on that makes them; what has a name keeps it. */
function named(ops: Op[], first: number, found: ReadonlyMap<number, Value>): Map<number, Value> {
  const own = new Set(ops.slice(first).flatMap(({ results }) => results.map(({ id }) => id)));
  const wanted = new Set(
    [...found.values()].flatMap(({ id, name }) => (own.has(id) && name === undefined ? [id] : [])),
  );
  const renamed = (value: Value): Value => (wanted.has(value.id) ? { ...value, name: "grad" } : value);
  for (const [i, op] of ops.entries())
    if (i >= first) ops[i] = { ...op, operands: op.operands.map(renamed), results: op.results.map(renamed) };
  return new Map([...found].map(([id, value]) => [id, renamed(value)]));
}

/** The gradient of a scalar with respect to each wanted value, zeros where it does not depend on the value. */
export function gradientsOf(builder: ProgramBuilder, objective: Value, wanted: readonly Value[]): Value[] {
  const one = builder.emit("tensor.constant", [], objective.type, { value: 1 });
  return orZeros(builder, gradients(builder, [{ output: objective, cotangent: one }], wanted), wanted);
}

export function orZeros(builder: ProgramBuilder, found: ReadonlyMap<number, Value>, wanted: readonly Value[]): Value[] {
  return wanted.map((value) => found.get(value.id) ?? builder.emit("tensor.constant", [], value.type, { value: 0 }));
}

/** The float values that depend on one of the given values in a way that has a derivative, and those values. */
function dependents(ops: readonly Op[], wanted: readonly Value[]): Set<number> {
  const varying = new Set(wanted.map(({ id }) => id));
  for (const op of ops) {
    if (differentiable(op) === undefined || !op.operands.some(({ id }) => varying.has(id))) continue;
    for (const { id, type } of op.results) if (isFloat(type.dtype)) varying.add(id);
  }
  return varying;
}

function differentiable(op: Op): Vjp | undefined {
  const entry = vjpOf(op.name);
  return typeof entry === "function" ? entry : undefined;
}

const CHOICES = ["math.select", "math.max", "math.min", "math.relu", "tensor.gather", "tensor.slice", "cache.latest"];

/** Its backward gives 0 to the elements that it did not take: what they were computed from must get 0 as well. */
function choosesElements(op: Op): boolean {
  return CHOICES.includes(op.name) || (op.name === "tensor.reduce" && stringAttr(op.attrs, "kind") !== "sum");
}

/** Its backward sums over elements that were taken and elements that were not. */
function mixesElements(op: Op): boolean {
  return op.name === "tensor.contract" || op.name.startsWith("moe.");
}
