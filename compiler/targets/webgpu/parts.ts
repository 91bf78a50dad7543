/** Kernels of one launch in one WGSL file. */
import type { Entry } from "../../../runtime/program/grids.ts";
import { Lines } from "../../emit/lines.ts";
import type { PartsKernel } from "../../kernel-ir/types.ts";
import { ALL, partsOf } from "../simt/parts.ts";
import { WGSL_DIALECT } from "./dialect.ts";
import { type File, fileText, mainHead, type Pieces, piecesOf } from "./file.ts";

export function printParts(kernel: PartsKernel): File {
  const { frames, atOnce, header, kernel: table } = partsOf(() => WGSL_DIALECT, kernel);
  const parts = frames.map((frame, i) => numbered(piecesOf(frame), i + 1));
  const lines = new Lines();
  for (const { functions, mains } of parts) {
    for (const text of functions) lines.add(...text.split("\n"), "");
    for (const main of mains) printMain(lines, main);
  }
  if (atOnce !== undefined) printAll(lines, atOnce);
  const members = [
    ...parts.flatMap((_, i) => [
      `items_${i + 1}: i32, // what part ${i + 1} has to do, one for a workgroup at a time`,
      `items_before_${i + 1}: i32, // the same of its entry point that runs before`,
    ]),
    ...kernel.extents.map((extent) => `${extent}: i32,`),
    ...[...table.args, ...parts.flatMap(({ scratch }) => scratch)].map((name) => `${name}: i32, // its first word`),
  ];
  const memory = parts.flatMap((part) => part.memory);
  const accessors = [...new Set(parts.flatMap((part) => part.accessors))];
  return {
    text: fileText({ header, memory, accessors, members, args: table.args, body: lines.text() }),
    kernel: table,
  };
}

/** An entry point of one part: what `ALL` runs has to be a function. */
function printMain(lines: Lines, { name, threads, body }: Pieces["mains"][number]): void {
  lines.block(`fn run_${name}(group: vec3<u32>, groups: vec3<u32>, index: u32)`, () =>
    lines.add(...body.trimEnd().split("\n")),
  );
  const [first, last] = mainHead(name, threads);
  lines.add("", ...first);
  lines.block(last, () => lines.add(`run_${name}(group, groups, index);`));
  lines.add("");
}

function printAll(lines: Lines, entries: readonly Entry[]): void {
  const [first, last] = mainHead(ALL, entries[0]!.workgroupSize);
  lines.add(...first);
  lines.block(last, () => {
    lines.add("var item = i32(group.y * groups.x + group.x);");
    for (const [i, { name }] of entries.entries()) {
      const items = `launch.items_${i + 1}`;
      lines.block(`if (item < ${items})`, () =>
        lines.add(`run_${name}(vec3<u32>(u32(item), 0u, 0u), vec3<u32>(u32(${items}), 1u, 1u), index);`, "return;"),
      );
      lines.add(`item -= ${items};`);
    }
  });
}

/** What a part brings, with the part's number behind every name that is its own. */
function numbered({ header, memory, scratch, accessors, functions, mains }: Pieces, number: number): Pieces {
  const declared = [...memory, ...functions].flatMap((text) =>
    [...text.matchAll(/^(?:fn|var<\w+>) (\w+)/gm)].map(([, name]) => name!),
  );
  const arrays = scratch.flatMap((name) => [name, `load_${name}`, `store_${name}`]);
  const names = new Set([...declared, ...arrays, ...mains.map(({ name }) => name)]);
  const own = (text: string): string =>
    text
      .replaceAll(/\blaunch\.items(_before)?\b/g, `$&_${number}`)
      .replaceAll(/\b[A-Za-z_]\w*\b/g, (word) => (names.has(word) ? `${word}_${number}` : word));
  return {
    header,
    memory: memory.map(own),
    scratch: scratch.map(own),
    accessors: accessors.map(own),
    functions: functions.map(own),
    mains: mains.map(({ name, threads, body }) => ({ name: own(name), threads, body: own(body) })),
  };
}
