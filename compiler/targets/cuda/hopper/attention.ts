/** Attention on the tensor cores of Hopper: a plan and its schedule as one file of CUDA C++. */
import type { Entry, Scratch, TensorMap } from "../../../../runtime/program/grids.ts";
import { Lines } from "../../../emit/lines.ts";
import { CUDA_DIALECT } from "../dialect.ts";
import { signature } from "../file.ts";
import { tidied } from "../tidy.ts";
import { storageType } from "../language.ts";
import { attentionRuns, attentionSchedule } from "./attention-schedule.ts";
import { AttentionText } from "./attention-text.ts";
import { type AttentionPlan, type ColumnRows, depthOf, scalarsOf } from "./attention-plan.ts";
import { requireSound } from "./check-schedule.ts";
import { ARCHITECTURE, type HopperFile } from "./gemm.ts";
import { ROWS } from "./gemm-schedule.ts";
import { type Hooks, SchedulePrinter } from "./print-schedule.ts";
import { type Role, type Schedule, SHARED_BYTES, type Step, sharedBytes, threadsOf } from "./schedule.ts";
import { extentsOf, LINE, tensorMap } from "./tensor-maps.ts";
import { type Wgmma, wgmmaFunction, wgmmaName } from "./wgmma.ts";

/** Blocks of a device: as many as it has multiprocessors. */
const PROCESSORS = 132;
/** Bytes of keys and values that the second-level cache keeps for those that run at once. */
const CACHE_BYTES = 32 * 2 ** 20;
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
  /** Tensor maps by the names of their parameters. */
  readonly #maps = new Map<string, TensorMap>();
  readonly #lines = new Lines();

  constructor(plan: AttentionPlan, others: readonly Scratch[]) {
    this.#plan = plan;
    this.#others = others;
    this.#schedule = attentionSchedule(plan.shape);
    requireSound(this.#schedule, attentionRuns(plan.shape));
    const names = CUDA_DIALECT.names([...plan.kernel.args, ...scalarsOf(plan)]);
    this.#text = new AttentionText(plan, this.#lines, names);
  }

  /** The parameter of a tensor map; keys that are values, too, have one. */
  #map(rows: ColumnRows): string {
    const { batch, column } = this.#plan.kernel;
    const map = tensorMap(rows.matrix!, [column], [rows.along], batch, [LINE, this.#plan.shape.columns]);
    const same = [...this.#maps].find(([, other]) => JSON.stringify(other) === JSON.stringify(map));
    if (same !== undefined) return same[0];
    let name = `${map.arg}_map`;
    for (let i = 2; this.#maps.has(name); i++) name = `${map.arg}_map_${i}`;
    this.#maps.set(name, map);
    return name;
  }

  print(): HopperFile {
    const { kernel, terms, values, shape } = this.#plan;
    const lines = this.#lines;
    for (const rows of [...terms.map(({ keys }) => keys), values]) if (rows.matrix !== undefined) this.#map(rows);
    lines.add(...this.#header().map((line) => `// ${line}`.trimEnd()));
    lines.add('#include "dsk_mma.cuh"', '#include "dsk_sm90.cuh"', "");
    lines.add(
      `constexpr int ROWS = ${this.#text.tileRows}, COLUMNS = ${shape.columns}, WIDTH = ${this.#width}, STAGES = ${shape.stages};`,
      `// Of a score, for powers of 2.`,
      `constexpr float SCALE = ${(this.#plan.scale * Math.LOG2E).toPrecision(9)}f;`,
      "",
    );
    this.#shared();
    for (const product of this.#wgmmas()) lines.add("", ...wgmmaFunction(product));
    lines.add("", ...this.#place(), "");
    this.#products();
    lines.add("");
    this.#kernel();
    const entry: Entry = {
      name: ENTRY,
      file: `${kernel.name}.${ARCHITECTURE}`,
      only: ARCHITECTURE,
      workgroupSize: threadsOf(this.#schedule),
      workgroups: [{ of: extentsOf(kernel.batch) }, { of: extentsOf(kernel.rows), by: this.#text.tileRows }],
      most: PROCESSORS,
      sharedBytes: sharedBytes(this.#schedule),
      maps: [...this.#maps.values()],
    };
    return { text: tidied(lines.text()), entry, scratch: this.#others };
  }

  #header(): string[] {
    const { kernel, shape } = this.#plan;
    const { width, columns, stages } = shape;
    const depth = depthOf(shape);
    const shapes = kernel.args.map((arg) => `${arg.access} ${arg.name}: ${arg.dtype}[${arg.shape.join(", ")}]`);
    return [
      `${kernel.name}: attention for the tensor cores of sm_90a`,
      ...kernel.from,
      ...shapes.map((text) => `  ${text}`),
      `Scores of ${depth} terms, values of ${width}: ${2 * (depth + width)} FLOP for each row and column that it sees.`,
      `Tiles of ${this.#text.tileRows} rows, blocks of ${columns} columns, ${stages} of them in shared memory.`,
    ];
  }

  #shared(): void {
    const { buffers, barriers } = this.#schedule;
    const lines = this.#lines;
    lines.add("// Tiles lie at multiples of 1024 bytes: the pattern of 128-byte swizzle repeats there.");
    lines.block(
      "struct alignas(1024) Shared",
      () => {
        for (const { name, bytes, each, holds } of buffers) {
          const of = name === "q" ? (each === undefined ? "" : `[${each}]`) : "[STAGES]";
          if (name === "ranges") lines.add(`int ${name}${of}[${bytes / 4}];  // ${holds}`);
          else lines.add(`unsigned char ${name}${of}[${bytes}];  // ${holds}`);
        }
        for (const { name, event } of barriers) lines.add(`Barrier ${name}[STAGES];  // ${event}`);
      },
      "};",
    );
    lines.add(
      `static_assert(sizeof(Shared) <= ${SHARED_BYTES}, "a block has ${SHARED_BYTES} bytes of shared memory");`,
    );
  }

  /** Elements of values that a consumer sums. */
  get #width(): number {
    const { width, halves } = this.#plan.shape;
    return halves ? width / 2 : width;
  }

  get #scoreProduct(): Wgmma {
    return { n: this.#plan.shape.columns, aTurned: false, bTurned: false };
  }

  get #valueProduct(): Wgmma {
    return { n: this.#width, aInRegisters: true, aTurned: false, bTurned: true };
  }

  #wgmmas(): Wgmma[] {
    return [this.#scoreProduct, this.#valueProduct];
  }

  /** The tile with a number: rows that see the most first, some heads at a time. */
  #place(): string[] {
    const { shape } = this.#plan;
    const elements = depthOf(shape) + shape.width;
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
      ...kernel.extents.map((extent) => `int ${extent}`),
      ...kernel.args.map(
        ({ name, dtype, access }) => `${access === "read" ? "const " : ""}${storageType(dtype)}* __restrict__ ${name}`,
      ),
      ...this.#others.map(({ dtype = "i32" }, i) => `${storageType(dtype)}* unused_${i}`),
      ...[...this.#maps.keys()].map((name) => `const __grid_constant__ CUtensorMap ${name}`),
    ];
    const lines = this.#lines;
    const head = `extern "C" __global__ void __launch_bounds__(${threadsOf(this.#schedule)}, 1) ${kernel.name}_${ENTRY}`;
    lines.block(signature(head, parameters), () => this.#body());
  }

  #body(): void {
    const lines = this.#lines;
    lines.add("Shared& shared = *reinterpret_cast<Shared*>(shared_memory());");
    lines.add("// The same in all threads of a warp, as the compiler sees by the shuffle.");
    lines.add("const int warpgroup = __shfl_sync(0xffffffffu, (int)threadIdx.x / 128, 0);");
    lines.add("const int thread = threadIdx.x % 128, warp = thread / 32, lane = thread % 32;");
    lines.add(
      `const int m_end = ${this.#text.rowCount}, heads = ${this.#text.headCount}, row_tiles = (m_end + ROWS - 1) / ROWS;`,
    );
    lines.block("if (threadIdx.x == 0)", () => {
      if (this.#maps.size > 0)
        lines.add(`${[...this.#maps.keys()].map((name) => `tma_prefetch(&${name})`).join(", ")};`);
      lines.block("for (int i = 0; i < STAGES; i++)", () => {
        for (const { name, arrivals } of this.#schedule.barriers)
          lines.add(`mbarrier_init(&shared.${name}[i], ${arrivals});`);
      });
      lines.add("mbarrier_init_fence();");
    });
    lines.add("__syncthreads();");
    this.#text.spans();
    const [producer, consumer] = this.#schedule.roles as [Role, Role];
    const steps = (role: Role): void => new SchedulePrinter(this.#schedule, role, lines, this.#hooks(role)).print();
    lines.block("if (warpgroup == 0)", () => {
      lines.add("// The producer fills the rings.", `registers_decrease<${producer.registers}>();`);
      this.#text.ranges();
      for (const { name } of this.#schedule.buffers)
        if (/^(k\d+|v)$/.test(name) && this.#columnRows(name).matrix === undefined)
          this.#text.gather(`gather_${name}`, this.#columnRows(name));
      if (producer.threads === "warp") lines.block("if (warp == 0)", () => steps(producer));
      else steps(producer);
    });
    lines.block("else", () => {
      const { halves } = this.#plan.shape;
      lines.add(
        halves ? "// Consumers have 64 rows, each a half of their values." : "// Consumers have 64 rows each.",
        `registers_increase<${consumer.registers}>();`,
      );
      lines.add("const int part = warpgroup - 1;");
      lines.add(
        "// Of a thread's first sum. Sum i lies i / 2 % 2 * 8 rows and i / 4 * 8 + i % 2 columns behind it.",
        "const int row = warp * 16 + lane / 4, column = lane % 4 * 2;",
        "float scores[COLUMNS / 2], sums[WIDTH / 2];",
        "unsigned weights[COLUMNS / 16][4];",
      );
      steps(consumer);
    });
  }

  #hooks(role: Role): Hooks {
    const lines = this.#lines;
    const text = this.#text;
    return {
      head: ({ counter }) =>
        counter === "tile" ? "for (int tile = blockIdx.x; tile < items; tile += gridDim.x)" : undefined,
      enter: ({ counter }) => {
        if (counter === "block") return;
        lines.add(`const Place at = place_of(tile, row_tiles, heads, ${text.columnCount});`);
        text.blocks();
        if (role.name === "consumer") text.rows();
      },
      load: (step, to, barrier) => this.#printLoad(step, to, barrier),
      gather: ({ buffer, holds }, to) =>
        buffer === "q" ? text.queries(to) : lines.add(`gather_${buffer}(${firstColumn(holds)}, at.head, ${to});`),
      multiply: (step) => this.#printMultiply(step),
      compute: (step) => this.#printCompute(step),
      store: () => {
        throw new Error("the copy engine stores nothing here");
      },
    };
  }

  #printLoad({ buffer, holds }: Step & { kind: "load" }, to: string, barrier: string): void {
    const rows = this.#columnRows(buffer);
    const map = this.#map(rows);
    const [d, batch] = rows.matrix!.batch === 0 ? ["2d", ""] : ["3d", ", at.head"];
    for (let x = 0; x < rows.along.extent; x += LINE) {
      const place = x === 0 ? to : `${to} + ${(x / LINE) * this.#plan.shape.columns * 128}`;
      this.#lines.add(`tma_load_${d}(${place}, &${map}, ${barrier}, ${x}, ${firstColumn(holds)}${batch});`);
    }
  }

  /** The keys or values that a buffer is for. */
  #columnRows(buffer: string): ColumnRows {
    const { terms, values } = this.#plan;
    return buffer === "v" ? values : terms[Number(buffer.slice(1))]!.keys;
  }

  /** Functions for the products of a block. */
  #products(): void {
    const { columns } = this.#plan.shape;
    this.#lines.add(
      "// Queries times keys: `depth` terms in lines of 64.",
      "DSK_INLINE void add_scores(float (&scores)[COLUMNS / 2], const unsigned char* queries, const unsigned char* keys, int depth, int adds) {",
      "  const Descriptor a = wgmma_descriptor(queries, 0, 1024), b = wgmma_descriptor(keys, 0, 1024);",
      "#pragma unroll",
      "  for (int k = 0; k < depth / 16; k++) {",
      `    const int queries_behind = k / 4 * ${ROWS * 128} + k % 4 * 32, keys_behind = k / 4 * ${columns * 128} + k % 4 * 32;`,
      `    ${wgmmaName(this.#scoreProduct)}(scores, wgmma_behind(a, queries_behind), wgmma_behind(b, keys_behind), adds || k > 0);`,
      "  }",
      "}",
      "",
      "// Weights times values.",
      "DSK_INLINE void add_values(float (&sums)[WIDTH / 2], const unsigned (&weights)[COLUMNS / 16][4], const unsigned char* values, int adds) {",
      `  const Descriptor b = wgmma_descriptor(values, ${columns * 128}, 1024);`,
      "#pragma unroll",
      "  for (int k = 0; k < COLUMNS / 16; k++)",
      `    ${wgmmaName(this.#valueProduct)}(sums, weights[k], wgmma_behind(b, k * 2048), adds || k > 0);`,
      "}",
    );
  }

  #printMultiply({ into, b }: Step & { kind: "multiply" }): void {
    const { parts } = this.#plan.shape;
    const { buffer, holds = "" } = b as { buffer: string; holds?: string };
    if (into === "sums") {
      const { columns, stages, halves } = this.#plan.shape;
      const adds = holds.includes("-1") ? "block > 1" : "blocks > 1";
      const values = halves
        ? `shared.k0[(key + ${stages - 1}) % STAGES] + part * ${columns * this.#width * 2}`
        : "shared.v[value]";
      return this.#lines.add(`add_values(sums, weights, ${values}, ${adds});`);
    }
    const term = Number(buffer.slice(1));
    const before = depthOf({ parts: parts.slice(0, term) }) * ROWS * 2;
    const queries = `${this.#text.queriesAt}${before === 0 ? "" : ` + ${before}`}`;
    this.#lines.add(
      `add_scores(scores, ${queries}, shared.${buffer}[key], ${parts[term]!.depth}, ${term === 0 ? 0 : 1});`,
    );
  }

  #printCompute(step: Step & { kind: "compute" }): void {
    const text = this.#text;
    switch (step.name) {
      case "ranges of columns":
        return text.rangesAt(firstColumn(written(step)));
      case "exponentials":
        return text.exponentials(firstColumn(written(step)));
      case "weights":
        return text.weights();
      case "rescale":
        return text.rescale();
      case "results":
        return text.stage();
      default:
        return text.store();
    }
  }
}

/** Of the block that a label names: `{block}` is the last one where a tile's last values are meant. */
function firstColumn(label: string): string {
  if (label.includes("{block-1}")) return "span.first + (block - 1) * COLUMNS";
  if (!label.includes("{block}")) return "span.first";
  return `span.first + ${label.startsWith("v[") ? "(blocks - 1)" : "block"} * COLUMNS`;
}

/** The label of the first thing that a step writes. */
function written({ writes = [] }: Step & { kind: "compute" }): string {
  return writes[0]!.holds;
}
