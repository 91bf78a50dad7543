/** Kernels as WGSL files. */
import { render } from "../../emit/templates.ts";
import { Lines } from "../../emit/lines.ts";
import type { Parameter } from "../simt/dialect.ts";
import type { SimtKernel } from "../../../runtime/program/grids.ts";
import type { Frame, Func, Main } from "../simt/frame.ts";
import { accessorsOf, scratchOf, wordFunctions } from "./accessors.ts";
import { called } from "./library.ts";
import { valueType } from "./wgsl.ts";

/** A kernel as WGSL, and what a runtime has to know about it. */
export interface File {
  readonly text: string;
  readonly kernel: SimtKernel;
}

/** What a file is made of. */
export interface Pieces {
  readonly header: readonly string[];
  /** Variables of a thread and of the workgroup, a line each. */
  readonly memory: readonly string[];
  /** Names of arrays in the arena. */
  readonly scratch: readonly string[];
  /** Functions that read and write arguments and scratch arrays, and those of the kernel. */
  readonly accessors: readonly string[];
  readonly functions: readonly string[];
  readonly mains: readonly Main[];
}

export function fileOf(frame: Frame): File {
  const { args, extents } = frame.kernel;
  const { header, memory, accessors, functions } = piecesOf(frame);
  const members = [
    "items: i32, // what there is to do, one for a workgroup at a time",
    "items_before: i32, // the same of the entry point that runs before",
    ...extents.map((extent) => `${extent}: i32,`),
    ...[...args, ...frame.scratch].map((store) => `${store.name}: i32, // its first word`),
  ];
  const body = bodyOf(frame, functions);
  const text = fileText({ header, members, args: args.map((arg) => arg.name), memory, accessors, body });
  return { text, kernel: frame.described() };
}

export function piecesOf(frame: Frame): Pieces {
  const functions = [...frame.functions.values()].map(functionText);
  const body = bodyOf(frame, functions);
  return {
    header: frame.header(),
    memory: [...(frame.hasOwnScratch ? ["var<private> own: i32;"] : []), ...frame.shareds.values()],
    scratch: frame.scratch.map((array) => array.name),
    accessors: [
      ...frame.kernel.args.flatMap((arg) => accessorsOf(arg, body)),
      ...frame.scratch.flatMap((array) => scratchOf(array, body)),
    ],
    functions,
    mains: frame.mains,
  };
}

/** Functions and entry points. */
function bodyOf({ mains }: Frame, functions: readonly string[]): string {
  return [...functions.map((f) => `${f}\n`), ...mains.map(mainText)].join("\n");
}

function mainText({ name, threads, body }: Main): string {
  const lines = new Lines();
  const [first, last] = mainHead(name, threads);
  lines.add(...first);
  lines.block(last, () => lines.add(...body.trimEnd().split("\n")));
  return lines.text();
}

function functionText(func: Func | string): string {
  if (typeof func === "string") return func;
  const { name, parameters, result, body } = func;
  const typed = parameters.map(([parameter, dtype]: Parameter) => `${parameter}: ${valueType(dtype)}`).join(", ");
  const lines = new Lines();
  const head = `fn ${name}(${typed})${result === undefined ? "" : ` -> ${valueType(result)}`}`;
  lines.block(head, () => lines.add(...body.trimEnd().split("\n")));
  return lines.text().trimEnd();
}

/** The line, or lines, before the last one of an entry point's head, and that one. */
export function mainHead(name: string, threads: number): readonly [first: readonly string[], last: string] {
  return [
    [
      `@compute @workgroup_size(${threads})`,
      `fn ${name}(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,`,
    ],
    `${" ".repeat(name.length + 4)}@builtin(local_invocation_index) index: u32)`,
  ];
}

/** A file: `body` are functions and entry points. */
export function fileText({
  header,
  members,
  args,
  memory,
  accessors,
  body,
}: Pick<Pieces, "header" | "memory" | "accessors"> & {
  readonly members: readonly string[];
  readonly args: readonly string[];
  readonly body: string;
}): string {
  const all = accessors.join("\n");
  return render("webgpu/kernel.wgsl", {
    header,
    members,
    spaces: args.map((name) => `override ${name}_space: u32 = 0u;`),
    memory: memory.length === 0 ? "" : `${memory.join("\n")}\n\n`,
    functions: [wordFunctions(all), ...accessors, ...called(body + all)]
      .filter((f) => f !== "")
      .map((f) => `${f}\n\n`)
      .join(""),
    entries: body.trimEnd(),
  });
}
