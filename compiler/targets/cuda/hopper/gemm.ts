/** Matrix products on the tensor cores of Hopper: a plan and its schedule as one file of CUDA C++. */
import type { Entry, Scratch } from "../../../../runtime/program/grids.ts";
import { Lines } from "../../../emit/lines.ts";
import type { Local } from "../../../kernel-ir/types.ts";
import { CUDA_DIALECT } from "../dialect.ts";
import { readable } from "../readable.ts";
import { requireSound } from "./check-schedule.ts";
import { Body } from "./gemm-body.ts";
import { Entries, numbered, type PartOf } from "./gemm-entries.ts";
import { Epilogue } from "./gemm-epilogue.ts";
import { headerOf } from "./gemm-header.ts";
import { Operands } from "./gemm-operands.ts";
import type { GemmPlan } from "./gemm-plan.ts";
import { Printing } from "./gemm-printing.ts";
import { rasterOf } from "./gemm-raster.ts";
import { gemmRuns, gemmSchedule } from "./gemm-schedule.ts";
import { ROWS } from "./gemm-shape.ts";
import { type Schedule, SHARED_BYTES, sharedBytes, threadsOf } from "./schedule.ts";
import { extentsOf } from "./tensor-maps.ts";
import { FEW_ROWS } from "./tiles.ts";

/** Blocks of a device: as many as it has multiprocessors. */
const PROCESSORS = 132;
/** What the file is compiled for: only this has its instructions. */
export const ARCHITECTURE = "sm_90a";

export interface HopperFile {
  readonly text: string;
  /** Its entry point; `file` is its name without `.cu`. */
  readonly entry: Entry;
  /** What all entry points of the kernel have in the arena. */
  readonly scratch: readonly Scratch[];
  /** Files of entry points that run before it, by their names without `.cu`. */
  readonly more?: ReadonlyMap<string, string>;
}

/**
 * @param others arrays in the arena that the kernel's other entry points have; they come first
 * @param part of which kernel it is a part, if it is one
 */
export function printHopperGemm(plan: GemmPlan, others: readonly Scratch[] = [], part?: PartOf): HopperFile {
  return new GemmPrinter(plan, others, part).print();
}

class GemmPrinter {
  readonly #plan: GemmPlan;
  readonly #schedule: Schedule;
  readonly #lines = new Lines();
  readonly #operands: Operands;
  readonly #entries: Entries;
  readonly #body: Body;
  readonly #part: PartOf | undefined;

  constructor(plan: GemmPlan, others: readonly Scratch[], part: PartOf | undefined) {
    this.#plan = plan;
    this.#part = part;
    const { kernel, shape } = plan;
    this.#schedule = gemmSchedule(shape);
    requireSound(this.#schedule, gemmRuns(shape));
    const products = kernel.products.map(({ name }): Local => ({ name, dtype: "f32", shape: [] }));
    const inputs = plan.inputs.map(({ name }): Local => ({ name, dtype: "f32", shape: [] }));
    const names = CUDA_DIALECT.names([...(part?.kernel ?? kernel).args, ...products, ...inputs]);
    const printing = new Printing(this.#lines, names, CUDA_DIALECT.language(kernel));
    const sorted = { order: names.local("order"), starts: names.local("starts") };
    this.#operands = new Operands(plan, names, sorted.order, others.length);
    const epilogue = new Epilogue(plan, printing, this.#operands, sorted.order);
    this.#entries = new Entries(plan, printing, others, sorted, part);
    this.#body = new Body(plan, this.#schedule, printing, this.#operands, epilogue, sorted, part);
  }

  /** What the file is called. */
  get #name(): string {
    return this.#part === undefined ? this.#plan.kernel.name : `${this.#part.kernel.name}, part ${this.#part.number}`;
  }

  print(): HopperFile {
    const { kernel, loops, tile, problem, parts } = this.#plan;
    const lines = this.#lines;
    lines.add(...headerOf(this.#plan, this.#name).map((line) => `// ${line}`.trimEnd()));
    const { groups } = kernel;
    const gathers = loops.some(({ a }) => a.gathered !== undefined);
    lines.add('#include "dsk_sm90.cuh"', ...(gathers ? ['#include "dsk_mma.cuh"'] : []));
    if (problem.codeBytes !== undefined) lines.add('#include "dsk_codes.cuh"');
    lines.add("");
    const tileM = tile.consumers * ROWS;
    const rows = parts === undefined ? `TILE_M = ${tileM}, ` : "";
    lines.add(`constexpr int ${rows}TILE_N = ${tile.tileN}, TILE_K = ${problem.depth}, STAGES = ${tile.stages};`);
    if (groups !== undefined) lines.add(`constexpr int GROUPS = ${groups.group.extent};`);
    if (parts !== undefined)
      lines.add(`constexpr int PARTS = ${parts}${parts === 1 ? "" : `, SHARE = ${tile.tileN / 8 / parts}`};`);
    lines.add("");
    this.#shared();
    for (const func of this.#operands.wgmmas()) lines.add("", ...func);
    lines.add("", ...rasterOf(this.#plan), "");
    this.#entries.printBefore();
    this.#kernel();
    const own = this.#part === undefined ? kernel.name : `${this.#part.kernel.name}_part_${this.#part.number}`;
    const file = `${own}${parts === undefined ? "" : "_few"}.${ARCHITECTURE}`;
    const grid = {
      file,
      workgroupSize: threadsOf(this.#schedule),
      workgroups: [
        { of: extentsOf(kernel.batch) },
        {
          of: extentsOf(kernel.m),
          by: tileM,
          ...(groups?.over === "m" ? { plus: (groups.group.extent as number) + 1 } : {}),
        },
        { of: extentsOf(kernel.n), by: tile.tileN },
        ...(parts === undefined || parts === 1 ? [] : [{ of: [parts] }]),
      ],
      // Blocks of few rows have a tile each.
      ...(parts === undefined ? { most: PROCESSORS } : {}),
      ...(parts === undefined || parts === 1 ? {} : { cluster: parts }),
      sharedBytes: sharedBytes(this.#schedule),
      maps: [...this.#operands.maps.values()],
    };
    const before = this.#entries.before(file);
    const entry: Entry = {
      name: numbered(parts === undefined ? ENTRY : FEW, this.#part),
      only: ARCHITECTURE,
      ...(parts === undefined ? {} : { upTo: { product: extentsOf(kernel.m), most: FEW_ROWS } }),
      ...grid,
      ...(before === undefined ? {} : { before }),
    };
    return { text: readable(lines.text()), entry, scratch: this.#entries.scratch() };
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

  #kernel(): void {
    const { parts = 1 } = this.#plan;
    const cluster = parts === 1 ? "" : `__cluster_dims__(${parts}, 1, 1) `;
    this.#entries.print(
      this.#plan.parts === undefined ? ENTRY : FEW,
      `${cluster}__launch_bounds__(${threadsOf(this.#schedule)}, 1)`,
      [...this.#operands.maps.keys()],
      () => this.#body.print(),
    );
  }
}

/** The entry point's name. */
const ENTRY = "tensor";
/** That for few rows. */
const FEW = "tensor_few";
