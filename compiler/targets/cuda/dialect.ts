/** CUDA C++: what all kernels of blocks of threads are printed with. */
import { type Ranges, widened } from "../../kernel-ir/expr.ts";
import type { Axis, Kernel, Reduction, ScalarType, SoloKernel } from "../../kernel-ir/types.ts";
import { sizeOfWord } from "../reserved.ts";
import { Names } from "../scalars.ts";
import type { Dialect, Part, Team } from "../simt/dialect.ts";
import type { Frame } from "../simt/frame.ts";
import { fewRowsOf } from "./few-rows.ts";
import { cudaLanguage, far, folded, isNear, NEIGHBOR, NEIGHBORS, storageType, stored, valueType } from "./language.ts";
import { printCodes, printTiles } from "./rows/codes.ts";
import { printElementwise } from "./rows/elementwise.ts";
import { ordersByBlock, printOrder } from "./rows/order.ts";
import { printScatter } from "./rows/scatters.ts";
import { printSortedRows } from "./rows/sorted-rows.ts";
import { printTotals } from "./rows/totals.ts";
import { printWide } from "./rows/wide.ts";
import { TILES } from "./tiles.ts";

/** Threads of a warp. */
const WARP = 32;

export const CUDA_DIALECT: Dialect = {
  special,
  language: (kernel) => cudaLanguage(rangesOf(kernel)),
  names: (stores) => new Names(stores, (index, stride, end) => `${isNear(end) ? index : far(index)} * ${stride}`),
  threads: { spread: 512, row: rowThreads, serial: 512, few: 256, plane: 128, planeRow: WARP },
  // Of the 48 KiB that a block has without asking for more; the rest is for reductions.
  sharedWords: (kernel, part) => Math.floor((ordersByBlock(kernel) ? 4096 : 11_264) / (part?.parts ?? 1)),

  warp: WARP,
  type: valueType,
  wide: widened,
  fold: (reduction, dtype, a, b) => folded(reduction, valueType(dtype), a, b),
  together,
  select: (condition, yes, no) => `(${condition} ? ${yes} : ${no})`,
  order: printOrder,
  sort: printSortedRows,
  before: (_dtype, x, i, y, j) => `comes_before(${x}, ${i}, ${y}, ${j})`,
  count: (name, condition) => `${name} += ${condition};`,

  variable: (name, dtype, value) => `${valueType(dtype)} ${name}${value === undefined ? "" : ` = ${value}`};`,
  array: (name, dtype, size) => `${storageType(dtype)} ${name}[${size}];`,
  shared: (name, dtype, size, isRow = false) =>
    `__shared__ ${isRow && size >= 128 ? "__align__(16) " : ""}${storageType(dtype)} ${name}[${size}];`,
  loop: (i, from, to, step) =>
    `for (int ${i} = ${from}; ${i} < ${to}; ${i}${step === undefined ? "++" : ` += ${step}`})`,
  longLoop: (i, from, to, step) => `for (long long ${i} = ${from}; ${i} < ${far(to)}; ${i} += ${step})`,
  loopDown: (i, size) => `for (int ${i} = ${size} - 1; ${i} >= 0; ${i}--)`,
  barrier: () => ["__syncthreads();"],
  teamBarrier: ({ threads }) => [threads <= WARP ? "__syncwarp();" : "__syncthreads();"],
  store: ({ name, dtype }, offset, value) => `${name}[${offset}] = ${stored(dtype, value)};`,
  // What all threads find in memory they find for themselves.
  uniform: (_frame, _shared, _name, compute) => compute(),

  thread: "threadIdx.x",
  group: "blockIdx.x",
  groups: "gridDim.x",
  item: "blockIdx.x",
  given: (name) => name,
  opening: () => [],
  own: () => [],

  tiles: TILES,
  fewRows: fewRowsOf,
};

/** What has a printer of its own; of parts of a launch, wide rows. */
function special(kernel: SoloKernel, part?: Part): Frame | undefined {
  if (part !== undefined) return kernel.family === "rows" ? printWide(CUDA_DIALECT, kernel, part) : undefined;
  switch (kernel.family) {
    case "serial":
      return printScatter(CUDA_DIALECT, kernel);
    case "columns":
      return printTotals(CUDA_DIALECT, kernel) ?? printTiles(CUDA_DIALECT, kernel);
    case "rows":
      return (
        printCodes(CUDA_DIALECT, kernel) ?? printElementwise(CUDA_DIALECT, kernel) ?? printWide(CUDA_DIALECT, kernel)
      );
    default:
      return undefined;
  }
}

/** Wide rows have more threads. Parts of a launch are blocks of one size, that of few rows of products. */
function rowThreads(work: number, part?: object): number {
  if (part !== undefined) return 256;
  return work <= 64 ? WARP : work <= 512 ? 64 : work <= 2048 ? 128 : work <= 16_384 ? 256 : 512;
}

const REDUCTIONS: Readonly<Record<Reduction, string>> = { sum: "Sum", max: "Max", min: "Min" };

/** By shuffles inside of a warp, and by shared memory between warps. */
function together(_frame: Frame, reduction: Reduction, _dtype: ScalarType, value: string, { threads }: Team): string {
  const over = threads <= WARP ? "over_lanes" : "over_block";
  return `${over}<${REDUCTIONS[reduction]}, ${threads}>(${value})`;
}

/** How far axes of a kernel run, where it says so. */
function rangesOf(kernel: Kernel): Ranges {
  const ranges = new Map([[NEIGHBOR, NEIGHBORS]]);
  const visit = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    if ("name" in value && "extent" in value) {
      const { name, extent } = value as Axis;
      // A run-time dim is an int, and so is what follows from it.
      ranges.set(name, typeof extent === "number" ? extent : Math.min(2 ** 31, sizeOfWord(extent, 2 ** 31)));
    } else for (const inner of Object.values(value)) visit(inner);
  };
  visit(kernel);
  return (axis) => ranges.get(axis);
}
