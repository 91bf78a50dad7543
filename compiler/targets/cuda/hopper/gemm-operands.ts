/** Operands of matrix products: how their tiles come to shared memory, and how they are multiplied there. */
import type { TensorMap } from "../../../../runtime/program/grids.ts";
import type { Lines } from "../../../emit/lines.ts";
import type { Axis } from "../../../kernel-ir/types.ts";
import type { Names } from "../../scalars.ts";
import { elementsOf, printFirstTerms, printGatherRows, printGatherTerms, printRows } from "./gemm-gathers.ts";
import { type Input, printInputGather, printInputRows } from "./gemm-inputs.ts";
import { type GemmPlan, hasTiles } from "./gemm-plan.ts";
import { isWhole, type Printing, sizeText } from "./gemm-printing.ts";
import { ROWS, scalesOf, SLICE } from "./gemm-shape.ts";
import { thirdsOf } from "./gemm-thirds.ts";
import type { Operand, Step } from "./schedule.ts";
import {
  LINE,
  LINE_BYTES,
  lineOf,
  mapParameter,
  type Matrix,
  scaleMap,
  tensorMap,
  termsAreNeighbors,
} from "./tensor-maps.ts";
import { type Wgmma, wgmmaFunction, wgmmaName } from "./wgmma.ts";

/** Where an operand comes from: the name of its tensor map, or none where threads gather it. */
interface Load {
  readonly map: string;
  readonly matrix: Matrix;
  readonly side: "a" | "b";
  readonly k: readonly Axis[];
}

export class Operands {
  /** Tensor maps by the names of their parameters: those of operands, and of results that leave by the copy engine. */
  readonly maps = new Map<string, TensorMap>();
  readonly #plan: GemmPlan;
  readonly #names: Names;
  /** The array of sorted rows' numbers, where there are groups. */
  readonly #order: string;
  readonly #others: number;
  /** Arguments whose thirds lie in the arena, in their order. */
  readonly #thirds: readonly string[];
  /** By the start of a label of the schedule: `a_0`, `b1_0`. */
  readonly #loads = new Map<string, Load>();
  /** Tensor maps of scales of columns, by the start of their labels. */
  readonly #scales = new Map<string, string>();

  /** @param others how many arrays in the arena come before those of this entry point */
  constructor(plan: GemmPlan, names: Names, order: string, others: number) {
    this.#plan = plan;
    this.#others = others;
    this.#thirds = thirdsOf(plan).map(({ name }) => name);
    this.#names = names;
    this.#order = order;
    for (const [i, loop] of plan.loops.entries()) {
      this.#load(`a_${i}`, "a", loop.a, loop.k);
      for (const [j, { matrix }] of loop.b.entries()) {
        this.#load(`b${j}_${i}`, "b", matrix, loop.k);
        if (matrix.scale?.each !== undefined)
          this.#scales.set(`${scalesOf(j)}_${i}`, this.map(scaleMap(matrix.scale, plan.kernel.n, plan.tile.tileN)));
      }
    }
    for (const input of plan.inputs) if (input.matrix.gathered === undefined) this.#inputMap(input);
  }

  #load(label: string, side: "a" | "b", matrix: Matrix, k: readonly Axis[]): void {
    const { m, n, groups } = this.#plan.kernel;
    if (matrix.gathered !== undefined || matrix.codes !== undefined) {
      this.#loads.set(label, { map: "", matrix, side, k });
      return;
    }
    const batch = groups === undefined ? this.#plan.kernel.batch : [groups.group];
    const line = lineOf(matrix);
    // Neighbors fill a line of 128 bytes; of neighboring rows there are several lines for each term.
    const box = termsAreNeighbors(matrix)
      ? ([line, this.#rowsOf(side)] as const)
      : ([line, this.#plan.problem.depth] as const);
    const map = tensorMap(matrix, side === "a" ? m : n, k, batch, box);
    const own = { ...map, ...this.#inArena(matrix) };
    this.#loads.set(label, { map: this.map(own, matrix.copy ?? matrix.arg.name), matrix, side, k });
  }

  /** Of a matrix that lies in the arena: which array it is. */
  #inArena({ arg, third, copy }: Matrix): Partial<TensorMap> {
    if (third !== undefined) return { arg: `scratch${this.#others + this.#thirds.indexOf(arg.name)}` };
    if (copy === undefined) return {};
    const { packed = [], kernel } = this.#plan;
    // Those of sorted terms and where groups begin come before.
    const place = this.#others + 2 + packed.findIndex(({ name }) => name === copy);
    return { arg: `scratch${place}`, plus: (kernel.groups!.group.extent as number) * LINE };
  }

  /** Rows of a tile of A, columns of one of B. */
  #rowsOf(side: "a" | "b"): number {
    return side === "a" ? this.#plan.tile.consumers * ROWS : this.#plan.tile.tileN;
  }

  /** The name of a tensor map's parameter. */
  map(map: TensorMap, name = map.arg): string {
    return mapParameter(this.maps, map, this.#names.local(`${name}_map`));
  }

  #of(label: string): Load {
    return this.#loads.get(label.slice(0, label.indexOf("[")))!;
  }

  /** In front of a loop of the producer: where the rows lie that threads gather, or the first terms. */
  printOffsets(printing: Printing, loop: Step & { kind: "loop" }): void {
    const label = loop.body.flatMap((step) => (step.kind === "gather" ? [step.holds] : []))[0];
    if (label === undefined) return;
    const { kernel, inputs } = this.#plan;
    const { m, groups } = kernel;
    const rows = this.#rowsOf("a");
    if (groups?.over === "k") return printFirstTerms(printing, this.#order);
    if (isGiven(label)) {
      printInputRows(printing, kernel, inputs, rows, this.#order);
      // Turns side by side would want more registers than a producer has.
      printing.lines.add("#pragma unroll 1");
      return;
    }
    const order = groups === undefined ? undefined : this.#order;
    printRows(printing, m, this.#of(label).matrix, rows, order, `from_${loopOf(label)}`);
    if (groups !== undefined)
      printing.lines.add(
        `const int bytes_${loopOf(label)} = at.batch == GROUPS ? 0 : 16;  // rows without a group are 0`,
      );
  }

  printLoad(lines: Lines, holds: string, to: string, barrier: string): void {
    if (isGiven(holds)) return this.#printInputs(lines, bufferOf(holds), to, barrier);
    const scales = this.#scales.get(holds.slice(0, holds.indexOf("[")));
    if (scales !== undefined)
      return lines.add(`tma_load_2d(${to}, &${scales}, ${barrier}, at.n, ${blockOf(this.#plan)});`);
    const { map, matrix, side } = this.#of(holds);
    const first = side === "a" ? "at.m" : "at.n";
    const k = `${matrix.copy === undefined ? blockOf(this.#plan) : "(at.first + k_block)"} * TILE_K`;
    const [d, batch] =
      matrix.third !== undefined ? ["3d", `, ${matrix.third}`] : matrix.batch === 0 ? ["2d", ""] : ["3d", ", at.batch"];
    if (matrix.tiles !== undefined)
      return lines.add(`tma_load_3d(${to}, &${map}, ${barrier}, 0, ${first}, ${blockOf(this.#plan)});`);
    if (termsAreNeighbors(matrix))
      return lines.add(`tma_load_${d}(${to}, &${map}, ${barrier}, ${k}, ${first}${batch});`);
    const [line, box] = [lineOf(matrix), this.#boxBytes];
    for (let i = 0; i < this.#rowsOf(side) / line; i++) {
      const [place, x] = i === 0 ? [to, first] : [`${to} + ${i * box}`, `${first} + ${i * line}`];
      lines.add(`tma_load_${d}(${place}, &${map}, ${barrier}, ${x}, ${k}${batch});`);
    }
  }

  /** Inputs of the epilogue: 64 columns of all rows of the tile. */
  #printInputs(lines: Lines, buffer: string, to: string, barrier: string): void {
    const rows = this.#rowsOf("a");
    for (const input of this.#plan.inputs) {
      if (input.buffer !== buffer) continue;
      const [d, batch] = input.matrix.batch === 0 ? ["2d", ""] : ["3d", ", at.batch"];
      const place = input.before === 0 ? to : `${to} + ${input.before * rows * LINE_BYTES}`;
      const map = this.#inputMap(input);
      lines.add(`tma_load_${d}(${place}, &${map}, ${barrier}, at.n + slice * ${SLICE}, at.m${batch});`);
    }
  }

  #inputMap({ matrix }: Input): string {
    const { m, n, batch } = this.#plan.kernel;
    return this.map(tensorMap(matrix, m, n, batch, [SLICE, this.#rowsOf("a")]));
  }

  /** Bytes of a line of rows with all terms of a block. */
  get #boxBytes(): number {
    return LINE_BYTES * this.#plan.problem.depth;
  }

  printGather(printing: Printing, holds: string, to: string): void {
    const { kernel, inputs, problem } = this.#plan;
    if (isGiven(holds)) return printInputGather(printing, kernel, inputs, bufferOf(holds), to, this.#rowsOf("a"));
    const { matrix, side, k } = this.#of(holds);
    const tile = this.#rowsOf(side);
    const { m, n, groups } = kernel;
    if (termsAreNeighbors(matrix)) {
      const loop = loopOf(holds);
      const there = `k_block * TILE_K + thread % 8 * ${elementsOf(matrix)} < ${sizeText(k)}`;
      const all = groups === undefined ? "16" : `bytes_${loop}`;
      const bytes = isWhole(k, problem.depth) ? all : `${there} ? ${all} : 0`;
      return printGatherRows(printing, matrix, to, tile, `from_${loop}`, "k_block * 8", bytes);
    }
    const [first, axes, end] = side === "a" ? ["at.m", m, "m_end"] : ["at.n", n, "n_end"];
    const inside = isWhole(axes, tile) ? undefined : end;
    printing.lines.block("", () => printGatherTerms(printing, k, matrix, to, tile, first, inside));
  }

  printMultiply(lines: Lines, step: Step & { kind: "multiply" }): void {
    const of = (operand: Operand): Matrix => this.#of((operand as { holds?: string }).holds!).matrix;
    const [a, b] = [of(step.a), of(step.b)];
    const { elementBytes } = this.#plan.problem;
    // Terms of one product, and bytes from one to the next.
    const terms = PRODUCT_BYTES / elementBytes;
    const next = (matrix: Matrix): number => (termsAreNeighbors(matrix) ? PRODUCT_BYTES : terms * LINE_BYTES);
    // Bytes between groups of rows that are neighbors.
    const descriptor = (place: string, matrix: Matrix): string =>
      `wgmma_descriptor(${place}, ${termsAreNeighbors(matrix) ? 0 : this.#boxBytes}, 1024)`;
    const buffer = (step.b as { buffer: string }).buffer;
    const adds = step.clears === "always" ? "k > 0" : step.clears === "never" ? "1" : "k_block + k > 0";
    lines.block("", () => {
      lines.add(`const Descriptor a = ${descriptor(`shared.a[stage] + part * ${ROWS * LINE_BYTES}`, a)};`);
      lines.add(`const Descriptor b = ${descriptor(`shared.${buffer}[stage]`, b)};`);
      lines.add("#pragma unroll");
      const [first, second] = [`wgmma_behind(a, k * ${next(a)})`, `wgmma_behind(b, k * ${next(b)})`];
      lines.add(`for (int k = 0; k < TILE_K / ${terms}; k++)`);
      lines.add(`  ${wgmmaName(this.#wgmma(a, b))}(${step.into}, ${first}, ${second}, ${adds});`);
    });
  }

  /** Functions for the products that the kernel makes, each the lines of one. */
  wgmmas(): string[][] {
    const shapes = this.#plan.loops.flatMap(({ a, b }) => b.map(({ matrix }) => this.#wgmma(a, matrix)));
    return [...new Map(shapes.map((shape) => [wgmmaName(shape), shape])).values()].map(wgmmaFunction);
  }

  #wgmma(a: Matrix, b: Matrix): Wgmma {
    const type = a.arg.dtype === "f8e4m3" ? "e4m3" : "bf16";
    return { type, n: this.#plan.tile.tileN, aTurned: !termsAreNeighbors(a), bTurned: !termsAreNeighbors(b) };
  }
}

/** Bytes of the terms of one wgmma. */
const PRODUCT_BYTES = 32;

/** The number of a block of terms among all of them; below 0 where a group has none. */
export function blockOf({ kernel, loops, parts = 1 }: GemmPlan): string {
  if (kernel.groups !== undefined && hasTiles(loops)) return "block";
  return parts === 1 ? "k_block" : "(first_block + k_block)";
}

/** Whether a label is that of inputs of the epilogue: `b0_given[...]`. */
function isGiven(label: string): boolean {
  return label.includes("_given[");
}

function bufferOf(label: string): string {
  return label.slice(0, label.indexOf("_"));
}

/** The number of the loop that a label of the schedule belongs to: `a_0[...]`. */
function loopOf(label: string): string {
  return /_(\d+)\[/.exec(label)![1]!;
}
