/** What a matrix product's entry point does: what all threads do first, then the steps of each role. */
import type { Lines } from "../../../emit/lines.ts";
import type { Axis } from "../../../kernel-ir/types.ts";
import { numbered, type PartOf, type Sorted } from "./gemm-entries.ts";
import type { Epilogue } from "./gemm-epilogue.ts";
import { printBegin, printCodeRegisters, printDecode, printRead } from "./gemm-codes.ts";
import { printTerms } from "./gemm-gathers.ts";
import { printFirstTile, printScattered, printStarts, printTile } from "./gemm-groups.ts";
import type { Operands } from "./gemm-operands.ts";
import { countOf, type GemmPlan, hasTiles } from "./gemm-plan.ts";
import { type Printing, sizeText } from "./gemm-printing.ts";
import { printClear, printPromote, printScales } from "./gemm-promote.ts";
import { ROWS } from "./gemm-shape.ts";
import { printAdd, printReceived, printSend, printTermsOfPart } from "./gemm-split.ts";
import { type Hooks, SchedulePrinter } from "./print-schedule.ts";
import { registersAtStart, type Role, type Schedule, threadsOf } from "./schedule.ts";

export class Body {
  readonly #plan: GemmPlan;
  readonly #schedule: Schedule;
  readonly #lines: Lines;
  readonly #printing: Printing;
  readonly #operands: Operands;
  readonly #epilogue: Epilogue;
  readonly #order: string;
  readonly #starts: string;
  readonly #part: PartOf | undefined;

  constructor(
    plan: GemmPlan,
    schedule: Schedule,
    printing: Printing,
    operands: Operands,
    epilogue: Epilogue,
    { order, starts }: Sorted,
    part?: PartOf,
  ) {
    this.#plan = plan;
    this.#schedule = schedule;
    this.#lines = printing.lines;
    this.#printing = printing;
    this.#operands = operands;
    this.#epilogue = epilogue;
    this.#order = order;
    this.#starts = starts;
    this.#part = part;
  }

  print(): void {
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
      printCodeRegisters(this.#printing, this.#plan);
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
      for (const { name, role, count } of this.#schedule.registers)
        if (role === consumer.name && !name.startsWith("results")) lines.add(`float ${name}[${count}];`);
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
        if (counter !== "k_block" || this.#plan.kernel.groups?.over !== "k") return;
        if (this.#hasTiles) printTile(this.#printing, this.#order);
        else if (this.#plan.packed === undefined && role.name === "producer") printTerms(this.#printing, this.#order);
      },
      before: (loop) => {
        if (this.#hasTiles && loop.counter === "k_block") printFirstTile(this.#printing, this.#order);
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

  /** Whether terms of groups lie in tiles. */
  get #hasTiles(): boolean {
    return this.#plan.kernel.groups !== undefined && hasTiles(this.#plan.loops);
  }

  /** Tiles are the items of the entry point; groups say how many they have. */
  get #tiles(): string {
    return this.#plan.kernel.groups?.over === "m" ? "tiles" : numbered("items", this.#part);
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
    else if (groups?.over === "k") {
      const blocks = this.#hasTiles ? "at.end - at.first" : "(at.end - at.first + TILE_K - 1) / TILE_K";
      lines.add(`const int ${countOf(0)} = max(1, ${blocks});`);
    }
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

/** Steps of products in eight bits, of stored codes, and of sums that blocks send each other, by the first word of their names. */
const COMPUTATIONS: Readonly<Record<string, (plan: GemmPlan, printing: Printing, name: string) => void>> = {
  clear: printClear,
  scales: printScales,
  promote: printPromote,
  begin: printBegin,
  read: printRead,
  decode: printDecode,
  send: printSend,
  add: printAdd,
};

function blocksText(k: readonly Axis[], depth: number): string {
  const size = k.reduce<number>((n, { extent }) => (typeof extent === "number" ? n * extent : NaN), 1);
  if (!Number.isNaN(size)) return String(Math.ceil(size / depth));
  return `max(1, (${sizeText(k)} + TILE_K - 1) / TILE_K)`;
}
