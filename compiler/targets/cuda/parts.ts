/** Kernels of one launch in one CUDA file: what the entry point of all parts runs are functions. */
import { Lines } from "../../emit/lines.ts";
import type { PartsKernel } from "../../kernel-ir/types.ts";
import type { Frame, Main, Scratch } from "../simt/frame.ts";
import { ALL, partsOf } from "../simt/parts.ts";
import { CUDA_DIALECT } from "./dialect.ts";
import {
  bodyOf,
  entryHead,
  type File,
  fileText,
  parametersOf,
  scratchOf,
  scratchParameter,
  signature,
} from "./file.ts";

export function printParts(kernel: PartsKernel): File {
  const { frames, atOnce, header, kernel: table } = partsOf(CUDA_DIALECT, kernel);
  const lines = new Lines();
  const parameters = [
    ...frames.flatMap((_, i) => [`int items_${i + 1}`, `int items_before_${i + 1}`]),
    ...parametersOf(kernel),
    ...frames.flatMap((frame, i) => frame.scratch.map((array) => scratchParameter(numbered(array, i + 1)))),
  ];
  for (const [i, frame] of frames.entries()) {
    for (const main of frame.mains) {
      const shared = atOnce !== undefined && main.name === frame.entries[0]!.name;
      if (shared) printFunction(lines, frame, main, i + 1);
      const head = entryHead(`${kernel.name}_${main.name}_${i + 1}`, main.threads);
      lines.add("");
      lines.block(signature(head, parameters), () =>
        lines.add(...(shared ? [call(frame, main.name, i + 1, "blockIdx.x")] : ownBody(frame, main, i + 1))),
      );
    }
  }
  if (atOnce !== undefined) {
    lines.add("");
    lines.block(signature(entryHead(`${kernel.name}_${ALL}`, atOnce[0]!.workgroupSize), parameters), () => {
      lines.add("int block = blockIdx.x;");
      for (const [i, frame] of frames.entries()) {
        const run = call(frame, frame.entries[0]!.name, i + 1, "block");
        if (i + 1 === frames.length) return lines.add(run);
        lines.block(`if (block < items_${i + 1})`, () => lines.add(run, "return;"));
        lines.add(`block -= items_${i + 1};`);
      }
    });
  }
  return { text: fileText(header, lines), kernel: { ...table, scratch: scratchOf(frames, table.scratch) } };
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

/** What a part does, for the block of a number. */
function printFunction(lines: Lines, frame: Frame, main: Main, number: number): void {
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
