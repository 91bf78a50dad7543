/** Kernels of lists in CUDA files: what a block does is a function, which entry points for one list and for many call. */
import type { Entry } from "../../../runtime/program/grids.ts";
import { Lines } from "../../emit/lines.ts";
import { ELEMENT, listArgs } from "../../kernel-ir/lists.ts";
import type { SoloKernel } from "../../kernel-ir/types.ts";
import type { Frame, Main } from "../simt/frame.ts";
import {
  argParameter,
  bodyOf,
  entryHead,
  type File,
  fileText,
  parametersOf,
  scratchOf,
  scratchParameter,
  signature,
} from "./file.ts";
import { storageType } from "./language.ts";

/** Bytes of a kernel's parameters, before compute capability 7.0 and CUDA 12.1 (CUDA C++ Programming Guide, Function Parameters). */
const PARAMETER_BYTES = 4096;

export function fileOfLists(frame: Frame): File {
  const { mains, scratch } = frame;
  const kernel = frame.kernel as SoloKernel;
  const { own, common } = listArgs(kernel);
  const scratchParameters = scratch.map(scratchParameter);
  const pointers = common.length + scratch.length + 1;
  const most = Math.floor((PARAMETER_BYTES - 8 * (pointers + 2)) / (8 * (1 + own.length)));
  const entry = frame.entries.at(-1)!;
  const lines = new Lines();
  const alone = ["int items", "int items_before", ...parametersOf(kernel), ...scratchParameters];
  for (const main of mains) {
    const head = signature(entryHead(`${kernel.name}_${main.name}`, main.threads), alone);
    if (main.name !== entry.name && main.name !== entry.before?.name) {
      lines.add("");
      lines.block(head, () => lines.add(...bodyOf(frame, main)));
      continue;
    }
    const body = bodyOf(frame, main).map((line) => line.replaceAll("blockIdx.x", "block"));
    const given = ["int block", "int items_before", ...parametersOf(kernel), ...scratchParameters].filter((parameter) =>
      new RegExp(`(?<!\\.)\\b${nameOf(parameter)}\\b`).test(body.join("\n")),
    );
    const call = (block: string, before: string, elements: string, array = ""): string => {
      const values = given.map(nameOf).map((name) => {
        if (name === "block") return block;
        if (name === "items_before") return before;
        if (name === ELEMENT.extent) return elements;
        return scratchParameters.some((parameter) => nameOf(parameter) === name) ? `${name}${array}` : name;
      });
      return `run_${main.name}(${values.join(", ")});`;
    };
    lines.add("");
    lines.block(signature(`static __device__ __forceinline__ void run_${main.name}`, given), () => lines.add(...body));
    lines.add("");
    lines.block(head, () => lines.add(call("blockIdx.x", "items_before", String(ELEMENT.extent))));
    lines.add("");
    const shared = ["int items", "int items_before", ...common.map(argParameter), ...scratchParameters];
    const table = `const __grid_constant__ Lists<${own.length}, ${most}> lists`;
    const listsHead = entryHead(`${kernel.name}_${listsName(main)}`, main.threads);
    const names = given.map(nameOf);
    lines.block(signature(listsHead, [...shared, table]), () => {
      // Of entry points that run after others, a block has a list.
      const isAfter = entry.before !== undefined && main.name === entry.name;
      lines.add(`const int list = ${isAfter ? "blockIdx.x" : "lists.of(blockIdx.x)"};`);
      for (const [i, { name, dtype, access }] of own.entries()) {
        if (!names.includes(name)) continue;
        const type = `${access === "read" ? "const " : ""}${storageType(dtype)}`;
        lines.add(`${type}* const ${name} = lists.arg<${type}>(${i}, list);`);
      }
      const block = isAfter ? "0" : "blockIdx.x - lists.first[list]";
      lines.add(call(block, "lists.blocks(list)", "lists.elements[list]", " + lists.first[list]"));
    });
  }
  const renamed: Entry = {
    ...entry,
    name: listsName(entry),
    ...(entry.before === undefined ? {} : { before: { ...entry.before, name: listsName(entry.before) } }),
  };
  const described = frame.described();
  return {
    text: fileText(frame.header(), lines),
    kernel: {
      ...described,
      scratch: scratchOf([frame], described.scratch),
      lists: { entry: renamed, most, args: own.map(({ name }) => name) },
    },
  };
}

function listsName({ name }: Pick<Main, "name">): string {
  return `lists_${name}`;
}

function nameOf(parameter: string): string {
  return parameter.split(" ").at(-1)!;
}
