/** Kernels of one launch in one CUDA file, if it does not become too long: what the entry point of all parts runs are functions. */
import { Lines } from "../../emit/lines.ts";
import type { PartsKernel, SoloKernel } from "../../kernel-ir/types.ts";
import type { Dialect } from "../simt/dialect.ts";
import type { Frame, Main, Scratch } from "../simt/frame.ts";
import { ALL, partsOf } from "../simt/parts.ts";
import {
  bodyOf,
  entriesInFiles,
  entryHead,
  type Files,
  fileText,
  inFile,
  isReadable,
  parametersOf,
  scratchOf,
  scratchParameter,
  signature,
} from "./file.ts";

/** All parts in one file, or where that becomes too long, each in a file of its own. */
export function printParts(kernel: PartsKernel, dialectOf: (part: SoloKernel) => Dialect): Files {
  const parts = partsOf(dialectOf, kernel);
  const { frames, header } = parts;
  const table = { ...parts.kernel, scratch: scratchOf(frames, parts.kernel.scratch) };
  const parameters = [
    ...frames.flatMap((_, i) => [`int items_${i + 1}`, `int items_before_${i + 1}`]),
    ...parametersOf(kernel),
    ...frames.flatMap((frame, i) => frame.scratch.map((array) => scratchParameter(numbered(array, i + 1)))),
  ];
  const entriesOf = (i: number, hasFunction: boolean): [name: string, text: Lines][] => {
    const frame = frames[i]!;
    return frame.mains.map((main) => {
      const lines = new Lines();
      const calls = hasFunction && isFirst(frame, main);
      const name = `${main.name}_${i + 1}`;
      lines.add("");
      lines.block(signature(entryHead(`${kernel.name}_${name}`, main.threads), parameters), () =>
        lines.add(...(calls ? [call(frame, main.name, i + 1, "blockIdx.x")] : ownBody(frame, main, i + 1))),
      );
      return [name, lines];
    });
  };
  const atOnce = parts.atOnce !== undefined;
  const all = new Lines();
  const functions = new Lines();
  for (const [i, frame] of frames.entries()) {
    if (atOnce) for (const lines of [all, functions]) printFunction(lines, frame, i + 1);
    for (const [, text] of entriesOf(i, atOnce)) all.add(...text.text().trimEnd().split("\n"));
  }
  if (atOnce) for (const lines of [all, functions]) printAll(lines, kernel, frames, parameters);
  const whole = fileText(header, all);
  if (isReadable(whole)) return { texts: new Map([[kernel.name, whole]]), kernel: table };

  const texts = new Map<string, string>();
  const together = fileText(header, functions);
  // What is too long even so is launched part by part.
  const stays = atOnce && isReadable(together);
  if (stays) texts.set(kernel.name, together);
  const entries = table.parts!.map((part, i) => {
    const file = `${kernel.name}_part_${i + 1}`;
    const [first, ...rest] = frames[i]!.header();
    const own = [`${kernel.name}, part ${i + 1}: ${first!.replace(/^.*: /, "")}`, ...rest];
    const files = entriesInFiles(file, own, entriesOf(i, false));
    for (const [name, text] of files.texts) texts.set(name, text);
    return part.map((entry) => files.place(inFile(entry, () => file)));
  });
  return { texts, kernel: { ...table, entries: stays ? table.entries : [], parts: entries } };
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
