/** Matrices that results are computed of beside sums: they come through the ring behind the blocks of terms. */
import type { Expr, GemmKernel, Stmt } from "../../../kernel-ir/types.ts";
import { walk } from "../../../kernel-ir/expr.ts";
import { printGatherRows, printRows } from "./gemm-gathers.ts";
import { isWhole, type Printing } from "./gemm-printing.ts";
import { type GivenShape, ROWS, SLICE } from "./gemm-shape.ts";
import { LINE_BYTES, type Matrix, storedMatrix, storedRows } from "./tensor-maps.ts";
import type { Tile } from "./tiles.ts";

/** A matrix as the text of a kernel knows it. */
export interface Input {
  /** The variable that has its element. */
  readonly name: string;
  readonly matrix: Matrix;
  /** Where a stage of the ring has it: 64 columns of all rows of the tile, swizzled. */
  readonly buffer: string;
  /** Tiles of other inputs in front of it in the same buffer. */
  readonly before: number;
}

type Assign = Stmt & { kind: "assign" };

/**
 * Inputs that fill buffers of a stage, and these buffers.
 * @param loads how many tiles of B a stage has
 */
export function inputsOf(
  kernel: GemmKernel,
  stores: readonly Assign[],
  { consumers, tileN }: Pick<Tile, "consumers" | "tileN">,
  loads: number,
): { readonly inputs: readonly Input[]; readonly given?: GivenShape } {
  const found = matricesOf(kernel, stores);
  const rows = consumers * ROWS;
  const buffers = [
    { buffer: "a", places: 1 },
    ...Array.from({ length: loads }, (_, i) => ({ buffer: `b${i}`, places: tileN / rows })),
  ].filter(({ places }) => places >= 1 && Number.isInteger(places));
  for (let count = found.length; count > 0; count--) {
    const chosen = filled(buffers, count);
    if (chosen === undefined) continue;
    const places = chosen.flatMap(({ buffer, places: n }) =>
      Array.from({ length: n }, (_, before) => ({ buffer, before })),
    );
    const inputs = found.slice(0, count).map((matrix, i) => ({ name: `given${i}`, matrix, ...places[i]! }));
    return {
      inputs,
      given: { buffers: chosen.map(({ buffer }) => buffer), gathered: kernel.groups !== undefined },
    };
  }
  return { inputs: [] };
}

/** As few buffers as have exactly so many places. */
function filled<T extends { readonly places: number }>(buffers: readonly T[], count: number): T[] | undefined {
  if (count === 0) return [];
  let best: T[] | undefined;
  for (const [i, one] of buffers.entries()) {
    const others = filled(buffers.slice(i + 1), count - one.places);
    if (one.places <= count && others !== undefined && (best === undefined || others.length + 1 < best.length))
      best = [one, ...others];
  }
  return best;
}

/** Matrices of bf16 whose element at the row and column of a result is all that results need of them. */
function matricesOf(kernel: GemmKernel, stores: readonly Assign[]): Matrix[] {
  if (kernel.groups?.over === "k") return [];
  const loads = new Map<string, (Expr & { kind: "load" })[]>();
  for (const { value } of stores)
    walk(value, (part) => {
      if (part.kind !== "load" || part.dtype !== "bf16" || part.at.length === 0) return;
      loads.set(part.from, [...(loads.get(part.from) ?? []), part]);
    });
  return [...loads].flatMap(([to, [first, ...others]]) => {
    if (others.some(({ at }) => JSON.stringify(at) !== JSON.stringify(first!.at))) return [];
    const stmt: Assign = { kind: "assign", to, at: first!.at, value: first!, axes: [] } as unknown as Assign;
    const matrix = kernel.groups === undefined ? storedMatrix(kernel, stmt) : storedRows(kernel, stmt);
    return matrix === undefined || matrix.arg.dtype !== "bf16" ? [] : [matrix];
  });
}

/** The expression with elements of inputs in variables. */
export function withInputs(expr: Expr, inputs: readonly Input[]): Expr {
  const inner = (x: Expr): Expr => withInputs(x, inputs);
  switch (expr.kind) {
    case "load": {
      const input = inputs.find(({ matrix }) => matrix.arg.name === expr.from);
      return input === undefined ? { ...expr, at: expr.at.map(inner) } : { ...expr, from: input.name, at: [] };
    }
    case "op":
      return { ...expr, operands: expr.operands.map(inner) };
    case "random":
      return { ...expr, element: inner(expr.element), seed: inner(expr.seed), step: inner(expr.step) };
    default:
      return expr;
  }
}

/** In front of the loop over slices: where the rows of gathered inputs begin. Those that lie alike share that. */
export function printInputRows(
  printing: Printing,
  kernel: GemmKernel,
  inputs: readonly Input[],
  tile: number,
  order: string,
): void {
  for (const input of inputs)
    if (rowsOf(input, inputs) === input) printRows(printing, kernel.m, input.matrix, tile, order, `from_${input.name}`);
}

/** The input whose rows lie as those of this one. */
function rowsOf({ matrix }: Input, inputs: readonly Input[]): Input {
  const key = ({ arg, gathered }: Matrix): string => JSON.stringify([arg.shape, gathered]);
  return inputs.find((other) => key(other.matrix) === key(matrix))!;
}

/** Copies of a buffer's inputs by threads. */
export function printInputGather(
  printing: Printing,
  kernel: GemmKernel,
  inputs: readonly Input[],
  buffer: string,
  to: string,
  tile: number,
): void {
  const { n } = kernel;
  for (const input of inputs) {
    if (input.buffer !== buffer) continue;
    const place = input.before === 0 ? to : `${to} + ${input.before * tile * LINE_BYTES}`;
    const bytes = isWhole(n, SLICE) ? "16" : `at.n + slice * ${SLICE} + thread % 8 * 8 < n_end ? 16 : 0`;
    const rows = `from_${rowsOf(input, inputs).name}`;
    const from = `at.n / 8 + slice * ${SLICE / 8}`;
    printing.lines.block("", () => {
      printing.lines.add("const int thread_now = anew(thread);");
      printGatherRows(printing, input.matrix, place, tile, rows, from, bytes, "thread_now");
    });
  }
}

/** Pairs of elements that belong to a thread's pair `c` of results. */
export function printInputPairs({ lines }: Printing, inputs: readonly Input[], tile: number): void {
  if (inputs.length === 0) return;
  lines.add(
    `const int place = (part * ${ROWS} + warp * 16 + c % 2 * 8 + lane / 4) * ${LINE_BYTES} + (c / 2 ^ lane / 4) * 16 + lane % 4 * 4;`,
  );
  for (const { name, buffer, before } of inputs) {
    const from = `shared.${buffer}[stage]${before === 0 ? "" : ` + ${before * tile * LINE_BYTES}`} + place`;
    lines.add(`const unsigned ${name}_pair = *reinterpret_cast<const unsigned*>(${from});`);
  }
}
