/** Matrix products on the tensor cores of Hopper: a plan and its schedule as one file of CUDA C++. */
import type { Entry, Scratch, TensorMap } from "../../../../runtime/program/grids.ts";
import { Lines } from "../../../emit/lines.ts";
import { walk } from "../../../kernel-ir/expr.ts";
import type { Axis, Expr, Groups, Local, Stmt } from "../../../kernel-ir/types.ts";
import { type Language, type Names, Scalars } from "../../scalars.ts";
import { CUDA_DIALECT } from "../dialect.ts";
import { storageType, stored } from "../language.ts";
import { requireSound } from "./check-schedule.ts";
import { countOf, type GemmPlan, type StagedResult, TILE_K, TOKENS } from "./gemm-plan.ts";
import {
  groupRaster,
  groupScratch,
  printGatherRows,
  printGatherTerms,
  type Printing,
  printRowOffsets,
  printScatter,
  printSort,
  SORTERS,
} from "./gemm-groups.ts";
import { gemmRuns, gemmSchedule, ROWS } from "./gemm-schedule.ts";
import { type Hooks, SchedulePrinter } from "./print-schedule.ts";
import {
  type Operand,
  registersAtStart,
  type Role,
  type Schedule,
  SHARED_BYTES,
  type Step,
  sharedBytes,
  threadsOf,
} from "./schedule.ts";
import { extentsOf, LINE, type Matrix, tensorMap, termsAreNeighbors } from "./tensor-maps.ts";
import { ADDERS, printAdder, printPartials, splitRaster, splitScratch } from "./gemm-split.ts";
import { FEW_ROWS } from "./tiles.ts";
import { type Wgmma, wgmmaFunction, wgmmaName } from "./wgmma.ts";

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
}

/** @param others arrays in the arena that the kernel's other entry points have; they come first */
export function printHopperGemm(plan: GemmPlan, others: readonly Scratch[] = []): HopperFile {
  return new GemmPrinter(plan, others).print();
}

/** Where an operand comes from: the name of its tensor map, or none where threads gather it. */
interface Load {
  readonly map: string;
  readonly matrix: Matrix;
  readonly side: "a" | "b";
  readonly k: readonly Axis[];
}

class GemmPrinter {
  readonly #plan: GemmPlan;
  readonly #others: readonly Scratch[];
  readonly #schedule: Schedule;
  readonly #names: Names;
  readonly #language: Language;
  /** Tensor maps by the names of their parameters. */
  readonly #maps = new Map<string, TensorMap>();
  readonly #loads = new Map<string, Load>();
  readonly #order: string;
  readonly #starts: string;
  #fresh = 0;

  constructor(plan: GemmPlan, others: readonly Scratch[]) {
    this.#plan = plan;
    this.#others = others;
    const { kernel, shape } = plan;
    this.#schedule = gemmSchedule(shape);
    requireSound(this.#schedule, gemmRuns(shape));
    const products = kernel.products.map(({ name }): Local => ({ name, dtype: "f32", shape: [] }));
    this.#names = CUDA_DIALECT.names([...kernel.args, ...products]);
    this.#language = CUDA_DIALECT.language(kernel);
    [this.#order, this.#starts] = [this.#names.local("order"), this.#names.local("starts")];
    for (const [i, loop] of plan.loops.entries()) {
      this.#load(`a_${i}`, "a", loop.a, loop.k);
      for (const [j, { matrix }] of loop.b.entries()) this.#load(`b${j}_${i}`, "b", matrix, loop.k);
    }
  }

  /** The tensor map of an operand. */
  #load(label: string, side: "a" | "b", matrix: Matrix, k: readonly Axis[]): void {
    const { m, n, groups } = this.#plan.kernel;
    if (matrix.gathered !== undefined) {
      this.#loads.set(label, { map: "", matrix, side, k });
      return;
    }
    const batch = groups === undefined ? this.#plan.kernel.batch : [groups.group];
    const rows = side === "a" ? this.#tileM : this.#plan.tile.tileN;
    // Neighbors fill a line of 128 bytes; of neighboring rows there are several lines for each term.
    const box = termsAreNeighbors(matrix) ? ([LINE, rows] as const) : ([LINE, TILE_K] as const);
    const map = tensorMap(matrix, side === "a" ? m : n, k, batch, box);
    this.#loads.set(label, { map: this.#map(map), matrix, side, k });
  }

  #map(map: TensorMap): string {
    const same = [...this.#maps].find(([, other]) => JSON.stringify(other) === JSON.stringify(map));
    if (same !== undefined) return same[0];
    let name = this.#names.local(`${map.arg}_map`);
    for (let i = 2; this.#maps.has(name); i++) name = `${map.arg}_map_${i}`;
    this.#maps.set(name, map);
    return name;
  }

  get #tileM(): number {
    return this.#plan.tile.consumers * ROWS;
  }

  print(): HopperFile {
    const { kernel, tile, staged, split } = this.#plan;
    for (const result of staged) if (result.matrix.gathered === undefined) this.#store(result);
    const lines = new Lines();
    lines.add(...this.#header().map((line) => `// ${line}`.trimEnd()));
    const { groups } = kernel;
    lines.add('#include "dsk_sm90.cuh"', ...(groups === undefined ? [] : ['#include "dsk_mma.cuh"']), "");
    lines.add(
      `constexpr int TILE_M = ${this.#tileM}, TILE_N = ${tile.tileN}, TILE_K = ${TILE_K}, STAGES = ${tile.stages};`,
    );
    if (groups !== undefined) lines.add(`constexpr int GROUPS = ${groups.group.extent};`);
    if (split !== undefined) lines.add(`constexpr int PARTS = ${split.parts}, K_BLOCKS = ${split.blocks};`);
    lines.add("");
    this.#shared(lines);
    for (const shape of this.#wgmmas()) lines.add("", ...wgmmaFunction(shape));
    const raster =
      split !== undefined ? splitRaster() : groups !== undefined ? groupRaster(groups, RASTER) : this.#raster();
    lines.add("", ...raster, "");
    if (groups !== undefined) this.#sort(lines);
    this.#kernel(lines);
    const file = `${kernel.name}${split === undefined ? "" : "_few"}.${ARCHITECTURE}`;
    const grid = {
      file,
      workgroupSize: threadsOf(this.#schedule),
      workgroups: [
        { of: extentsOf(kernel.batch) },
        { of: extentsOf(kernel.m), by: this.#tileM, ...(groups?.over === "m" ? { plus: groupsOf(groups) + 1 } : {}) },
        { of: extentsOf(kernel.n), by: tile.tileN },
        ...(split === undefined ? [] : [{ of: [split.parts] }]),
      ],
      most: PROCESSORS,
      sharedBytes: sharedBytes(this.#schedule),
      maps: [...this.#maps.values()],
    };
    const sort = groups === undefined ? [] : [{ of: [], plus: groupsOf(groups) }];
    const entry: Entry =
      split === undefined
        ? {
            name: ENTRY,
            only: ARCHITECTURE,
            ...grid,
            ...(groups === undefined ? {} : { before: { name: SORT, file, workgroupSize: SORTERS, workgroups: sort } }),
          }
        : {
            name: ADD,
            only: ARCHITECTURE,
            file,
            workgroupSize: ADDERS,
            workgroups: [
              { of: extentsOf(kernel.batch) },
              { of: extentsOf(kernel.m) },
              { of: extentsOf(kernel.n), by: ADDERS },
            ],
            upTo: { product: extentsOf(kernel.m), most: FEW_ROWS },
            before: { name: SPLIT, ...grid },
          };
    if (split !== undefined) this.#add(lines);
    const own = split !== undefined ? [splitScratch(this.#plan)] : groups !== undefined ? groupScratch(kernel) : [];
    return { text: lines.text(), entry, scratch: [...this.#others, ...own] };
  }

  /** The entry point that adds up partial sums. */
  #add(lines: Lines): void {
    lines.add("", "// Adds up the parts of a sum in their order: a thread for each result.");
    this.#head(lines, ADD, `${ADDERS}`, this.#parameters(false), () =>
      printAdder(lines, this.#plan, () => {
        for (const stmt of this.#plan.direct)
          lines.block("", () => {
            const exprs = [stmt.value, ...stmt.at];
            for (const [axes, at] of [
              [this.#plan.kernel.batch, "batch"],
              [this.#plan.kernel.m, "m"],
              [this.#plan.kernel.n, "n"],
            ] as const)
              this.#printing(lines).unpack(axes, at, exprs);
            this.#assign(lines, stmt, this.#plain(lines, exprs));
          });
      }),
    );
  }

  #assign(lines: Lines, { to, at, value }: Stmt & { kind: "assign" }, scalars: Scalars): void {
    const text = scalars.print(value);
    const offset = this.#names.offset(to, at, (x) => scalars.print(x));
    lines.add(`${to}[${offset}] = ${stored(this.#names.store(to).dtype, text)};`);
  }

  #header(): string[] {
    const { kernel, tile, problem, loops, split } = this.#plan;
    const { m, n, batches, resultBytes } = problem;
    const flops = loops.reduce(
      (sum, _, i) => sum + 2 * m * n * batches * problem.loops[i]!.k * problem.loops[i]!.products,
      0,
    );
    const bytes =
      batches *
      (problem.loops.reduce((sum, { k, products }) => sum + 2 * k * (m + products * n), 0) + m * n * resultBytes);
    // Measured limits of an H200: 790 TFLOPS in bf16, 4.3 TB/s.
    const [byFlops, byBytes] = [flops / 790e6, bytes / 4.3e6];
    const bound = byFlops > byBytes ? "tensor cores" : "memory";
    const shapes = kernel.args.map((arg) => `${arg.access} ${arg.name}: ${arg.dtype}[${arg.shape.join(", ")}]`);
    const axes = [...kernel.m, ...kernel.n, ...kernel.batch, ...loops.flatMap(({ k }) => k)];
    const symbolic = [...new Set(axes.map(({ extent }) => extent))].filter((extent) => typeof extent === "string");
    const taken = split === undefined ? `${symbolic.join(" = ")} = ${TOKENS}` : `${FEW_ROWS} rows`;
    const at = symbolic.length === 0 ? "" : `With ${taken}: `;
    return [
      `${kernel.name}: gemm for the tensor cores of sm_90a`,
      ...kernel.from,
      ...shapes.map((shape) => `  ${shape}`),
      `${at}${(flops / 1e9).toFixed(1)} GFLOP, ${(bytes / 1e6).toFixed(1)} MB; an H200 needs ${Math.ceil(Math.max(byFlops, byBytes))} us, bound by ${bound}.`,
      `Tiles of ${this.#tileM}x${tile.tileN}x${TILE_K}, ${tile.stages} stages: ${tile.why}.`,
    ];
  }

  #shared(lines: Lines): void {
    const { buffers, barriers } = this.#schedule;
    lines.add("// Tiles lie at multiples of 1024 bytes: the pattern of 128-byte swizzle repeats there.");
    lines.block(
      "struct alignas(1024) Shared",
      () => {
        for (const { name, stages, bytes, each, holds } of buffers) {
          if (name === "starts") {
            lines.add(`int starts[GROUPS + 2];  // ${holds}`);
            continue;
          }
          const dims = `${each === undefined ? "" : `[${each}]`}[${name === "staged" ? stages : "STAGES"}]`;
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

  #wgmmas(): Wgmma[] {
    const shapes = this.#plan.loops.flatMap(({ a, b }) => b.map(({ matrix }) => this.#wgmma(a, matrix)));
    return [...new Map(shapes.map((shape) => [wgmmaName(shape), shape])).values()];
  }

  #wgmma(a: Matrix, b: Matrix): Wgmma {
    return { n: this.#plan.tile.tileN, aTurned: !termsAreNeighbors(a), bTurned: !termsAreNeighbors(b) };
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

  #store({ matrix, columns }: StagedResult): { map: string; columns: number; batched: boolean } {
    const { m, n, batch } = this.#plan.kernel;
    const map = this.#map(tensorMap(matrix, m, n, batch, [columns, ROWS]));
    return { map, columns, batched: matrix.batch !== 0 };
  }

  /** @param maps whether the entry point has tensor maps */
  #parameters(maps: boolean): string[] {
    const { kernel } = this.#plan;
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
      ...(this.#plan.split === undefined ? [] : ["float* partials"]),
      ...(kernel.groups === undefined ? [] : [`int* ${this.#order}`, `int* ${this.#starts}`]),
      ...(maps ? [...this.#maps.keys()].map((name) => `const __grid_constant__ CUtensorMap ${name}`) : []),
    ];
  }

  /** The entry point that sorts rows or terms by their groups. */
  #sort(lines: Lines): void {
    const { kernel } = this.#plan;
    lines.add(
      `// Block g writes down the ${kernel.groups!.over === "m" ? "rows" : "terms"} of group g in their order.`,
    );
    this.#head(lines, SORT, `${SORTERS}`, this.#parameters(false), () =>
      printSort(kernel, this.#printing(lines), this.#order, this.#starts),
    );
    lines.add("");
  }

  #head(lines: Lines, entry: string, bounds: string, parameters: readonly string[], body: () => void): void {
    lines.add(`extern "C" __global__ void __launch_bounds__(${bounds})`);
    const rows = [`${this.#plan.kernel.name}_${entry}(`];
    for (const [i, parameter] of parameters.entries()) {
      const text = `${parameter}${i + 1 < parameters.length ? ", " : ")"}`;
      if (rows.at(-1)!.length + text.length > WIDTH) rows.push(`    ${text}`);
      else rows[rows.length - 1] += text;
    }
    lines.add(...rows.slice(0, -1).map((row) => row.trimEnd()));
    lines.block(rows.at(-1)!, body);
  }

  #printing(lines: Lines): Printing {
    return {
      lines,
      names: this.#names,
      unpack: (axes, item, exprs) => {
        const used = new Set<string>();
        for (const expr of exprs) walk(expr, (part) => part.kind === "axis" && used.add(part.axis));
        this.#unpack(lines, axes, item, used);
      },
      scalars: (exprs) => this.#plain(lines, exprs),
    };
  }

  #kernel(lines: Lines): void {
    this.#head(
      lines,
      this.#plan.split === undefined ? ENTRY : SPLIT,
      `${threadsOf(this.#schedule)}, 1`,
      this.#parameters(true),
      () => this.#body(lines),
    );
  }

  #body(lines: Lines): void {
    const { kernel, loops } = this.#plan;
    lines.add("Shared& shared = *reinterpret_cast<Shared*>(shared_memory());");
    lines.add("// The same in all threads of a warp, as the compiler sees by the shuffle.");
    lines.add("const int warpgroup = __shfl_sync(0xffffffffu, (int)threadIdx.x / 128, 0);");
    lines.add("const int thread = threadIdx.x % 128, warp = thread / 32, lane = thread % 32;");
    lines.add(`const int m_end = ${sizeText(kernel.m)}, n_end = ${sizeText(kernel.n)};`);
    const more = kernel.groups?.over === "m" ? " + GROUPS + 1" : "";
    lines.add(
      `const int tile_rows = (m_end + TILE_M - 1) / TILE_M${more}, tile_columns = (n_end + TILE_N - 1) / TILE_N;`,
    );
    if (kernel.groups?.over !== "k" && this.#plan.split === undefined)
      for (const [i, { k }] of loops.entries()) lines.add(`const int ${countOf(i)} = ${blocksText(k)};`);
    if (kernel.groups !== undefined)
      lines.add(`for (int i = threadIdx.x; i < GROUPS + 2; i += blockDim.x) shared.starts[i] = ${this.#starts}[i];`);
    lines.block("if (threadIdx.x == 0)", () => {
      for (const name of this.#maps.keys()) lines.add(`tma_prefetch(&${name});`);
      lines.block("for (int i = 0; i < STAGES; i++)", () => {
        for (const { name, arrivals } of this.#schedule.barriers)
          lines.add(`mbarrier_init(&shared.${name}[i], ${arrivals});`);
      });
      lines.add("mbarrier_init_fence();");
    });
    lines.add("__syncthreads();");
    const [producer, consumer] = this.#schedule.roles as [Role, Role];
    const steps = (role: Role): void =>
      new SchedulePrinter(this.#schedule, role, lines, this.#hooks(lines, role)).print();
    lines.block("if (warpgroup == 0)", () => {
      lines.add("// The producer fills the ring.", ...this.#registers("decrease", producer));
      if (producer.threads === "one") lines.block("if (thread == 0)", () => steps(producer));
      else steps(producer);
    });
    lines.block("else", () => {
      lines.add("// Consumers multiply what is there: each its own rows of A with all columns of B.");
      lines.add(...this.#registers("increase", consumer));
      lines.add("const int part = warpgroup - 1;");
      const { rows, columns } = this.#places;
      const own = [...(rows ? ["row = warp * 16 + lane / 4"] : []), ...(columns ? ["column = lane % 4 * 2"] : [])];
      if (own.length > 0)
        lines.add(
          "// Of a thread's first sum. Sum i lies i / 2 % 2 * 8 rows and i / 4 * 8 + i % 2 columns behind it.",
          `const int ${own.join(", ")};`,
        );
      for (const { name, count } of this.#schedule.registers) lines.add(`float ${name}[${count}];`);
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

  #hooks(lines: Lines, role: Role): Hooks {
    return {
      head: ({ counter }) =>
        counter === "tile" ? `for (int tile = blockIdx.x; tile < ${this.#tiles}; tile += gridDim.x)` : undefined,
      enter: ({ counter }) => {
        if (counter === "tile") this.#enterTile(lines, role);
      },
      before: (loop) => {
        const { groups, m } = this.#plan.kernel;
        if (groups?.over !== "m" || loop.counter !== "k_block" || role.name !== "producer") return;
        const label = loop.body.flatMap((step) => (step.kind === "gather" ? [step.holds] : []))[0]!;
        const { matrix } = this.#loads.get(label.slice(0, label.indexOf("[")))!;
        printRowOffsets(this.#printing(lines), m, matrix, this.#tileM, TILE_K, this.#order, loopOf(label));
      },
      load: (step, to, barrier) => this.#printLoad(lines, step.holds, to, barrier),
      gather: (step, to) => this.#printGather(lines, step.holds, to),
      multiply: (step) => this.#printMultiply(lines, step),
      compute: ({ name }) => {
        const staged = this.#plan.staged.find(({ stmt }) => name.endsWith(` ${stmt.to}`));
        if (this.#plan.split !== undefined) printPartials(lines, this.#plan);
        else if (staged === undefined) this.#printFinish(lines);
        else if (name.startsWith("scatter"))
          printScatter(this.#printing(lines), this.#plan.kernel.m, staged.matrix, staged.columns, this.#order);
        else this.#printStage(lines, staged);
      },
      store: (step, from) => {
        const staged = this.#plan.staged.find(({ stmt }) => step.holds.startsWith(`${stmt.to}[`))!;
        const { map, columns, batched } = this.#store(staged);
        const place = [`at.n + slice * ${columns}`, `at.m + part * ${ROWS}`, ...(batched ? ["at.batch"] : [])];
        lines.add(`tma_store_${batched ? "3d" : "2d"}(&${map}, ${from}, ${place.join(", ")});`);
      },
    };
  }

  /** Tiles are the items of the entry point, which may run before another one. */
  get #tiles(): string {
    return this.#plan.split === undefined ? "items" : "items_before";
  }

  /** What the roles know of a tile. */
  #enterTile(lines: Lines, role: Role): void {
    const { groups } = this.#plan.kernel;
    const starts = groups === undefined ? "" : ", shared.starts";
    lines.add(`const Place at = place_of(tile, tile_rows, tile_columns${starts});`);
    if (this.#plan.split !== undefined) {
      const all = Math.ceil(this.#plan.problem.loops[0]!.k / TILE_K);
      lines.add(`const int ${countOf(0)} = min(K_BLOCKS, ${all} - at.part * K_BLOCKS);`);
    }
    if (groups?.over === "m") lines.add("if (at.m >= at.end) continue;  // its group has no more rows");
    if (groups?.over === "k") lines.add(`const int ${countOf(0)} = max(1, (at.end - at.first + TILE_K - 1) / TILE_K);`);
    if (role.name !== "consumer" || !this.#plan.staged.some(({ stmt }) => this.#reads(stmt.value).m)) return;
    lines.add("// Rows beyond the end are not stored; what is read for them is that of the last one.");
    const row = (more: string): string => {
      const at = `at.m + part * ${ROWS} + row${more}`;
      return groups?.over === "m" ? `${this.#order}[min(${at}, at.end - 1)]` : `min(${at}, m_end - 1)`;
    };
    lines.add(`const int m_low = ${row("")}, m_high = ${row(" + 8")};`);
  }

  #printGather(lines: Lines, holds: string, to: string): void {
    const { matrix, side, k } = this.#loads.get(holds.slice(0, holds.indexOf("[")))!;
    const tile = side === "a" ? this.#tileM : this.#plan.tile.tileN;
    const printing = this.#printing(lines);
    if (termsAreNeighbors(matrix))
      return printGatherRows(printing, matrix, to, tile, TILE_K, sizeText(k), loopOf(holds));
    const [first, end] = side === "a" ? ["at.m", "m_end"] : ["at.n", "n_end"];
    lines.block("", () => printGatherTerms(printing, k, matrix, to, tile, TILE_K, this.#order, first, end));
  }

  #printLoad(lines: Lines, holds: string, to: string, barrier: string): void {
    const { map, matrix, side } = this.#loads.get(holds.slice(0, holds.indexOf("[")))!;
    const first = side === "a" ? "at.m" : "at.n";
    const tile = side === "a" ? this.#tileM : this.#plan.tile.tileN;
    const k = this.#plan.split === undefined ? "k_block * TILE_K" : "(at.part * K_BLOCKS + k_block) * TILE_K";
    const [d, batch] = matrix.batch === 0 ? ["2d", ""] : ["3d", ", at.batch"];
    if (termsAreNeighbors(matrix))
      return lines.add(`tma_load_${d}(${to}, &${map}, ${barrier}, ${k}, ${first}${batch});`);
    const box = LINE * 2 * TILE_K;
    for (let i = 0; i < tile / LINE; i++) {
      const [place, x] = i === 0 ? [to, first] : [`${to} + ${i * box}`, `${first} + ${i * LINE}`];
      lines.add(`tma_load_${d}(${place}, &${map}, ${barrier}, ${x}, ${k}${batch});`);
    }
  }

  #printMultiply(lines: Lines, step: Step & { kind: "multiply" }): void {
    const of = (operand: Operand): Matrix => {
      const { holds = "" } = operand as Operand & { holds?: string };
      return this.#loads.get(holds.slice(0, holds.indexOf("[")))!.matrix;
    };
    const [a, b] = [of(step.a), of(step.b)];
    // Bytes between groups of 64 rows, and from one product of 16 terms to the next.
    const descriptor = (place: string, matrix: Matrix): string =>
      `wgmma_descriptor(${place}, ${termsAreNeighbors(matrix) ? 0 : LINE * 2 * TILE_K}, 1024)`;
    const next = (matrix: Matrix): number => (termsAreNeighbors(matrix) ? 32 : 16 * LINE * 2);
    const buffer = (step.b as { buffer: string }).buffer;
    lines.block("", () => {
      lines.add(`const Descriptor a = ${descriptor(`shared.a[stage] + part * ${ROWS * 2 * TILE_K}`, a)};`);
      lines.add(`const Descriptor b = ${descriptor(`shared.${buffer}[stage]`, b)};`);
      lines.add("#pragma unroll");
      const [first, second] = [`wgmma_behind(a, k * ${next(a)})`, `wgmma_behind(b, k * ${next(b)})`];
      lines.add(`for (int k = 0; k < TILE_K / 16; k++)`);
      lines.add(`  ${wgmmaName(this.#wgmma(a, b))}(${step.into}, ${first}, ${second}, k_block + k > 0);`);
    });
  }

  /** Expressions at row `m` and column `n`, with sum number `i` of each product. */
  #scalars(lines: Lines, exprs: readonly Expr[]): Scalars {
    const { kernel } = this.#plan;
    const used = new Set<string>();
    const products = new Set<string>();
    for (const expr of exprs)
      walk(expr, (part) => {
        if (part.kind === "axis") used.add(part.axis);
        if (part.kind === "load") products.add(part.from);
      });
    for (const [axes, at] of [
      [kernel.batch, "at.batch"],
      [kernel.m, "m"],
      [kernel.n, "n"],
    ] as const)
      this.#unpack(lines, axes, at, used);
    for (const [i, { name }] of kernel.products.entries())
      if (products.has(name)) lines.add(`const float ${name} = sums${this.#sums(i)}[i];`);
    return this.#plain(lines, exprs);
  }

  #plain(lines: Lines, exprs: readonly Expr[]): Scalars {
    const scalars = new Scalars(this.#language, this.#names, lines, () => `v${this.#fresh++}`);
    scalars.prepare(...exprs);
    return scalars;
  }

  /** Where the sums of a product are: in the order of loops. */
  #sums(product: number): number {
    return this.#plan.loops.flatMap(({ b }) => b.map((one) => one.product)).indexOf(product);
  }

  #unpack(lines: Lines, axes: readonly Axis[], item: string, used: ReadonlySet<string>): void {
    let rest = item;
    for (const [i, { name, extent }] of [...axes.entries()].toReversed()) {
      const value = i === 0 ? rest : `${rest} % ${extent}`;
      if (used.has(name)) lines.add(`const int ${this.#names.axis(name)} = ${String(extent) === "1" ? 0 : value};`);
      rest = i === 1 ? `${rest} / ${extent}` : `(${rest} / ${extent})`;
    }
  }

  /** Results that threads store by themselves. */
  #printFinish(lines: Lines): void {
    lines.add("#pragma unroll");
    lines.block(`for (int i = 0; i < TILE_N / 2; i++)`, () => {
      const row = `at.m + part * ${ROWS} + row + i / 2 % 2 * 8`;
      const rows = this.#plan.kernel.groups?.over === "m";
      lines.add(`const int ${rows ? "at_row" : "m"} = ${row}, n = at.n + i / 4 * 8 + column + i % 2;`);
      lines.block(rows ? "if (at_row < at.end && n < n_end)" : "if (m < m_end && n < n_end)", () => {
        if (rows) lines.add(`const int m = ${this.#order}[at_row];`);
        for (const stmt of this.#plan.direct)
          lines.block("", () => {
            this.#assign(lines, stmt, this.#scalars(lines, [stmt.value, ...stmt.at]));
          });
      });
    });
  }

  /** 64 rows and 128 bytes of columns of results, as the swizzled copy to memory takes them. */
  #printStage(lines: Lines, { stmt, matrix, columns }: StagedResult): void {
    const reads = this.#reads(stmt.value);
    const pair = (index: string): void => {
      lines.add(`float pair[2] = {};`, "#pragma unroll");
      lines.block("for (int j = 0; j < 2; j++)", () => {
        lines.add(`const int i = ${index};`);
        if (reads.m) lines.add("const int m = i / 2 % 2 == 0 ? m_low : m_high;");
        if (reads.n) lines.add("const int n = at.n + i / 4 * 8 + column + i % 2;");
        const value = (): void => lines.add(`pair[j] = ${this.#scalars(lines, [stmt.value]).print(stmt.value)};`);
        // Columns beyond the end are not stored, and must not be read.
        if (reads.n && !this.#wholeColumns) lines.block("if (n < n_end)", value);
        else value();
      });
    };
    if (matrix.arg.dtype === "f32") {
      lines.add("#pragma unroll");
      lines.block(`for (int f = 0; f < ${columns / 4}; f++)`, () => {
        lines.add("// 8 columns behind each other; of them rows 8 apart in turn.");
        pair(`slice * ${columns / 2} + f * 2 + j`);
        lines.add("const int own = row + f % 2 * 8, chunk = f / 2 * 2 + column / 4;");
        lines.add(
          "float* const to = reinterpret_cast<float*>(shared.staged[part][stored] + own * 128 + (chunk ^ own % 8) * 16);",
        );
        lines.add("to[column % 4] = pair[0];", "to[column % 4 + 1] = pair[1];");
      });
      return;
    }
    lines.add("#pragma unroll");
    lines.block(`for (int c = 0; c < ${columns / 16}; c++)`, () => {
      lines.add("unsigned packed[4];  // 8 x 8 results each: rows 8 apart, then columns", "#pragma unroll");
      lines.block("for (int e = 0; e < 4; e++)", () => {
        pair(`slice * ${columns / 2} + c * 8 + e * 2 + j`);
        lines.add("packed[e] = pack_bf16(pair[0], pair[1]);");
      });
      lines.add("const int own = warp * 16 + lane % 16, chunk = c * 2 + lane / 16;");
      lines.add(
        "stmatrix_x4(shared.staged[part][stored] + own * 128 + (chunk ^ own % 8) * 16, packed[0], packed[1], packed[2], packed[3]);",
      );
    });
  }

  /** Whether the epilogue asks where a sum lies. */
  get #places(): { rows: boolean; columns: boolean } {
    const { direct, staged } = this.#plan;
    const reads = staged.map(({ stmt }) => this.#reads(stmt.value));
    const always = direct.length > 0 || staged.some(({ matrix }) => matrix.arg.dtype === "f32");
    return { rows: always || reads.some(({ m }) => m), columns: always || reads.some(({ n }) => n) };
  }

  get #wholeColumns(): boolean {
    const { kernel, tile } = this.#plan;
    const size = kernel.n.reduce<number>((n, { extent }) => (typeof extent === "number" ? n * extent : NaN), 1);
    return size % tile.tileN === 0;
  }

  /** Whether an expression reads memory by its row, or by its column. */
  #reads(expr: Expr): { m: boolean; n: boolean } {
    const { m, n } = this.#plan.kernel;
    const found = { m: false, n: false };
    walk(expr, (part) => {
      if (part.kind !== "axis") return;
      found.m ||= m.some(({ name }) => name === part.axis);
      found.n ||= n.some(({ name }) => name === part.axis);
    });
    return found;
  }
}

/** The number of the loop that a label of the schedule belongs to: `a_0[...]`. */
function loopOf(label: string): string {
  return /_(\d+)\[/.exec(label)![1]!;
}

function groupsOf({ group }: Groups): number {
  return group.extent as number;
}

/** Columns of a line of parameters. */
const WIDTH = 124;
/** The entry point's name. */
const ENTRY = "tensor";
/** That of what runs before it. */
const SORT = "tensor_sort";
/** For few rows: parts of sums, and what adds them up. */
const SPLIT = "split";
const ADD = "add";

function sizeText(axes: readonly Axis[]): string {
  return axes.length === 0 ? "1" : axes.map(({ extent }) => String(extent)).join(" * ");
}

function blocksText(k: readonly Axis[]): string {
  const size = k.reduce<number>((n, { extent }) => (typeof extent === "number" ? n * extent : NaN), 1);
  if (!Number.isNaN(size)) return String(Math.ceil(size / TILE_K));
  return `max(1, (${sizeText(k)} + TILE_K - 1) / TILE_K)`;
}
