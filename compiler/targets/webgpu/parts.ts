/**
 * Kernels of one launch: the first workgroups are those of the first one. Where all of them take their first entry point, which is
 * that for few rows, and these have workgroups of one size, one entry point runs them; else each is dispatched on its own.
 */
import type { Entry } from "../../../runtime/program/grids.ts";
import { Lines } from "../../emit/lines.ts";
import type { PartsKernel, SoloKernel } from "../../kernel-ir/types.ts";
import { type File, fileText, mainHead, type Pieces } from "./frame.ts";

/** The entry point of all parts. */
const ALL = "all_parts";

/** @param print prints a kernel as a file */
export function printParts(kernel: PartsKernel, print: (kernel: SoloKernel) => File): File {
  const { name, extents } = kernel;
  const files = kernel.parts.map(print);
  const parts = files.map(({ pieces }, i) => numbered(pieces, i + 1));
  const entries = files.map((file, i) => file.kernel.entries.map((entry) => withNumber(entry, i + 1)));
  const firsts = entries.map(([first]) => first!);
  const [{ workgroupSize }] = firsts as [Entry];
  const atOnce = firsts.every((first) => first.workgroupSize === workgroupSize && isPlain(first));
  const lines = new Lines();
  for (const { functions, mains } of parts) {
    for (const text of functions) lines.add(...text.split("\n"), "");
    for (const main of mains) printMain(lines, main);
  }
  if (atOnce) printAll(lines, entries);
  const pieces: Pieces = {
    header: [`${name}: ${parts.length} kernels in one launch`, ...parts.flatMap(({ header }) => header)],
    memory: parts.flatMap(({ memory }) => memory),
    scratch: parts.flatMap(({ scratch }) => scratch),
    accessors: [...new Set(parts.flatMap(({ accessors }) => accessors))],
    functions: [],
    mains: [],
  };
  const args = kernel.args.map((arg) => arg.name);
  const members = [
    ...parts.flatMap((_, i) => [
      `items_${i + 1}: i32, // what part ${i + 1} has to do, one for a workgroup at a time`,
      `items_before_${i + 1}: i32, // the same of its entry point that runs before`,
    ]),
    ...extents.map((extent) => `${extent}: i32,`),
    ...[...args, ...pieces.scratch].map((store) => `${store}: i32, // its first word`),
  ];
  return {
    text: fileText({ ...pieces, members, args, body: lines.text() }),
    pieces,
    kernel: {
      name,
      args,
      writes: kernel.args.filter(({ access }) => access !== "read").map((arg) => arg.name),
      extents,
      scratch: files.flatMap((file, part) => file.kernel.scratch.map((own) => ({ ...own, part }))),
      entries: atOnce ? [{ name: ALL, workgroupSize, workgroups: [] }] : [],
      parts: entries,
    },
  };
}

/** An entry point of one part: what `ALL` runs has to be a function. */
function printMain(lines: Lines, { name, threads, body }: Pieces["mains"][number]): void {
  lines.block(`fn run_${name}(group: vec3<u32>, groups: vec3<u32>, index: u32)`, () =>
    lines.add(
      ...body
        .trimEnd()
        .split("\n")
        .map((line) => line.replace(/^ {2}/, "")),
    ),
  );
  const [first, last] = mainHead(name, threads);
  lines.add("", ...first);
  lines.block(last, () => lines.add(`run_${name}(group, groups, index);`));
  lines.add("");
}

function printAll(lines: Lines, entries: readonly (readonly Entry[])[]): void {
  const [first, last] = mainHead(ALL, entries[0]![0]!.workgroupSize);
  lines.add(...first);
  lines.block(last, () => {
    lines.add("var item = i32(group.y * groups.x + group.x);");
    for (const [i, [entry]] of entries.entries()) {
      const items = `launch.items_${i + 1}`;
      lines.block(`if (item < ${items})`, () =>
        lines.add(
          `run_${entry!.name}(vec3<u32>(u32(item), 0u, 0u), vec3<u32>(u32(${items}), 1u, 1u), index);`,
          "return;",
        ),
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

function withNumber(entry: Entry, number: number): Entry {
  const { name, before } = entry;
  return {
    ...entry,
    name: `${name}_${number}`,
    ...(before === undefined ? {} : { before: { ...before, name: `${before.name}_${number}` } }),
  };
}

/** Every workgroup has one item, and nothing runs before. */
function isPlain({ before, most }: Entry): boolean {
  return before === undefined && most === undefined;
}
