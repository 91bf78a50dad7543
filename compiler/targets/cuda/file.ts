/** Kernels as CUDA files: entry points with all that they need, so that one can be read by itself. */
import type { Entry, Scratch as ScratchTable, SimtKernel } from "../../../runtime/program/grids.ts";
import type { StorageType } from "../../../runtime/program/launch.ts";
import { Lines } from "../../emit/lines.ts";
import type { Arg, Kernel } from "../../kernel-ir/types.ts";
import type { Frame, Func, Main, Scratch } from "../simt/frame.ts";
import { storageType, valueType } from "./language.ts";
import { WIDTH } from "./readable.ts";
import { tidied } from "./tidy.ts";

/** A kernel as CUDA C++, and what a runtime has to know about it. */
export interface File {
  readonly text: string;
  readonly kernel: SimtKernel;
}

/** Files of a kernel by name, without `.cu`. */
export interface Files {
  readonly texts: ReadonlyMap<string, string>;
  readonly kernel: SimtKernel;
}

/** Lines of a file that can still be read. */
const LINES = 400;

export function filesOf(frame: Frame): Files {
  const { kernel, scratch, mains } = frame;
  const parameters = ["int items", "int items_before", ...parametersOf(kernel), ...scratch.map(scratchParameter)];
  const bodies = mains.map((main): [string, Lines] => {
    const lines = new Lines();
    lines.add("");
    const head = entryHead(`${kernel.name}_${main.name}`, main.threads);
    lines.block(signature(head, parameters), () => lines.add(...bodyOf(frame, main)));
    return [main.name, lines];
  });
  const { texts, place } = entriesInFiles(kernel.name, frame.header(), bodies);
  const table = frame.described();
  return {
    texts,
    kernel: { ...table, entries: table.entries.map(place), scratch: scratchOf([frame], table.scratch) },
  };
}

/**
 * Entry points in one file, or where that becomes too long, each in a file of its own.
 * @param name of the one file, and before that of an entry point
 * @param entries their names and texts
 * @returns the files by name; `place` says in the table where an entry point of a name is
 */
export function entriesInFiles(
  name: string,
  header: readonly string[],
  entries: readonly (readonly [name: string, text: Lines])[],
): { texts: Map<string, string>; place: (entry: Entry) => Entry } {
  const all = new Lines();
  for (const [, lines] of entries) all.add(...lines.text().trimEnd().split("\n"));
  const whole = fileText(header, all);
  if (isReadable(whole)) return { texts: new Map([[name, whole]]), place: (entry) => entry };
  const nameOf = (entry: string): string => `${name}_${entry}`;
  return {
    texts: new Map(entries.map(([own, lines]) => [nameOf(own), fileText(header, lines)])),
    place: (entry) => inFile(entry, nameOf),
  };
}

/** The entry point, and what runs before it, in the files of their names. */
export function inFile(entry: Entry, nameOf: (name: string) => string): Entry {
  const { before } = entry;
  return {
    ...entry,
    file: nameOf(entry.name),
    ...(before === undefined ? {} : { before: { ...before, file: nameOf(before.name) } }),
  };
}

export function isReadable(text: string): boolean {
  return text.split("\n").length - 1 <= LINES;
}

export function fileText(header: readonly string[], lines: Lines): string {
  const body = lines.text();
  const prelude = body.includes("keep_sums")
    ? "dsk_few.cuh"
    : body.includes("mma_m16n8k16")
      ? "dsk_mma.cuh"
      : "dsk.cuh";
  const preludes = [prelude, ...(/largest/.test(body) ? ["dsk_select.cuh"] : [])];
  const includes = preludes.map((name) => `#include "${name}"\n`).join("");
  return `${header.map((line) => `// ${line}\n`).join("")}\n${includes}${body}`;
}

/** Without the second bound, ptxas spills registers of small blocks so that more of them run at a time. */
export function entryHead(name: string, threads: number): string {
  return `extern "C" __global__ void __launch_bounds__(${threads}, ${Math.max(1, Math.floor(256 / threads))}) ${name}`;
}

/** A function's head, wrapped where it is long. */
export function signature(head: string, parameters: readonly string[]): string {
  const whole = `${head}(${parameters.join(", ")})`;
  if (whole.length <= WIDTH) return whole;
  const rows = [""];
  for (const [i, parameter] of parameters.entries()) {
    const text = `${parameter}${i + 1 < parameters.length ? "," : ")"}`;
    const last = rows.at(-1)!;
    if (last !== "" && last.length + text.length + 5 > WIDTH) rows.push(text);
    else rows[rows.length - 1] = last === "" ? text : `${last} ${text}`;
  }
  return [`${head}(`, ...rows.map((row) => `    ${row}`)].join("\n");
}

/** Extents and arguments of a kernel. */
export function parametersOf({ extents, args }: Pick<Kernel, "extents" | "args">): string[] {
  return [...extents.map((extent) => `int ${extent}`), ...args.map(argParameter)];
}

export function argParameter({ name, dtype, access }: Arg): string {
  return `${access === "read" ? "const " : ""}${storageType(dtype)}* __restrict__ ${name}`;
}

/** The parameter of an array in the arena: of one that each block has for itself, all of them. */
export function scratchParameter({ name, dtype, common }: Scratch): string {
  return `${storageType(dtype)}* __restrict__ ${common ? name : `${name}_of_all`}`;
}

/** What a table says of the arrays: the same with their dtypes. */
export function scratchOf(frames: readonly Frame[], scratch: readonly ScratchTable[]): ScratchTable[] {
  const dtypes = frames.flatMap((frame) => frame.scratch.map(({ dtype }) => dtype));
  return scratch.map((array, i) => ({ ...array, dtype: dtypes[i] === "index" ? "i32" : (dtypes[i] as StorageType) }));
}

/** The lines of an entry point: shared memory, its own arrays and functions that it uses, then what it does. */
export function bodyOf(frame: Frame, main: Main): string[] {
  const [body, functions] = withoutTwins(main.body.trimEnd(), used(frame.functions, main.body));
  const text = [body, ...functions.map((func) => func.body)].join("\n");
  const has = (name: string): boolean => new RegExp(`(?<!\\.)\\b${name}\\b`).test(text);
  const own = frame.scratch.filter(({ common, name }) => !common && has(name));
  const lines = new Lines();
  lines.add(...[...frame.shareds].flatMap(([name, declaration]) => (has(name) ? [declaration] : [])));
  for (const array of own) lines.add(ownArray(array, main.threads));
  for (const func of functions) printFunction(lines, func);
  return tidied(`${lines.text()}${body}`).split("\n");
}

/** A block's own part of an array in the arena, or that of each of its teams. */
function ownArray({ name, dtype, shape, owner: { teams } }: Scratch, threads: number): string {
  const block = "(long long)blockIdx.x";
  const own = teams === 1 ? block : `(${block} * ${teams} + threadIdx.x / ${threads / teams})`;
  return `${storageType(dtype)}* const ${name} = ${name}_of_all + ${[own, ...shape.map(String)].join(" * ")};`;
}

/** Those that a text calls, and that these call, in their order. */
function used(functions: ReadonlyMap<string, Func | string>, text: string): Func[] {
  const all = [...functions.values()].filter((func) => typeof func !== "string");
  const found = new Set<Func>();
  const visit = (source: string): void => {
    for (const func of all) {
      if (found.has(func) || !new RegExp(`\\b${func.name}\\(`).test(source)) continue;
      found.add(func);
      visit(func.body);
    }
  };
  visit(text);
  return all.filter((func) => found.has(func));
}

/** Calls the first of functions that do the same, as those that load an operand that products share. */
function withoutTwins(body: string, functions: readonly Func[]): [body: string, functions: Func[]] {
  const first = new Map<string, string>();
  const twins = new Map<string, string>();
  for (const { name, parameters, result, body: text } of functions) {
    const key = JSON.stringify([parameters, result, text]);
    const known = first.get(key);
    if (known === undefined) first.set(key, name);
    else twins.set(name, known);
  }
  const renamed = (text: string): string => text.replaceAll(/\b\w+(?=\()/g, (name) => twins.get(name) ?? name);
  const kept = functions.filter(({ name }) => !twins.has(name));
  return [renamed(body), kept.map((func) => ({ ...func, body: renamed(func.body) }))];
}

/** A function that sees the arguments of the kernel. */
function printFunction(lines: Lines, { name, parameters, result, body }: Func): void {
  const typed = parameters.map(([parameter, dtype]) => `${valueType(dtype)} ${parameter}`).join(", ");
  const returns = result === undefined ? "" : ` -> ${valueType(result)}`;
  lines.block(`const auto ${name} = [&](${typed})${returns}`, () => lines.add(...body.trimEnd().split("\n")), "};");
}
