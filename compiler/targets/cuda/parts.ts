/** Kernels of one launch in one CUDA file, if it does not become too long: what the entry point of all parts runs are functions. */
import type { SimtKernel } from "../../../runtime/program/grids.ts";
import { Lines } from "../../emit/lines.ts";
import type { PartsKernel } from "../../kernel-ir/types.ts";
import type { Frame, Main, Scratch } from "../simt/frame.ts";
import { ALL, partsOf } from "../simt/parts.ts";
import { CUDA_DIALECT } from "./dialect.ts";
import { bodyOf, entryHead, fileText, parametersOf, scratchOf, scratchParameter, signature } from "./file.ts";

/** Lines of a file that can still be read: where all parts have more together, each has a file of its own. */
const LINES = 400;

export function printParts(kernel: PartsKernel): {
  readonly texts: ReadonlyMap<string, string>;
  readonly kernel: SimtKernel;
} {
  const parts = partsOf(CUDA_DIALECT, kernel);
  const { frames, atOnce, header } = parts;
  const table = { ...parts.kernel, scratch: scratchOf(frames, parts.kernel.scratch) };
  const parameters = [
    ...frames.flatMap((_, i) => [`int items_${i + 1}`, `int items_before_${i + 1}`]),
    ...parametersOf(kernel),
    ...frames.flatMap((frame, i) => frame.scratch.map((array) => scratchParameter(numbered(array, i + 1)))),
  ];
  const printEntries = (lines: Lines, i: number, hasFunction: boolean): void => {
    const frame = frames[i]!;
    for (const main of frame.mains) {
      const calls = hasFunction && isFirst(frame, main);
      const head = entryHead(`${kernel.name}_${main.name}_${i + 1}`, main.threads);
      lines.add("");
      lines.block(signature(head, parameters), () =>
        lines.add(...(calls ? [call(frame, main.name, i + 1, "blockIdx.x")] : ownBody(frame, main, i + 1))),
      );
    }
  };
  const lines = new Lines();
  for (const [i, frame] of frames.entries()) {
    if (atOnce !== undefined) printFunction(lines, frame, i + 1);
    printEntries(lines, i, atOnce !== undefined);
  }
  if (atOnce !== undefined) printAll(lines, kernel, frames, parameters);
  const whole = fileText(header, lines);
  if (whole.split("\n").length - 1 <= LINES) return { texts: new Map([[kernel.name, whole]]), kernel: table };

  const texts = new Map<string, string>();
  if (atOnce !== undefined) {
    const all = new Lines();
    for (const [i, frame] of frames.entries()) printFunction(all, frame, i + 1);
    printAll(all, kernel, frames, parameters);
    texts.set(kernel.name, fileText(header, all));
  }
  const fileOfPart = (i: number): string => `${kernel.name}_part_${i + 1}`;
  for (const [i, frame] of frames.entries()) {
    const own = new Lines();
    printEntries(own, i, false);
    const [first, ...rest] = frame.header();
    texts.set(fileOfPart(i), fileText([`${kernel.name}, part ${i + 1}: ${first!.replace(/^.*: /, "")}`, ...rest], own));
  }
  const entries = table.parts!.map((part, i) =>
    part.map((entry) => {
      const file = fileOfPart(i);
      return { ...entry, file, ...(entry.before === undefined ? {} : { before: { ...entry.before, file } }) };
    }),
  );
  return { texts, kernel: { ...table, parts: entries } };
}

function isFirst({ entries }: Frame, { name }: Main): boolean {
  return name === entries[0]!.name;
}

/** The entry point that runs the first one of each part. */
function printAll(lines: Lines, { name }: PartsKernel, frames: readonly Frame[], parameters: readonly string[]): void {
  const { workgroupSize } = frames[0]!.entries[0]!;
  lines.add("");
  lines.block(signature(entryHead(`${name}_${ALL}`, workgroupSize), parameters), () => {
    lines.add("int block = blockIdx.x;");
    for (const [i, frame] of frames.entries()) {
      const run = call(frame, frame.entries[0]!.name, i + 1, "block");
      if (i + 1 === frames.length) return lines.add(run);
      lines.block(`if (block < items_${i + 1})`, () => lines.add(run, "return;"));
      lines.add(`block -= items_${i + 1};`);
    }
  });
}

/** What an entry point of one part does. */
function ownBody(frame: Frame, main: Main, number: number): string[] {
  const lines = bodyOf(frame, main).map((line) => line.replaceAll(/\bitems(_before)?\b/g, `$&_${number}`));
  const text = lines.join("\n");
  const arrays = frame.scratch.filter(({ name }) => new RegExp(`\\b${name}`).test(text));
  // In a part, its arrays have their own names.
  const named = arrays.map(
    (array) => `${scratchParameter(array)} = ${lastWord(scratchParameter(numbered(array, number)))};`,
  );
  return [...named, ...lines];
}

function lastWord(text: string): string {
  return text.split(" ").at(-1)!;
}

/** What the first entry point of a part does, for the block of a number. */
function printFunction(lines: Lines, frame: Frame, number: number): void {
  const main = frame.mains.find((one) => isFirst(frame, one))!;
  const parameters = ["int block", "int items", "int items_before", ...parametersOf(frame.kernel)];
  const head = `static __device__ __forceinline__ void run_${main.name}_${number}`;
  lines.add("");
  lines.block(signature(head, [...parameters, ...frame.scratch.map(scratchParameter)]), () =>
    lines.add(...bodyOf(frame, main).map((line) => line.replaceAll("blockIdx.x", "block"))),
  );
}

function call({ kernel, scratch }: Frame, main: string, number: number, block: string): string {
  const args = [...kernel.extents, ...kernel.args.map(({ name }) => name)];
  const arrays = scratch.map((array) => lastWord(scratchParameter(numbered(array, number))));
  return `run_${main}_${number}(${[block, `items_${number}`, `items_before_${number}`, ...args, ...arrays].join(", ")});`;
}

/** The array under a name that those of other parts don't have. */
function numbered(array: Scratch, number: number): Scratch {
  return { ...array, name: `${array.name}_${number}` };
}
