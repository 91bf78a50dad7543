/** Attention on the tensor cores of Hopper: a plan and its schedule as one file of CUDA C++. */
import { originLines } from "../../../kernel-ir/print.ts";
import type { Grid, Scratch, TensorMap } from "../../../../runtime/program/grids.ts";
import { Lines } from "../../../emit/lines.ts";
import { CUDA_DIALECT } from "../dialect.ts";
import { parametersOf, signature } from "../file.ts";
import { tidied } from "../tidy.ts";
import { storageType } from "../language.ts";
import { printBarriers, printShared, printThreads } from "./attention-frame.ts";
import { type AttentionRoles, firstColumn, FlashRoles } from "./attention-roles.ts";
import { attentionRuns, attentionSchedule } from "./attention-schedule.ts";
import { MOST_SHARES, printCombine, PROCESSORS, sharesCall, splitScratch } from "./attention-split.ts";
import { AttentionText, scaleText } from "./attention-text.ts";
import { type AttentionPlan, type ColumnRows, depthOf, scalarsOf } from "./attention-plan.ts";
import { requireSound } from "./check-schedule.ts";
import { ARCHITECTURE, type HopperFile } from "./gemm.ts";
import { HELD } from "./latent-schedule.ts";
import { LatentRoles } from "./latent-roles.ts";
import { type Hooks, SchedulePrinter } from "./print-schedule.ts";
import { type Role, type Schedule, type Step, sharedBytes, threadsOf } from "./schedule.ts";
import { extentsOf, LINE, mapParameter, tensorMap } from "./tensor-maps.ts";
import { wgmmaFunction } from "./wgmma.ts";

/** Bytes of keys and values that the second-level cache keeps for those that run at once. */
const CACHE_BYTES = 32 * 2 ** 20;
/** Characters of a line of arguments. */
const HEADER_WIDTH = 120;
/** The entry point's name. */
const ENTRY = "tensor";

/** @param others arrays in the arena that the kernel's other entry points have */
export function printHopperAttention(plan: AttentionPlan, others: readonly Scratch[] = []): HopperFile {
  return new AttentionPrinter(plan, others).print();
}

class AttentionPrinter {
  readonly #plan: AttentionPlan;
  readonly #others: readonly Scratch[];
  readonly #schedule: Schedule;
  readonly #text: AttentionText;
  readonly #roles: AttentionRoles;
  /** Tensor maps by the names of their parameters. */
  readonly #maps = new Map<string, TensorMap>();
  readonly #lines = new Lines();

  constructor(plan: AttentionPlan, others: readonly Scratch[]) {
    this.#plan = plan;
    this.#others = others;
    this.#schedule = attentionSchedule(plan.shape);
    requireSound(this.#schedule, attentionRuns(plan.shape));
    const names = CUDA_DIALECT.names([...plan.kernel.args, ...scalarsOf(plan)]);
    this.#text = new AttentionText(plan, this.#lines, names, plan.shape.halves ? "rest" : "key");
    const Roles = plan.shape.halves ? LatentRoles : FlashRoles;
    this.#roles = new Roles(plan, this.#lines, this.#text);
  }

  /** The parameter of a tensor map; keys that are values, too, have one. */
  #map(rows: ColumnRows): string {
    const { batch, column } = this.#plan.kernel;
    const map = tensorMap(rows.matrix!, [column], [rows.along], batch, [LINE, this.#plan.shape.columns]);
    return mapParameter(this.#maps, map, `${map.arg}_map`);
  }

  print(): HopperFile {
    const { kernel, terms, values, shape } = this.#plan;
    const lines = this.#lines;
    for (const rows of [...terms.map(({ keys }) => keys), values]) if (rows.matrix !== undefined) this.#map(rows);
    lines.add(...this.#header().map((line) => `// ${line}`.trimEnd()));
    lines.add('#include "dsk_mma.cuh"', '#include "dsk_sm90.cuh"', "");
    lines.add(
      `constexpr int ROWS = ${this.#text.tileRows}, COLUMNS = ${shape.columns}, WIDTH = ${this.#roles.width}, STAGES = ${shape.stages}${shape.halves ? `, HELD = ${HELD}` : ""};`,
      `// Of a score, for powers of 2.`,
      `constexpr float ${scaleText(this.#plan)};`,
      "",
    );
    printShared(lines, this.#schedule, shape.stages);
    for (const product of this.#roles.wgmmas) lines.add("", ...wgmmaFunction(product));
    lines.add("", ...this.#place(), "");
    this.#roles.products();
    lines.add("");
    this.#kernel();
    const { split } = this.#plan;
    const file = `${kernel.name}.${ARCHITECTURE}`;
    const grid: Grid = {
      name: ENTRY,
      file,
      workgroupSize: threadsOf(this.#schedule),
      workgroups: [
        { of: extentsOf(kernel.batch) },
        { of: extentsOf(kernel.rows), by: this.#text.tileRows },
        ...(split ? [{ of: [MOST_SHARES] }] : []),
      ],
      most: PROCESSORS,
      sharedBytes: sharedBytes(this.#schedule),
      maps: [...this.#maps.values()],
    };
    const text = tidied(lines.text());
    if (!split) return { text, entry: { ...grid, only: ARCHITECTURE }, scratch: this.#others };
    const scratch = [...this.#others, ...splitScratch(values.along.extent, this.#text.tileRows)];
    const combine = printCombine(this.#plan, this.#text.tileRows, scratch, grid, this.#header());
    const own = `${kernel.name}_combine.${ARCHITECTURE}`;
    return {
      text: combine.text,
      entry: { ...combine.entry, file: own, only: ARCHITECTURE },
      scratch,
      more: new Map([[file, text]]),
    };
  }

  #header(): string[] {
    const { kernel, shape } = this.#plan;
    const { width, columns, stages, halves } = shape;
    const depth = depthOf(shape);
    const shapes = kernel.args.map((arg) => `${arg.access} ${arg.name}: ${arg.dtype}[${arg.shape.join(", ")}]`);
    const rows: string[] = [];
    for (const text of shapes) {
      const last = rows.at(-1);
      if (last !== undefined && last.length + text.length < HEADER_WIDTH) rows[rows.length - 1] = `${last}, ${text}`;
      else rows.push(text);
    }
    return [
      `${kernel.name}: attention for the tensor cores of sm_90a`,
      ...originLines(kernel),
      ...rows.map((text) => `  ${text}`),
      `Scores of ${depth} terms, values of ${width}: ${2 * (depth + width)} FLOP for each row and column that it sees.`,
      `Tiles of ${this.#text.tileRows} rows, blocks of ${columns} columns, ${stages} ${halves ? "halves " : ""}of them in shared memory.`,
    ];
  }

  /** The tile with a number: rows that see the most first, some heads at a time. */
  #place(): string[] {
    const { shape, kernel } = this.#plan;
    const elements = depthOf(shape) + shape.width;
    if (kernel.batch.length === 0)
      return [
        "// The last rows come first, since they mostly see the most columns.",
        "struct Place { int m, head; };",
        "struct Span { int first, end; };",
        "DSK_INLINE Place place_of(int tile, int row_tiles) { return {(row_tiles - 1 - tile) * ROWS, 0}; }",
      ];
    return [
      `// Heads that run at once share the second-level cache: as many as have their keys and values in ${CACHE_BYTES / 2 ** 20} MiB. Of these the`,
      "// last rows come first, since they mostly see the most columns.",
      "struct Place { int m, head; };",
      "struct Span { int first, end; };",
      "DSK_INLINE Place place_of(int tile, int row_tiles, int heads, int columns) {",
      `  const int together = max(1, min(heads, (int)(${CACHE_BYTES}ll / (${2 * elements}ll * max(1, columns)))));`,
      "  const int group = tile / (together * row_tiles), i = tile % (together * row_tiles);",
      "  const int count = min(together, heads - group * together);",
      "  return {(row_tiles - 1 - i / count) * ROWS, group * together + i % count};",
      "}",
    ];
  }

  #kernel(): void {
    const { kernel } = this.#plan;
    const parameters = [
      "int items",
      "int items_before",
      ...parametersOf(kernel),
      ...this.#others.map(({ dtype = "i32" }, i) => `${storageType(dtype)}* unused_${i}`),
      ...(this.#plan.split ? ["float* partials", "float* marks"] : []),
      ...[...this.#maps.keys()].map((name) => `const __grid_constant__ CUtensorMap ${name}`),
    ];
    const lines = this.#lines;
    const head = `extern "C" __global__ void __launch_bounds__(${threadsOf(this.#schedule)}, 1) ${kernel.name}_${ENTRY}`;
    lines.block(signature(head, parameters), () => this.#body());
  }

  #body(): void {
    const lines = this.#lines;
    printThreads(lines);
    const heads = this.#plan.kernel.batch.length === 0 ? "" : `heads = ${this.#text.headCount}, `;
    lines.add(`const int m_end = ${this.#text.rowCount}, ${heads}row_tiles = (m_end + ROWS - 1) / ROWS;`);
    if (this.#plan.split) lines.add(`const int shares = ${sharesCall(this.#plan, this.#text.tileRows)};`);
    printBarriers(lines, this.#schedule, this.#plan.shape.stages, this.#maps.keys());
    this.#text.mask.spans();
    const { roles } = this.#schedule;
    for (const [i, role] of roles.entries()) {
      const head = i === 0 ? "if (warpgroup == 0)" : i + 1 < roles.length ? `else if (warpgroup == ${i})` : "else";
      lines.block(head, () => {
        const change = i === 0 ? "decrease" : "increase";
        lines.add(`// ${this.#about(role)}`, `registers_${change}<${role.registers}>();`);
        this.#roles.prologue(role);
        const print = (): void => new SchedulePrinter(this.#schedule, role, lines, this.#hooks(role)).print();
        if (role.threads === "warp") lines.block("if (warp == 0)", print);
        else print();
      });
    }
  }

  #about({ name }: Role): string {
    if (name === "producer") return "The producer fills the rings.";
    if (name === "scorer") return "The scorer has the scores of 64 rows, and makes weights of them.";
    return this.#plan.shape.halves ? "Consumers sum a half of the values each." : "Consumers have 64 rows each.";
  }

  #hooks(role: Role): Hooks {
    const lines = this.#lines;
    const text = this.#text;
    const { split, kernel } = this.#plan;
    const tiles = split ? `row_tiles${kernel.batch.length === 0 ? "" : " * heads"} * shares` : "items";
    return {
      head: ({ counter }) =>
        counter === "tile" ? `for (int tile = blockIdx.x; tile < ${tiles}; tile += gridDim.x)` : undefined,
      enter: ({ counter }) => {
        if (counter === "block") return this.#roles.block(role);
        const { batch } = this.#plan.kernel;
        const more = batch.length === 0 ? "" : `, heads, ${text.plane.columnCount}`;
        if (split) lines.add("const int share = tile % shares;");
        lines.add(`const Place at = place_of(tile${split ? " / shares" : ""}, row_tiles${more});`);
        text.blocks();
        this.#roles.tile(role);
      },
      load: (step, to, barrier) => this.#printLoad(step, to, barrier),
      gather: (step, to) => this.#roles.gather(step, to),
      multiply: (step) => this.#roles.multiply(step),
      compute: (step) => this.#roles.compute(step),
      store: () => {
        throw new Error("the copy engine stores nothing here");
      },
    };
  }

  #printLoad({ buffer, holds }: Step & { kind: "load" }, to: string, barrier: string): void {
    const rows = this.#columnRows(buffer);
    const map = this.#map(rows);
    const [d, batch] = rows.matrix!.batch === 0 ? ["2d", ""] : ["3d", ", at.head"];
    const terms = this.#roles.terms(holds);
    for (let x = terms.from; x < terms.to; x += LINE) {
      const behind = ((x - terms.from) / LINE) * this.#plan.shape.columns * 128;
      const place = behind === 0 ? to : `${to} + ${behind}`;
      this.#lines.add(`tma_load_${d}(${place}, &${map}, ${barrier}, ${x}, ${firstColumn(holds)}${batch});`);
    }
  }

  /** The keys or values that a buffer is for. */
  #columnRows(buffer: string): ColumnRows {
    const { terms, values } = this.#plan;
    return buffer === "v" ? values : terms[Number(buffer.slice(1))]!.keys;
  }
}
