/** The CUDA target: kernels as CUDA C++ files, what they share, and what a runtime has to know about them. */
import type { Entry, Scratch, SimtKernel, SimtKernels } from "../../../runtime/program/grids.ts";
import { fixed } from "../../emit/templates.ts";
import type { GemmKernel, Kernel, PartsKernel, SoloKernel } from "../../kernel-ir/types.ts";
import type { Dialect } from "../simt/dialect.ts";
import { printSolo } from "../simt/print.ts";
import { withoutReserved } from "../reserved.ts";
import { CUDA_DIALECT } from "./dialect.ts";
import { fewRowsOf, isLonely, SOME_ROWS } from "./few-rows.ts";
import { type File, filesOf } from "./file.ts";
import { fileOfLists } from "./lists.ts";
import { printParts } from "./parts.ts";
import { printHopperAttention } from "./hopper/attention.ts";
import { planAttention } from "./hopper/attention-plan.ts";
import { printHopperBackward } from "./hopper/backward.ts";
import { planBackward } from "./hopper/backward-plan.ts";
import { type HopperFile, printHopperGemm } from "./hopper/gemm.ts";
import type { PartOf } from "./hopper/gemm-entries.ts";
import { type GemmPlan, planFew, planGemm } from "./hopper/gemm-plan.ts";
import { thirdsOf } from "./hopper/gemm-thirds.ts";
import { ATTENTION_RESERVED, HOPPER_RESERVED } from "./hopper/reserved.ts";
import { MMA_TILES, multipliesBf16 } from "./mma-tiles.ts";
import { RESERVED } from "./reserved.ts";

/** Headers that kernels include. */
export const PRELUDES = ["dsk.cuh", "dsk_codes.cuh", "dsk_few.cuh", "dsk_select.cuh", "dsk_mma.cuh", "dsk_sm90.cuh"];

/**
 * Files by name: one for each kernel, another one for what only Hopper can run, the headers and `cuda.json`.
 * @param more kernels that the runtime has of its own
 */
export function printCuda(kernels: readonly Kernel[], more: readonly File[] = []): Map<string, string> {
  const own = more.map(({ text, kernel }): Printed => ({ texts: new Map([[kernel.name, text]]), kernel }));
  const printed = [...kernels.map((kernel) => printKernel(withoutReserved(kernel, reservedFor(kernel)))), ...own];
  const table: SimtKernels = { format: 1, kernels: printed.map(({ kernel }) => kernel) };
  return new Map([
    ...printed.flatMap(({ texts }) => [...texts].map(([name, text]) => [`${name}.cu`, text] as const)),
    ...PRELUDES.map((name) => [name, fixed(`cuda/${name}`)] as const),
    ["cuda.json", `${JSON.stringify(table, undefined, 2)}\n`] as const,
  ]);
}

function reservedFor(kernel: Kernel): ReadonlySet<string> {
  const sorts = kernel.family === "serial" && kernel.body.some(({ kind }) => kind === "sort");
  if (kernel.family === "gemm" || sorts) return HOPPER_RESERVED;
  return kernel.family === "plane" ? ATTENTION_RESERVED : RESERVED;
}

function dialectOf(kernel: Kernel): Dialect {
  return multipliesBf16(kernel) ? { ...CUDA_DIALECT, tiles: MMA_TILES } : CUDA_DIALECT;
}

interface Printed {
  readonly texts: ReadonlyMap<string, string>;
  readonly kernel: SimtKernel;
}

function printKernel(kernel: Kernel): Printed {
  if (kernel.family === "parts") return printAllParts(kernel);
  const { name } = kernel;
  const frame = printSolo(dialectOf(kernel), kernel);
  const file = frame.takesLists ? fileOfLists(frame) : filesOf(frame);
  const texts = new Map("text" in file ? [[name, file.text]] : file.texts);
  const hopper = printHopper(kernel, file.kernel.scratch);
  if (hopper === undefined) return { texts, kernel: file.kernel };
  addTexts(texts, hopper);
  const [lines] = kernel.family === "gemm" ? fewRowsOf(kernel) : [];
  // The fewest rows are read in lines, unless few blocks would do all of that.
  const isFirst =
    lines === undefined || (hopper.few !== undefined && !hopper.codes && isLonely(kernel as GemmKernel, lines));
  const entries = withHopper(file.kernel.entries, hopper, isFirst ? 0 : 1);
  return { texts, kernel: { ...file.kernel, entries, scratch: hopper.many.scratch } };
}

/** Parts that are products of dense weights have what such a product has by itself; none of them has arrays of its own in the arena. */
function printAllParts(given: PartsKernel): Printed {
  const kernel = withoutReserved(given, HOPPER_RESERVED);
  const plans = kernel.parts.map((part) => planPart(part));
  if (plans.every((plan) => plan === undefined)) return printParts(given, dialectOf);
  const printed = printParts(kernel, dialectOf);
  const texts = new Map(printed.texts);
  const parts = printed.kernel.parts!.map((entries, i): readonly Entry[] => {
    const plan = plans[i];
    if (plan === undefined) return entries;
    const hopper = printPlanned(plan, printed.kernel.scratch, { kernel, number: i + 1 });
    addTexts(texts, hopper);
    // All parts run at once where each takes its first entry point.
    return withHopper(entries, hopper, entries[0]!.upTo === undefined ? 0 : 1);
  });
  return { texts, kernel: { ...printed.kernel, parts } };
}

function planPart(part: SoloKernel): GemmPlan | undefined {
  const plan = part.family === "gemm" && part.groups === undefined ? planGemm(part) : undefined;
  return plan === undefined || "why" in plan || thirdsOf(plan).length > 0 ? undefined : plan;
}

function addTexts(texts: Map<string, string>, { few, many }: Hopper): void {
  for (const { entry, text, more = [] } of few === undefined ? [many] : [few, many]) {
    texts.set(entry.file!, text);
    for (const [file, other] of more) texts.set(file, other);
  }
}

/**
 * Entry points with Hopper's among them.
 * @param fewest how many of them come first in any case
 */
function withHopper(entries: readonly Entry[], { few, many, codes }: Hopper, fewest: number): Entry[] {
  const more = entries.findIndex(({ upTo }) => upTo === undefined);
  // For more of them tiles are better (64 by 1536 by 24576 on an H200: 32 us, in lines 99 us), but of codes, which are multiplied as they lie there.
  const isSome = ({ name }: Entry): boolean => name.replace(/_\d+$/, "") === SOME_ROWS;
  const behind = codes ? [] : entries.slice(fewest, more).filter(isSome);
  const before = entries.slice(fewest, more).filter((entry) => !behind.includes(entry));
  return [
    ...entries.slice(0, fewest),
    ...(few === undefined || codes ? [] : [few.entry]),
    ...before,
    ...(few !== undefined && codes ? [few.entry] : []),
    many.entry,
    ...behind,
    ...entries.slice(more),
  ];
}

interface Hopper {
  /** Of a product, for few rows. */
  readonly few?: HopperFile;
  readonly many: HopperFile;
  /** Whether its weights are stored as codes. */
  readonly codes: boolean;
}

/** What only Hopper can run, where a kernel is of a kind that its tensor cores take. */
function printHopper(kernel: Kernel, scratch: readonly Scratch[]): Hopper | undefined {
  if (kernel.family === "plane") {
    const plan = planAttention(kernel);
    if (!("why" in plan)) return { many: printHopperAttention(plan, scratch), codes: false };
    const backward = planBackward(kernel);
    return "why" in backward ? undefined : { many: printHopperBackward(backward, scratch), codes: false };
  }
  const plan = kernel.family === "gemm" ? planGemm(kernel) : undefined;
  return plan === undefined || "why" in plan ? undefined : printPlanned(plan, scratch);
}

function printPlanned(plan: GemmPlan, scratch: readonly Scratch[], part?: PartOf): Hopper {
  const fewPlan = planFew(plan);
  const codes = plan.problem.codeBytes !== undefined;
  if (fewPlan === undefined) return { many: printHopperGemm(plan, scratch, part), codes };
  const few = printHopperGemm(fewPlan, scratch, part);
  return { few, many: printHopperGemm(plan, few.scratch, part), codes };
}
