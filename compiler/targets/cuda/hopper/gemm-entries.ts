/** Entry points of a matrix product: their heads, and those that run before: they sort, write copies out, or take numbers apart. */
import type { Grid, Scratch } from "../../../../runtime/program/grids.ts";
import type { PartsKernel } from "../../../kernel-ir/types.ts";
import { storageType } from "../language.ts";
import { SORTERS } from "../sort.ts";
import { groupScratch, printSort } from "./gemm-groups.ts";
import { PACKING_BOUNDS, packingGrid, packingScratch, printPacking } from "./gemm-packing.ts";
import { type GemmPlan, hasTiles } from "./gemm-plan.ts";
import type { Printing } from "./gemm-printing.ts";
import { printThirds, THIRDERS, thirdsName, thirdsOf, thirdsScratch, TOGETHER } from "./gemm-thirds.ts";

/** Columns of a line of parameters. */
const WIDTH = 124;
/** What runs before. */
const SORT = "tensor_sort";
const TAKE_APART = "tensor_thirds";
const PACK = "tensor_pack";

/** A product that is a part of a kernel: which one, from 1 on. Its entry points have the parameters of the whole kernel. */
export interface PartOf {
  readonly kernel: PartsKernel;
  readonly number: number;
}

/** The name of an entry point, or of the variable that has its items: those of parts have numbers. */
export function numbered(name: string, part: PartOf | undefined): string {
  return part === undefined ? name : `${name}_${part.number}`;
}

/** Arrays of sorted rows' (or terms') numbers, and of where groups begin among them: their names. */
export interface Sorted {
  readonly order: string;
  readonly starts: string;
}

export class Entries {
  readonly #plan: GemmPlan;
  readonly #printing: Printing;
  /** Arrays in the arena of the kernel's other entry points: they come first. */
  readonly #others: readonly Scratch[];
  readonly #sorted: Sorted;
  readonly #part: PartOf | undefined;

  constructor(plan: GemmPlan, printing: Printing, others: readonly Scratch[], sorted: Sorted, part?: PartOf) {
    this.#plan = plan;
    this.#printing = printing;
    this.#others = others;
    this.#sorted = sorted;
    this.#part = part;
  }

  /** What all entry points of the kernel have in the arena. */
  scratch(): Scratch[] {
    const { kernel } = this.#plan;
    const own =
      kernel.groups === undefined
        ? thirdsScratch(this.#plan)
        : [...groupScratch(kernel, hasTiles(this.#plan.loops)), ...packingScratch(this.#plan)];
    return [...this.#others, ...own];
  }

  /** The entry point that runs before: sorts rows or terms, or takes numbers of f32 apart. */
  before(file: string): Grid | undefined {
    const { groups } = this.#plan.kernel;
    if (groups !== undefined) {
      const workgroups = [{ of: [], plus: groups.group.extent as number }];
      const sort = { name: SORT, file, workgroupSize: SORTERS, workgroups };
      return this.#plan.packed === undefined ? sort : packingGrid(this.#plan, PACK, sort);
    }
    const [first] = thirdsOf(this.#plan);
    if (first === undefined) return undefined;
    return {
      name: TAKE_APART,
      file,
      workgroupSize: THIRDERS,
      workgroups: [{ of: first.shape, by: THIRDERS * TOGETHER }],
    };
  }

  /** The texts of those that run before. */
  printBefore(): void {
    const { kernel, packed } = this.#plan;
    if (kernel.groups !== undefined) this.#printSort();
    if (packed !== undefined) this.#printPacking();
    if (thirdsOf(this.#plan).length > 0) this.#printThirds();
  }

  #printSort(): void {
    const { kernel, loops } = this.#plan;
    const ofTiles = hasTiles(loops);
    const sorted = kernel.groups!.over === "m" ? "rows" : ofTiles ? "tiles of terms" : "terms";
    this.#printing.lines.add(`// Block g writes down the ${sorted} of group g in their order.`);
    this.print(SORT, `__launch_bounds__(${SORTERS})`, [], () =>
      printSort(kernel, this.#printing, this.#sorted.order, this.#sorted.starts, ofTiles),
    );
    this.#printing.lines.add("");
  }

  #printPacking(): void {
    this.#printing.lines.add("// Block i writes the terms of block i of all groups' in their sorted order.");
    this.print(PACK, PACKING_BOUNDS, [], () =>
      printPacking(this.#printing, this.#plan, this.#sorted.order, this.#sorted.starts),
    );
    this.#printing.lines.add("");
  }

  /** The entry point that takes numbers of f32 apart. */
  #printThirds(): void {
    this.#printing.lines.add("// Numbers of f32 as sums of three of bf16.");
    this.print(TAKE_APART, `__launch_bounds__(${THIRDERS})`, [], () => printThirds(this.#printing.lines, this.#plan));
    this.#printing.lines.add("");
  }

  /**
   * An entry point.
   * @param attributes what is said of it
   * @param maps names of its tensor maps
   */
  print(entry: string, attributes: string, maps: readonly string[], body: () => void): void {
    const parameters = this.#parameters(maps);
    const lines = this.#printing.lines;
    lines.add(`extern "C" __global__ void ${attributes}`);
    const { name } = this.#part?.kernel ?? this.#plan.kernel;
    const rows = [`${name}_${numbered(entry, this.#part)}(`];
    for (const [i, parameter] of parameters.entries()) {
      const text = `${parameter}${i + 1 < parameters.length ? ", " : ")"}`;
      if (rows.at(-1)!.length + text.length > WIDTH) rows.push(`    ${text}`);
      else rows[rows.length - 1] += text;
    }
    lines.add(...rows.slice(0, -1).map((row) => row.trimEnd()));
    lines.block(rows.at(-1)!, body);
  }

  #parameters(maps: readonly string[]): string[] {
    const { kernel, packed } = this.#plan;
    const { extents, args } = this.#part?.kernel ?? kernel;
    const items = this.#part?.kernel.parts.flatMap((_, i) => [`int items_${i + 1}`, `int items_before_${i + 1}`]);
    return [
      ...(items ?? ["int items", "int items_before"]),
      ...extents.map((extent) => `int ${extent}`),
      ...args.map(
        ({ name, dtype, access }) =>
          // Without __restrict__: what the epilogue reads would be read long before, and fill registers.
          `${access === "read" ? "const " : ""}${storageType(dtype)}* ${name}`,
      ),
      ...this.#others.map(({ dtype = "i32" }, i) => `${storageType(dtype)}* unused_${i}`),
      ...(kernel.groups === undefined ? [] : [`int* ${this.#sorted.order}`, `int* ${this.#sorted.starts}`]),
      ...[...thirdsOf(this.#plan).map(thirdsName), ...(packed ?? []).map(({ name }) => name)].map(
        (name) => `bf16* ${name}`,
      ),
      ...maps.map((name) => `const __grid_constant__ CUtensorMap ${name}`),
    ];
  }
}
