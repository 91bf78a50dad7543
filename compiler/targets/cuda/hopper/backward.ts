/** Attention's backward pass on the tensor cores of Hopper: a kernel of rows and one of columns, each a file of CUDA C++. */
import type { Entry, Grid, Scratch, TensorMap } from "../../../../runtime/program/grids.ts";
import { Lines } from "../../../emit/lines.ts";
import type { Names } from "../../scalars.ts";
import { CUDA_DIALECT } from "../dialect.ts";
import type { Axis } from "../../../kernel-ir/types.ts";
import { parametersOf, signature } from "../file.ts";
import { storageType } from "../language.ts";
import { tidied } from "../tidy.ts";
import { printBarriers, printShared, printThreads } from "./attention-frame.ts";
import { type ColumnRows, scalarsOf, type TensorRows } from "./attention-plan.ts";
import { AttentionText, scaleText } from "./attention-text.ts";
import { BackwardFrame, TILE } from "./backward-frame.ts";
import { type BackwardPlan, rowBlock } from "./backward-plan.ts";
import { columnsSchedule } from "./backward-columns-schedule.ts";
import { rowsSchedule } from "./backward-rows-schedule.ts";
import { backwardRuns, depthOf } from "./backward-steps.ts";
import { BackwardText, type Side } from "./backward-text.ts";
import { requireSound } from "./check-schedule.ts";
import { ARCHITECTURE, type HopperFile } from "./gemm.ts";
import { type Hooks, SchedulePrinter } from "./print-schedule.ts";
import { type Role, type Schedule, type Step, sharedBytes, threadsOf } from "./schedule.ts";
import { extentsOf, LINE, mapParameter, tensorMap } from "./tensor-maps.ts";
import { wgmmaFunction } from "./wgmma.ts";

/** Blocks of a device: as many as it has multiprocessors. */
const PROCESSORS = 132;

/** @param others arrays in the arena that the kernel's other entry points have */
export function printHopperBackward(plan: BackwardPlan, others: readonly Scratch[] = []): HopperFile {
  const rows = new BackwardPrinter(plan, "rows", others);
  const columns = new BackwardPrinter(plan, "columns", others);
  const before = rows.print();
  const text = columns.print();
  const entry: Entry = { ...columns.grid(), only: ARCHITECTURE, before: rows.grid() };
  const { batch, rows: tokens } = plan.kernel;
  const own: Scratch[] = [
    { shape: [...extentsOf(tokens), 2], each: false, dtype: "i32" },
    ...(plan.kept === undefined
      ? [{ shape: [...extentsOf(batch), ...extentsOf(tokens), 2], each: false, dtype: "f32" } as const]
      : []),
  ];
  return { text, entry, scratch: [...others, ...own], more: new Map([[rows.file, before]]) };
}

class BackwardPrinter {
  readonly #plan: BackwardPlan;
  readonly #side: Side;
  readonly #others: readonly Scratch[];
  readonly #frame: BackwardFrame;
  readonly #schedule: Schedule;
  readonly #names: Names;
  readonly #text: BackwardText;
  readonly #scores: AttentionText;
  /** Tensor maps by the names of their parameters. */
  readonly #maps = new Map<string, TensorMap>();
  readonly #lines = new Lines();

  constructor(plan: BackwardPlan, side: Side, others: readonly Scratch[]) {
    this.#plan = plan;
    this.#side = side;
    this.#others = others;
    this.#frame = new BackwardFrame(plan, side);
    this.#schedule = side === "rows" ? rowsSchedule(plan.shape) : columnsSchedule(plan.shape);
    requireSound(this.#schedule, backwardRuns(plan.shape));
    this.#names = CUDA_DIALECT.names([...plan.kernel.args, ...scalarsOf(plan.forward)]);
    this.#text = new BackwardText(plan, side, this.#lines, this.#names);
    this.#scores = new AttentionText(plan.forward, this.#lines, this.#names, "stage");
  }

  /** The file that the kernel is in, without `.cu`. */
  get file(): string {
    return `${this.#plan.kernel.name}_${this.#side}.${ARCHITECTURE}`;
  }

  get #ofRows(): boolean {
    return this.#side === "rows";
  }

  grid(): Grid {
    const { batch, rows, column } = this.#plan.kernel;
    return {
      name: `tensor_${this.#side}`,
      file: this.file,
      workgroupSize: threadsOf(this.#schedule),
      workgroups: [{ of: extentsOf(batch) }, { of: this.#ofRows ? extentsOf(rows) : [column.extent], by: TILE }],
      most: PROCESSORS,
      sharedBytes: sharedBytes(this.#schedule),
      maps: [...this.#maps.values()],
    };
  }

  /** What the producer loads, by buffers: parts of the scores' operand, and the other product's. */
  get #loaded(): ReadonlyMap<string, readonly ColumnRows[]> {
    const { terms, up, values } = this.#plan;
    return this.#ofRows
      ? new Map([
          ["k", terms.map(({ keys }) => keys)],
          ["v", [values]],
        ])
      : new Map([
          ["q", terms.map(({ queries }) => queries)],
          ["up", [up]],
        ]);
  }

  /** What a consumer has of its own rows, or columns, by the places. */
  get #owned(): ReadonlyMap<string, readonly ColumnRows[]> {
    const { terms, up, values } = this.#plan;
    return this.#ofRows
      ? new Map([
          ["shared.q[part]", terms.map(({ queries }) => queries)],
          ["shared.up[part]", [up]],
        ])
      : new Map([
          ["shared.k[part]", terms.map(({ keys }) => keys)],
          ["shared.v[part]", [values]],
        ]);
  }

  /** The parameter of a tensor map. */
  #map(rows: ColumnRows): string {
    const { batch, column, rows: all } = this.#plan.kernel;
    const [tokens, ...inner] = all as [Axis, ...Axis[]];
    const [axes, others, count] = this.#ofRows
      ? [[column], batch, this.#frame.block]
      : [[tokens], [...batch, ...inner], rowBlock(this.#plan).tokens];
    const map = tensorMap(rows.matrix!, axes, [rows.along], others, [LINE, count]);
    return mapParameter(this.#maps, map, `${map.arg}_map`);
  }

  print(): string {
    const { shape, forward, factor } = this.#plan;
    const lines = this.#lines;
    for (const all of this.#loaded.values()) for (const rows of all) this.#map(rows);
    lines.add(...this.#frame.header().map((line) => `// ${line}`.trimEnd()));
    lines.add('#include "dsk_mma.cuh"', '#include "dsk_sm90.cuh"', "");
    const [tile, block] = this.#ofRows ? [TILE, this.#frame.block] : [this.#frame.block, TILE];
    lines.add(
      `constexpr int ROWS = ${tile}, COLUMNS = ${block}, DEPTH = ${depthOf(shape)}, WIDTH = ${shape.width}, STAGES = ${shape.stages};`,
      "// Of a score, for powers of 2; and of its slope.",
      `constexpr float ${scaleText(forward)}, FACTOR = ${factor.toPrecision(9)}f;`,
      "",
    );
    printShared(lines, this.#schedule, shape.stages);
    for (const product of this.#frame.wgmmas) lines.add("", ...wgmmaFunction(product));
    lines.add("", ...this.#frame.place(), "");
    this.#frame.products(lines);
    lines.add("");
    this.#kernel();
    return tidied(lines.text());
  }

  #kernel(): void {
    const { kernel } = this.#plan;
    const read = this.#ofRows ? "" : "const ";
    const parameters = [
      "int items",
      "int items_before",
      ...parametersOf(kernel),
      ...this.#others.map(({ dtype = "i32" }, i) => `${storageType(dtype)}* unused_${i}`),
      `${read}int* __restrict__ spans`,
      ...(this.#plan.kept === undefined ? [`${read}float* __restrict__ statistics`] : []),
      ...[...this.#maps.keys()].map((name) => `const __grid_constant__ CUtensorMap ${name}`),
    ];
    const head = `extern "C" __global__ void __launch_bounds__(${threadsOf(this.#schedule)}, 1) ${kernel.name}_tensor_${this.#side}`;
    this.#lines.block(signature(head, parameters), () => this.#body());
  }

  #body(): void {
    const lines = this.#lines;
    const { rowCount, headCount, plane } = this.#scores;
    printThreads(lines);
    lines.add(`const int m_end = ${rowCount}, heads = ${headCount}, row_tiles = (m_end + ${TILE - 1}) / ${TILE};`);
    if (!this.#ofRows)
      lines.add(`const int n_end = ${plane.columnCount}, column_tiles = (n_end + COLUMNS - 1) / COLUMNS;`);
    printBarriers(lines, this.#schedule, this.#plan.shape.stages, this.#maps.keys());
    if (this.#ofRows) this.#scores.mask.spans();
    else this.#spans();
    const [producer, consumer] = this.#schedule.roles as [Role, Role];
    const steps = (role: Role): void => new SchedulePrinter(this.#schedule, role, lines, this.#hooks(role)).print();
    lines.block("if (warpgroup == 0)", () => {
      lines.add(`registers_decrease<${producer.registers}>();  // the producer fills the ring`);
      if (this.#ofRows) this.#scores.mask.ranges();
      else this.#text.mask.describe();
      lines.block("if (warp == 0)", () => steps(producer));
    });
    lines.block("else", () => {
      lines.add(
        `// Consumers have 64 ${this.#side} each.`,
        `registers_increase<${consumer.registers}>();`,
        "const int part = warpgroup - 1;",
        "// Of a thread's first sum. Sum i lies i / 2 % 2 * 8 rows and i / 4 * 8 + i % 2 columns behind it.",
        `const int ${this.#ofRows ? "row = warp * 16 + lane / 4, " : ""}column = lane % 4 * 2;`,
      );
      const { registers } = this.#schedule;
      const packed = registers.filter(({ name }) => name === "weights" || name === "curbed");
      const floats = registers.filter((one) => !packed.includes(one));
      lines.add(`float ${floats.map(({ name, count }) => `${name}[${count}]`).join(", ")};`);
      lines.add(`unsigned ${packed.map(({ name }) => `${name}[${this.#frame.block / 16}][4]`).join(", ")};`);
      steps(consumer);
    });
  }

  /** The rows that see a tile's columns: those of the first and the last tile of rows with one that does. */
  #spans(): void {
    const lines = this.#lines;
    lines.add("// Tokens whose rows see columns from n on, by what tiles of rows see together.");
    lines.block(
      "const auto span_of = [&](int n)",
      () => {
        lines.add("int low = 0x7fffffff, high = 0;");
        lines.block("for (int i = lane; i < row_tiles; i += 32)", () =>
          lines.add(
            "if (spans[2 * i] < n + COLUMNS && spans[2 * i + 1] > n) low = min(low, i), high = max(high, i + 1);",
          ),
        );
        lines.add("low = __reduce_min_sync(0xffffffffu, low), high = __reduce_max_sync(0xffffffffu, high);");
        const { inner } = rowBlock(this.#plan);
        const [first, end] = [`low * ${TILE}`, `min(high * ${TILE}, m_end)`];
        const tokens = inner === 1 ? [first, end] : [`${first} / ${inner}`, `(${end} + ${inner - 1}) / ${inner}`];
        lines.add(`return low < high ? Span{${tokens.join(", ")}} : Span{0, 0};`);
      },
      "};",
    );
  }

  #hooks(role: Role): Hooks {
    const lines = this.#lines;
    const text = this.#text;
    return {
      head: ({ counter }) =>
        counter === "tile"
          ? `for (int tile = blockIdx.x; tile < ${this.#ofRows ? "items_before" : "items"}; tile += gridDim.x)`
          : undefined,
      enter: ({ counter }) => {
        if (counter !== "tile") return;
        if (this.#ofRows) {
          lines.add(`const Place at = place_of(tile, row_tiles, heads, ${this.#scores.plane.columnCount});`);
          this.#scores.blocks();
          if (role.name === "producer")
            lines.add(
              "if (at.head == 0 && lane == 0) spans[at.m / ROWS * 2] = span.first, spans[at.m / ROWS * 2 + 1] = span.end;",
            );
          else this.#scores.mask.rows(this.#plan.kept === undefined);
        } else {
          lines.add("const Place at = place_of(tile, column_tiles, heads, m_end);", "const Span span = span_of(at.n);");
          const { tokens, chunks } = rowBlock(this.#plan);
          const many = chunks === 1 ? "" : ` * ${chunks}`;
          lines.add(
            `const int blocks = max(1, (span.end - span.first + ${tokens - 1}) / ${tokens})${many};  // of ${tokens} tokens; some where no row sees them`,
          );
          if (role.name === "consumer") text.mask.columns();
        }
      },
      load: (step, to, barrier) => this.#printLoad(step, to, barrier),
      gather: ({ buffer }) => {
        // Both buffers of a consumer's own rows in one loop.
        if (buffer === "q" || buffer === "k") return;
        text.gather(this.#owned);
      },
      multiply: (step) => this.#printMultiply(step),
      compute: (step) => this.#printCompute(step),
      store: () => {
        throw new Error("the copy engine stores nothing here");
      },
    };
  }

  /** The parts of a buffer are loads of their own, in their order. */
  readonly #printed = new Map<string, number>();

  #printLoad({ buffer, holds }: Step & { kind: "load" }, to: string, barrier: string): void {
    const parts = this.#loaded.get(buffer)!;
    const count = this.#printed.get(buffer) ?? 0;
    this.#printed.set(buffer, count + 1);
    const part = count % parts.length;
    const rows = parts[part]!;
    const before = parts.slice(0, part).reduce((sum, { along }) => sum + along.extent, 0);
    const { inner, heads, tokens } = rowBlock(this.#plan);
    const grouped = !this.#ofRows && inner > 1;
    const first = this.#member === "0" ? "" : `${this.#member} + `;
    const head = grouped ? `at.head * ${inner} + ${first}member` : "at.head";
    const [d, batch] = rows.matrix!.batch === 0 ? ["2d", ""] : ["3d", `, ${head}`];
    for (let x = 0; x < rows.along.extent; x += LINE) {
      const line = (before + x) / LINE;
      const place = `${to}${line === 0 ? "" : ` + ${line * this.#frame.block * 128}`}${grouped ? ` + member * ${tokens * 128}` : ""}`;
      this.#lines.add(
        ...(grouped ? ["#pragma unroll", `for (int member = 0; member < ${heads}; member++)`] : []),
        `${grouped ? "  " : ""}tma_load_${d}(${place}, &${this.#map(rows)}, ${barrier}, ${x}, ${this.#first(holds)}${batch});`,
      );
    }
  }

  /** The first head of a group that a block of rows has. */
  get #member(): string {
    const { chunks, heads } = rowBlock(this.#plan);
    return chunks === 1 ? "0" : `block % ${chunks} * ${heads}`;
  }

  /** The first column (or token) of the block that a label names. */
  #first(label: string): string {
    if (this.#ofRows) return `span.first + ${label.includes("again") ? "again" : "block"} * COLUMNS`;
    const { chunks, tokens } = rowBlock(this.#plan);
    return `span.first + block${chunks === 1 ? "" : ` / ${chunks}`} * ${tokens}`;
  }

  /** Of a block of rows: its first token, and its first head where rows have several. */
  #firstRow(label: string): string[] {
    return [this.#first(label), ...(this.#plan.kernel.rows.length > 1 ? [this.#member] : [])];
  }

  #printMultiply({ a, b, into, clears }: Step & { kind: "multiply" }): void {
    const { buffer } = b as { buffer: string };
    if ("buffer" in a) {
      const depth = buffer === "k" || buffer === "q" ? "DEPTH" : "WIDTH";
      return this.#lines.add(`multiply(${into}, shared.${a.buffer}[part], shared.${buffer}[stage], ${depth});`);
    }
    const { counter } = clears as { counter: string };
    this.#lines.add(`add_to(${into}, weights, shared.${buffer}[stage], ${counter} > 0);`);
  }

  #printCompute(step: Step & { kind: "compute" }): void {
    const text = this.#text;
    const { terms, values, dValues, shape } = this.#plan;
    const label = step.writes?.[0]?.holds ?? "";
    switch (step.name) {
      case "ranges of columns":
        return this.#ofRows ? this.#scores.mask.rangesAt(this.#first(label)) : text.mask.ranges();
      case "exponentials":
        return this.#scores.exponentials(this.#first(label));
      case "nothing is summed":
        return this.#lines.add("delta[0] = delta[1] = 0.0f;");
      case "sums of weights times slopes":
        return text.products();
      case "statistics":
        return text.statistics();
      case "what rows have kept":
        return text.kept();
      case "what is known of rows":
        return this.#lines.add(
          `describe(${this.#firstRow(label).join(", ")}, at.head, shared.statistics[stage], shared.seen[stage]);`,
        );
      case "weights":
        this.#scores.squash();
        return this.#ofRows ? text.weightsOfRows(this.#first(label)) : text.weightsOfColumns(...this.#firstRow(label));
      case "slopes of scores":
        return this.#ofRows ? text.slopesOfRows() : text.slopesOfColumns();
      case "results":
        text.placeOfResults();
        if (this.#ofRows) return text.stage("sums", "shared.q[part]", depthOf(shape));
        text.stage("dk", "shared.k[part]", depthOf(shape));
        return text.stage("dv", "shared.v[part]", shape.width);
      default: {
        const of = (to: TensorRows | undefined, { along }: TensorRows) => ({ to, extent: along.extent });
        return text.store(
          this.#ofRows
            ? new Map([["shared.q[part]", terms.map(({ dQueries, keys }) => of(dQueries, keys))]])
            : new Map([
                ["shared.k[part]", terms.map(({ dKeys, keys }) => of(dKeys, keys))],
                ["shared.v[part]", [of(dValues, values)]],
              ]),
        );
      }
    }
  }
}
