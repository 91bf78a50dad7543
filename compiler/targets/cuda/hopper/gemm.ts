/** Matrix products on the tensor cores of Hopper: a plan and its schedule as one file of CUDA C++. */
import { originLines } from "../../../kernel-ir/print.ts";
import type { Entry, Grid, Scratch } from "../../../../runtime/program/grids.ts";
import { Lines } from "../../../emit/lines.ts";
import type { Arg, Axis, Groups, Local } from "../../../kernel-ir/types.ts";
import type { Names } from "../../scalars.ts";
import { tileOfWord } from "../../reserved.ts";
import { CUDA_DIALECT } from "../dialect.ts";
import { storageType } from "../language.ts";
import { readable } from "../readable.ts";
import { requireSound } from "./check-schedule.ts";
import { Epilogue } from "./gemm-epilogue.ts";
import { printTerms } from "./gemm-gathers.ts";
import { groupRaster, groupScratch, printScattered, printSort, printStarts, SORTERS } from "./gemm-groups.ts";
import { Operands } from "./gemm-operands.ts";
import { PACKING_BOUNDS, packingGrid, packingScratch, printPacking } from "./gemm-packing.ts";
import { countOf, type GemmPlan, TOKENS } from "./gemm-plan.ts";
import { Printing, sizeText } from "./gemm-printing.ts";
import { gemmRuns, gemmSchedule, ROWS } from "./gemm-schedule.ts";
import { printClear, printPromote, printScales } from "./gemm-promote.ts";
import { fewRaster, printAdd, printReceived, printSend, printTermsOfPart } from "./gemm-split.ts";
import { printThirds, THIRDERS, thirdsName, thirdsOf, thirdsScratch, TOGETHER } from "./gemm-thirds.ts";
import { type Hooks, SchedulePrinter } from "./print-schedule.ts";
import { registersAtStart, type Role, type Schedule, SHARED_BYTES, sharedBytes, threadsOf } from "./schedule.ts";
import { extentsOf } from "./tensor-maps.ts";
import { FEW_ROWS } from "./tiles.ts";

/** Blocks of a device: as many as it has multiprocessors. */
const PROCESSORS = 132;
/** What the file is compiled for: only this has its instructions. */
export const ARCHITECTURE = "sm_90a";
/** Rows of tiles that follow each other column by column. */
const RASTER = 8;

export interface HopperFile {
  readonly text: string;
  /** Its entry point; `file` is its name without `.cu`. */
  readonly entry: Entry;
  /** What all entry points of the kernel have in the arena. */
  readonly scratch: readonly Scratch[];
  /** Files of entry points that run before it, by their names without `.cu`. */
  readonly more?: ReadonlyMap<string, string>;
}

/** @param others arrays in the arena that the kernel's other entry points have; they come first */
export function printHopperGemm(plan: GemmPlan, others: readonly Scratch[] = []): HopperFile {
  return new GemmPrinter(plan, others).print();
}

class GemmPrinter {
  readonly #plan: GemmPlan;
  readonly #others: readonly Scratch[];
  readonly #schedule: Schedule;
  readonly #names: Names;
  readonly #lines = new Lines();
  readonly #printing: Printing;
  readonly #operands: Operands;
  readonly #epilogue: Epilogue;
  readonly #order: string;
  readonly #starts: string;

  constructor(plan: GemmPlan, others: readonly Scratch[]) {
    this.#plan = plan;
    this.#others = others;
    const { kernel, shape } = plan;
    this.#schedule = gemmSchedule(shape);
    requireSound(this.#schedule, gemmRuns(shape));
    const products = kernel.products.map(({ name }): Local => ({ name, dtype: "f32", shape: [] }));
    const inputs = plan.inputs.map(({ name }): Local => ({ name, dtype: "f32", shape: [] }));
    this.#names = CUDA_DIALECT.names([...kernel.args, ...products, ...inputs]);
    this.#printing = new Printing(this.#lines, this.#names, CUDA_DIALECT.language(kernel));
    [this.#order, this.#starts] = [this.#names.local("order"), this.#names.local("starts")];
    this.#operands = new Operands(plan, this.#names, this.#order, others.length);
    this.#epilogue = new Epilogue(plan, this.#printing, this.#operands, this.#order);
  }

  get #tileM(): number {
    return this.#plan.tile.consumers * ROWS;
  }

  print(): HopperFile {
    const { kernel, loops, tile, problem, parts, packed } = this.#plan;
    const lines = this.#lines;
    lines.add(...this.#header().map((line) => `// ${line}`.trimEnd()));
    const { groups } = kernel;
    const gathers = loops.some(({ a }) => a.gathered !== undefined);
    lines.add('#include "dsk_sm90.cuh"', ...(gathers ? ['#include "dsk_mma.cuh"'] : []), "");
    const tileM = parts === undefined ? `TILE_M = ${this.#tileM}, ` : "";
    lines.add(`constexpr int ${tileM}TILE_N = ${tile.tileN}, TILE_K = ${problem.depth}, STAGES = ${tile.stages};`);
    if (groups !== undefined) lines.add(`constexpr int GROUPS = ${groups.group.extent};`);
    if (parts !== undefined)
      lines.add(`constexpr int PARTS = ${parts}${parts === 1 ? "" : `, SHARE = ${tile.tileN / 8 / parts}`};`);
    lines.add("");
    this.#shared();
    for (const func of this.#operands.wgmmas()) lines.add("", ...func);
    const raster =
      parts !== undefined
        ? fewRaster()
        : groups !== undefined
          ? groupRaster(groups, RASTER, packed !== undefined)
          : this.#raster();
    lines.add("", ...raster, "");
    if (groups !== undefined) this.#sort();
    if (packed !== undefined) this.#printPacking();
    if (this.#thirds.length > 0) this.#printThirds();
    this.#kernel();
    const file = `${kernel.name}${parts === undefined ? "" : "_few"}.${ARCHITECTURE}`;
    const grid = {
      file,
      workgroupSize: threadsOf(this.#schedule),
      workgroups: [
        { of: extentsOf(kernel.batch) },
        { of: extentsOf(kernel.m), by: this.#tileM, ...(groups?.over === "m" ? { plus: groupsOf(groups) + 1 } : {}) },
        { of: extentsOf(kernel.n), by: tile.tileN },
        ...(parts === undefined || parts === 1 ? [] : [{ of: [parts] }]),
      ],
      // Blocks of few rows have a tile each.
      ...(parts === undefined ? { most: PROCESSORS } : {}),
      ...(parts === undefined || parts === 1 ? {} : { cluster: parts }),
      sharedBytes: sharedBytes(this.#schedule),
      maps: [...this.#operands.maps.values()],
    };
    const before = this.#before(file);
    const entry: Entry = {
      name: parts === undefined ? ENTRY : FEW,
      only: ARCHITECTURE,
      ...(parts === undefined ? {} : { upTo: { product: extentsOf(kernel.m), most: FEW_ROWS } }),
      ...grid,
      ...(before === undefined ? {} : { before }),
    };
    const own =
      groups === undefined ? thirdsScratch(this.#plan) : [...groupScratch(kernel), ...packingScratch(this.#plan)];
    return { text: readable(lines.text()), entry, scratch: [...this.#others, ...own] };
  }

  get #thirds(): Arg[] {
    return thirdsOf(this.#plan);
  }

  /** The entry point that runs before: sorts rows or terms, or takes numbers of f32 apart. */
  #before(file: string): Grid | undefined {
    const { groups } = this.#plan.kernel;
    if (groups !== undefined) {
      const workgroups = [{ of: [], plus: groupsOf(groups) }];
      const sort = { name: SORT, file, workgroupSize: SORTERS, workgroups };
      return this.#plan.packed === undefined ? sort : packingGrid(this.#plan, PACK, sort);
    }
    const [first] = this.#thirds;
    if (first === undefined) return undefined;
    return {
      name: TAKE_APART,
      file,
      workgroupSize: THIRDERS,
      workgroups: [{ of: first.shape, by: THIRDERS * TOGETHER }],
    };
  }

  /** The entry point that writes sorted terms out. */
  #printPacking(): void {
    this.#lines.add("// Block i writes the terms of block i of all groups' in their sorted order.");
    this.#head(PACK, PACKING_BOUNDS, this.#parameters(false), () =>
      printPacking(this.#printing, this.#plan, this.#order, this.#starts),
    );
    this.#lines.add("");
  }

  /** The entry point that takes numbers of f32 apart. */
  #printThirds(): void {
    this.#lines.add("// Numbers of f32 as sums of three of bf16.");
    this.#head(TAKE_APART, `__launch_bounds__(${THIRDERS})`, this.#parameters(false), () =>
      printThirds(this.#lines, this.#plan),
    );
    this.#lines.add("");
  }

  #header(): string[] {
    const { kernel, tile, problem, loops, parts } = this.#plan;
    const { m, n, batches, elementBytes, resultBytes } = problem;
    const flops = loops.reduce(
      (sum, _, i) => sum + 2 * m * n * batches * problem.loops[i]!.k * problem.loops[i]!.products,
      0,
    );
    const bytes =
      batches *
      (problem.loops.reduce((sum, { k, products }) => sum + elementBytes * k * (m + products * n), 0) +
        m * n * resultBytes);
    // Limits of an H200: 790 TFLOPS in bf16 and 4.3 TB/s were measured; products in eight bits are taken to be twice as fast.
    const [byFlops, byBytes] = [flops / (elementBytes === 1 ? 1580e6 : 790e6), bytes / 4.3e6];
    const bound = byFlops > byBytes ? "tensor cores" : "memory";
    const shapes = kernel.args.map((arg) => `${arg.access} ${arg.name}: ${arg.dtype}[${arg.shape.join(", ")}]`);
    const axes = [...kernel.m, ...kernel.n, ...kernel.batch, ...loops.flatMap(({ k }) => k)];
    const symbolic = [...new Set(axes.map(({ extent }) => extent))].filter((extent) => typeof extent === "string");
    const [dims, tiles] = [true, false].map((isDim) => symbolic.filter((each) => (tileOfWord(each) === 1) === isDim));
    const sizes = [
      ...(dims!.length === 0 ? [] : [`${dims!.join(" = ")} = ${TOKENS}`]),
      ...tiles!.map((each) => `${each} = ${Math.ceil(TOKENS / tileOfWord(each))}`),
    ];
    const taken = parts === undefined ? sizes.join(", ") : `${FEW_ROWS} rows`;
    const at = symbolic.length === 0 ? "" : `With ${taken}: `;
    return [
      `${kernel.name}: gemm for the tensor cores of sm_90a`,
      ...originLines(kernel),
      ...shapes.map((shape) => `  ${shape}`),
      `${at}${(flops / 1e9).toFixed(1)} GFLOP, ${(bytes / 1e6).toFixed(1)} MB; an H200 needs ${Math.ceil(Math.max(byFlops, byBytes))} us, bound by ${bound}.`,
      `Tiles of ${this.#tileM}x${tile.tileN}x${problem.depth}, ${tile.stages} stages: ${tile.why}.`,
    ];
  }

  #shared(): void {
    const lines = this.#lines;
    const { buffers, barriers } = this.#schedule;
    lines.add("// Tiles lie at multiples of 1024 bytes: the pattern of 128-byte swizzle repeats there.");
    lines.block(
      "struct alignas(1024) Shared",
      () => {
        for (const { name, stages, bytes, each, holds, over } of buffers) {
          if (over !== undefined) continue;
          if (name === "starts") {
            const tiles =
              this.#plan.kernel.groups!.over === "m" || this.#plan.packed !== undefined ? ", tiles[GROUPS + 2]" : "";
            lines.add(`int starts[GROUPS + 2]${tiles};  // ${holds}`);
            continue;
          }
          const ring = name === "staged" ? (stages === 1 ? "" : `[${stages}]`) : "[STAGES]";
          const dims = `${each === undefined ? "" : `[${each}]`}${ring}`;
          lines.add(`unsigned char ${name}${dims}[${bytes}];  // ${holds}`);
        }
        for (const { name, event } of barriers) lines.add(`Barrier ${name}[STAGES];  // ${event}`);
      },
      "};",
    );
    lines.add(
      `static_assert(sizeof(Shared) <= ${SHARED_BYTES}, "a block has ${SHARED_BYTES} bytes of shared memory");`,
    );
  }

  /** The tile with a number: where it lies in the results. */
  #raster(): string[] {
    return [
      `// What runs at once shares A and B in the second-level cache: ${RASTER} rows of tiles follow each other column by column.`,
      "struct Place {",
      "  int m, n, batch;",
      "};",
      "DSK_INLINE Place place_of(int tile, int rows, int columns) {",
      "  const int batch = tile / (rows * columns), i = tile % (rows * columns);",
      `  const int first = i / (${RASTER} * columns) * ${RASTER}, height = min(${RASTER}, rows - first), j = i - first * columns;`,
      "  return {(first + j % height) * TILE_M, j / height * TILE_N, batch};",
      "}",
    ];
  }

  /** @param maps whether the entry point has tensor maps */
  #parameters(maps: boolean): string[] {
    const { kernel, packed } = this.#plan;
    return [
      "int items",
      "int items_before",
      ...kernel.extents.map((extent) => `int ${extent}`),
      ...kernel.args.map(
        ({ name, dtype, access }) =>
          // Without __restrict__: what the epilogue reads would be read long before, and fill registers.
          `${access === "read" ? "const " : ""}${storageType(dtype)}* ${name}`,
      ),
      ...this.#others.map(({ dtype = "i32" }, i) => `${storageType(dtype)}* unused_${i}`),
      ...(kernel.groups === undefined ? [] : [`int* ${this.#order}`, `int* ${this.#starts}`]),
      ...[...this.#thirds.map(thirdsName), ...(packed ?? []).map(({ name }) => name)].map((name) => `bf16* ${name}`),
      ...(maps ? [...this.#operands.maps.keys()].map((name) => `const __grid_constant__ CUtensorMap ${name}`) : []),
    ];
  }

  /** The entry point that sorts rows or terms by their groups. */
  #sort(): void {
    const { kernel } = this.#plan;
    this.#lines.add(
      `// Block g writes down the ${kernel.groups!.over === "m" ? "rows" : "terms"} of group g in their order.`,
    );
    this.#head(SORT, `__launch_bounds__(${SORTERS})`, this.#parameters(false), () =>
      printSort(kernel, this.#printing, this.#order, this.#starts),
    );
    this.#lines.add("");
  }

  /** @param attributes what is said of the entry point */
  #head(entry: string, attributes: string, parameters: readonly string[], body: () => void): void {
    const lines = this.#lines;
    lines.add(`extern "C" __global__ void ${attributes}`);
    const rows = [`${this.#plan.kernel.name}_${entry}(`];
    for (const [i, parameter] of parameters.entries()) {
      const text = `${parameter}${i + 1 < parameters.length ? ", " : ")"}`;
      if (rows.at(-1)!.length + text.length > WIDTH) rows.push(`    ${text}`);
      else rows[rows.length - 1] += text;
    }
    lines.add(...rows.slice(0, -1).map((row) => row.trimEnd()));
    lines.block(rows.at(-1)!, body);
  }

  #kernel(): void {
    const { parts = 1 } = this.#plan;
    const cluster = parts === 1 ? "" : `__cluster_dims__(${parts}, 1, 1) `;
    this.#head(
      this.#plan.parts === undefined ? ENTRY : FEW,
      `${cluster}__launch_bounds__(${threadsOf(this.#schedule)}, 1)`,
      this.#parameters(true),
      () => this.#body(),
    );
  }

  #body(): void {
    const lines = this.#lines;
    const { kernel, loops, problem, parts, packed } = this.#plan;
    lines.add("Shared& shared = *reinterpret_cast<Shared*>(shared_memory());");
    lines.add("// The same in all threads of a warp, as the compiler sees by the shuffle.");
    lines.add("const int warpgroup = __shfl_sync(0xffffffffu, (int)threadIdx.x / 128, 0);");
    lines.add("const int thread = threadIdx.x % 128, warp = thread / 32, lane = thread % 32;");
    const rows = kernel.groups?.over !== "m";
    lines.add(`const int ${rows ? `m_end = ${sizeText(kernel.m)}, ` : ""}n_end = ${sizeText(kernel.n)};`);
    const tileRows = rows && parts === undefined ? "tile_rows = (m_end + TILE_M - 1) / TILE_M, " : "";
    lines.add(`const int ${tileRows}tile_columns = (n_end + TILE_N - 1) / TILE_N;`);
    if (parts !== undefined) {
      lines.add("const Place at = place_of(blockIdx.x, tile_columns);");
      printTermsOfPart(lines, this.#plan, countOf(0), Math.ceil(problem.loops[0]!.k / problem.depth));
    } else if (kernel.groups?.over !== "k")
      for (const [i, { k }] of loops.entries()) lines.add(`const int ${countOf(i)} = ${blocksText(k, problem.depth)};`);
    if (kernel.groups !== undefined)
      printStarts(
        lines,
        this.#starts,
        packed !== undefined ? "TILE_K" : kernel.groups.over === "m" ? "TILE_M" : undefined,
      );
    lines.block("if (threadIdx.x == 0)", () => {
      for (const name of this.#operands.maps.keys()) lines.add(`tma_prefetch(&${name});`);
      lines.block("for (int i = 0; i < STAGES; i++)", () => {
        for (const { name, arrivals } of this.#schedule.barriers)
          lines.add(`mbarrier_init(&shared.${name}[i], ${arrivals});`);
      });
      lines.add("mbarrier_init_fence();");
    });
    lines.add("__syncthreads();");
    if (kernel.groups?.over === "m") lines.add("const int tiles = shared.tiles[GROUPS + 1] * tile_columns;");
    const [producer, consumer] = this.#schedule.roles as [Role, Role];
    const steps = (role: Role): void => new SchedulePrinter(this.#schedule, role, lines, this.#hooks(role)).print();
    lines.block("if (warpgroup == 0)", () => {
      lines.add("// The producer fills the ring.", ...this.#registers("decrease", producer));
      if (producer.threads === "all") return steps(producer);
      const [meetings, alone] = [true, false].map((all) =>
        producer.steps.filter(({ kind }) => (kind === "meet") === all),
      );
      lines.block("if (thread == 0)", () => steps({ ...producer, steps: alone! }));
      if (meetings!.length === 0) return;
      lines.add("__syncwarp();  // all threads meet those of the other blocks");
      steps({ ...producer, steps: meetings! });
    });
    lines.block("else", () => {
      lines.add("// Consumers multiply what is there: each its own rows of A with all columns of B.");
      lines.add(...this.#registers("increase", consumer));
      lines.add("const int part = warpgroup - 1;");
      const { rows, columns } = this.#epilogue.places;
      const { columnScales } = this.#plan.shape;
      const own = [
        ...(rows || columnScales !== undefined ? ["row = warp * 16 + lane / 4"] : []),
        ...(columns ? ["column = lane % 4 * 2"] : []),
      ];
      if (own.length > 0)
        lines.add(
          "// Of a thread's first sum. Sum i lies i / 2 % 2 * 8 rows and i / 4 * 8 + i % 2 columns behind it.",
          `const int ${own.join(", ")};`,
        );
      if (parts !== undefined && parts > 1) printReceived(lines, this.#plan);
      for (const { name, count } of this.#schedule.registers)
        if (!name.startsWith("results")) lines.add(`float ${name}[${count}];`);
      if (parts !== undefined) this.#rowsOfThread();
      steps(consumer);
    });
  }

  /** Registers go from the producer to the consumers where a block starts with fewer than these need. */
  #registers(way: "decrease" | "increase", { registers }: Role): string[] {
    const start = registersAtStart(threadsOf(this.#schedule));
    return start >= Math.max(...this.#schedule.roles.map((role) => role.registers))
      ? []
      : [`registers_${way}<${registers}>();`];
  }

  #hooks(role: Role): Hooks {
    const [lines, operands] = [this.#lines, this.#operands];
    return {
      head: ({ counter }) =>
        counter === "tile" ? `for (int tile = blockIdx.x; tile < ${this.#tiles}; tile += gridDim.x)` : undefined,
      enter: ({ counter }) => {
        if (counter === "tile") this.#enterTile(role);
        const { kernel, packed } = this.#plan;
        const terms = kernel.groups?.over === "k" && packed === undefined && role.name === "producer";
        if (terms && counter === "k_block") printTerms(this.#printing, this.#order);
      },
      before: (loop) => {
        if (role.name === "producer" && loop.counter !== "tile") operands.printOffsets(this.#printing, loop);
      },
      load: (step, to, barrier) => operands.printLoad(lines, step.holds, to, barrier),
      gather: (step, to) => operands.printGather(this.#printing, step.holds, to),
      multiply: (step) => operands.printMultiply(lines, step),
      compute: ({ name }) => {
        const printer = COMPUTATIONS[name.split(" ")[0]!];
        if (printer === undefined) this.#epilogue.compute(name);
        else printer(this.#plan, this.#printing, name);
      },
      store: (step, from) => this.#epilogue.store(step, from),
    };
  }

  /** Tiles are the items of the entry point; groups say how many they have. */
  get #tiles(): string {
    return this.#plan.kernel.groups?.over === "m" ? "tiles" : "items";
  }

  /** What the roles know of a tile. */
  #enterTile(role: Role): void {
    const lines = this.#lines;
    const { packed } = this.#plan;
    const { groups } = this.#plan.kernel;
    const args =
      groups === undefined
        ? "tile_rows, tile_columns"
        : groups.over === "k"
          ? `tile_rows, tile_columns, shared.${packed === undefined ? "starts" : "tiles"}`
          : "tile_columns, shared.starts, shared.tiles";
    lines.add(`const Place at = place_of(tile, ${args});`);
    if (packed !== undefined) lines.add(`const int ${countOf(0)} = at.end - at.first;`);
    else if (groups?.over === "k")
      lines.add(`const int ${countOf(0)} = max(1, (at.end - at.first + TILE_K - 1) / TILE_K);`);
    if (role.name !== "consumer") return;
    if (this.#epilogue.scatters) printScattered(this.#printing, this.#order);
    this.#rowsOfThread();
  }

  /** The rows that a thread reads for, where it does. */
  #rowsOfThread(): void {
    const lines = this.#lines;
    const { groups } = this.#plan.kernel;
    if (!this.#epilogue.readsRows && this.#plan.shape.columnScales === undefined) return;
    lines.add("// Rows beyond the end are not stored; what is read for them is that of the last one.");
    const row = (more: string): string => {
      const at = `at.m + part * ${ROWS} + row${more}`;
      return groups?.over === "m" ? `${this.#order}[min(${at}, at.end - 1)]` : `min(${at}, m_end - 1)`;
    };
    lines.add(`const int m_low = ${row("")}, m_high = ${row(" + 8")};`);
  }
}

/** Steps of products in eight bits, and of sums that blocks send each other, by the first word of their names. */
const COMPUTATIONS: Readonly<Record<string, (plan: GemmPlan, printing: Printing, name: string) => void>> = {
  clear: printClear,
  scales: printScales,
  promote: printPromote,
  send: printSend,
  add: printAdd,
};

function groupsOf({ group }: Groups): number {
  return group.extent as number;
}

/** Columns of a line of parameters. */
const WIDTH = 124;
/** The entry point's name. */
const ENTRY = "tensor";
/** That of what runs before it. */
const SORT = "tensor_sort";
const TAKE_APART = "tensor_thirds";
const PACK = "tensor_pack";
/** That for few rows. */
const FEW = "tensor_few";

function blocksText(k: readonly Axis[], depth: number): string {
  const size = k.reduce<number>((n, { extent }) => (typeof extent === "number" ? n * extent : NaN), 1);
  if (!Number.isNaN(size)) return String(Math.ceil(size / depth));
  return `max(1, (${sizeText(k)} + TILE_K - 1) / TILE_K)`;
}
