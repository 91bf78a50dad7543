/** What all kernels of the WebGPU target have in common: memory, arguments, extents, functions, the file around them. */
import { Lines } from "../../emit/lines.ts";
import { fixed, render } from "../../emit/templates.ts";
import type { Arg, Axis, Kernel, Local, ScalarType } from "../../kernel-ir/types.ts";
import type { Count, Entry, SimtKernel } from "../../../runtime/program/grids.ts";
import type { Extent, StorageType } from "../../../runtime/program/launch.ts";
import { Names } from "../scalars.ts";
import { rounded, valueType } from "./wgsl.ts";

/** Words of workgroup memory that locals may take; the rest of the 32 KiB is for reductions and tiles. */
const WORKGROUP_WORDS = 6144;

interface Scratch {
  readonly name: string;
  readonly dtype: ScalarType;
  readonly words: readonly Extent[];
  /** Whether all workgroups of a launch have one together. */
  readonly common?: boolean;
}

export interface File {
  readonly text: string;
  readonly kernel: SimtKernel;
  readonly pieces: Pieces;
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

/** An entry point: the lines of its body. */
export interface Main {
  readonly name: string;
  readonly threads: number;
  readonly body: string;
}

export class Frame {
  readonly names: Names;
  readonly kernel: Kernel;
  lines = new Lines();
  /** Workgroup variables by name. */
  readonly #shared = new Map<string, string>();
  readonly #scratch: Scratch[] = [];
  readonly #functions = new Map<string, string>();
  readonly #entries: Entry[] = [];
  readonly #mains: Main[] = [];
  #words = 0;
  #fresh = 0;
  /** Teams of a workgroup that have arrays of their own. */
  teams = 1;

  /** @param kernel with names that WGSL takes */
  constructor(kernel: Kernel, locals: readonly Local[] = []) {
    this.kernel = kernel;
    this.names = new Names([...kernel.args, ...locals]);
  }

  /** A name that nothing else has. */
  temp(hint: string): string {
    return `${hint}${this.#fresh++}`;
  }

  /** A variable that the workgroup shares. */
  shared(name: string, type: string): string {
    this.#shared.set(name, type);
    return name;
  }

  /** An array that the workgroup shares: in its memory if it has a known size and there is room, in the arena otherwise. */
  array(name: string, dtype: ScalarType, shape: readonly Extent[]): void {
    const size = shape.reduce<number>((n, extent) => (typeof extent === "number" ? n * extent : Infinity), 1);
    if (this.teams === 1 && this.#words + size <= WORKGROUP_WORDS) {
      this.#words += size;
      this.shared(name, `array<${valueType(dtype)}, ${Math.max(size, 1)}>`);
    } else {
      this.#scratch.push({ name, dtype, words: shape });
      // It is read and written as arguments are.
      this.names.declare([{ name, dtype: dtype as StorageType, shape, access: "update" }]);
    }
  }

  /** An array in the arena that all workgroups of a launch have together, and what was done before them. */
  shareScratch(name: string, dtype: "i32" | "f32", shape: readonly Extent[]): void {
    this.#scratch.push({ name, dtype, words: shape, common: true });
    this.names.declare([{ name, dtype, shape, access: "update" }]);
  }

  get #hasOwnScratch(): boolean {
    return this.#scratch.some(({ common }) => !common);
  }

  /** A function of this kernel, declared once. */
  once(name: string, text: string): void {
    this.#functions.set(name, text);
  }

  /** The lines that the body prints. */
  capture(body: () => void): string {
    const outer = this.lines;
    this.lines = new Lines();
    try {
      body();
      return this.lines.text();
    } finally {
      this.lines = outer;
    }
  }

  /** A function with the names of extents in it. */
  func(head: string, body: () => void): void {
    const text = this.capture(() =>
      this.lines.block(head, () => {
        this.extents();
        body();
      }),
    );
    this.once(head, text.trimEnd());
  }

  /** Prints an entry point. */
  main(name: string, threads: number, body: () => void): void {
    const { lines } = this;
    const [first, last] = mainHead(name, threads);
    lines.add(...first);
    lines.block(last, () => {
      const before = lines.text().length;
      lines.add("let lane = i32(index);");
      this.extents();
      body();
      this.#mains.push({ name, threads, body: lines.text().slice(before) });
    });
  }

  /** @param workgroups how many there are for a launch */
  entry(name: string, workgroupSize: number, workgroups: readonly Count[], more: Partial<Entry> = {}): void {
    this.#entries.push({ name, workgroupSize, workgroups, ...more });
  }

  /** Axes of an index, the last one fastest. */
  unpack(axes: readonly Axis[], item: string): void {
    const { lines } = this;
    let rest = item;
    for (const [i, { name, extent }] of [...axes.entries()].toReversed()) {
      const at = this.names.axis(name);
      if (String(extent) === "1") lines.add(`let ${at} = 0;`);
      else if (i === 0) lines.add(`let ${at} = ${rest};`);
      else {
        lines.add(`let ${at} = ${rest} % ${extent};`);
        rest = i === 1 ? `${rest} / ${extent}` : `(${rest} / ${extent})`;
      }
    }
  }

  /** Names of the extents, inside of a function. */
  extents(): void {
    for (const extent of this.kernel.extents) this.lines.add(`let ${extent} = launch.${extent};`);
  }

  /** The index of the workgroup, which returns when there are no more. */
  item(name: string): void {
    const { lines } = this;
    lines.add(`let ${name} = i32(group.y * groups.x + group.x);`);
    lines.block(`if (${name} >= launch.items)`, () => lines.add("return;"));
    if (this.#hasOwnScratch) lines.add(`own = ${name};`);
  }

  file(): File {
    const { args, extents, family, name, from } = this.kernel;
    const functions = [...this.#functions.values()];
    const body = [...functions.map((f) => `${f}\n`), this.lines.text()].join("\n");
    const accessors = [
      ...args.flatMap((arg) => accessorsOf(arg, body)),
      ...this.#scratch.flatMap((s) => scratchOf(s, body)),
    ];
    const shapes = args.map((arg) => `${arg.access} ${arg.name}: ${arg.dtype}[${arg.shape.join(", ")}]`);
    const memory = [
      ...(this.#hasOwnScratch ? ["var<private> own: i32;"] : []),
      ...[...this.#shared].map(([variable, type]) => `var<workgroup> ${variable}: ${type};`),
    ];
    const header = [`${name}: ${family}`, ...from, ...shapes.map((shape) => `  ${shape}`)];
    const members = [
      "items: i32, // what there is to do, one for a workgroup at a time",
      "items_before: i32, // the same of the entry point that runs before",
      ...extents.map((extent) => `${extent}: i32,`),
      ...[...args, ...this.#scratch].map((store) => `${store.name}: i32, // its first word`),
    ];
    return {
      text: fileText({ header, members, args: args.map((arg) => arg.name), memory, accessors, body }),
      pieces: {
        header,
        memory,
        scratch: this.#scratch.map((array) => array.name),
        accessors,
        functions,
        mains: this.#mains,
      },
      kernel: {
        name,
        args: args.map((arg) => arg.name),
        writes: args.filter(({ access }) => access !== "read").map((arg) => arg.name),
        extents,
        scratch: this.#scratch.map(({ words, common }) => ({
          shape: common === true || this.teams === 1 ? words : [this.teams, ...words],
          each: !common,
        })),
        entries: this.#entries,
      },
    };
  }
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

/** How an argument is read and written: in words of 32 bits, in the space that the launch's pipeline has for it. */
function accessorsOf({ name, dtype, access }: Arg, body: string): string[] {
  const word = `word(${name}_space, launch.${name} + i)`;
  const lines = [`return ${fromWord(dtype, word)};`];
  // Codes are only read, eight or four in a word; small floats lie two in a word where nothing writes them.
  if (dtype === "i4" || dtype === "i8")
    lines[0] = `return ${dtype}_of(word(${name}_space, launch.${name} + i / ${dtype === "i4" ? 8 : 4}), i);`;
  else if (access === "read" && (dtype === "bf16" || dtype === "f16"))
    lines.unshift(
      `if (${name}_space >= 8u) {`,
      `  return ${dtype}_of(word(${name}_space - 8u, launch.${name} + i / 2), i);`,
      "}",
    );
  const store = `set_word(${name}_space, launch.${name} + i, ${toWord(dtype, rounded(dtype, "x"))});`;
  return loadAndStore(name, dtype, lines, store, body);
}

/** Scratch arrays lie in the arena, one of each for every workgroup. */
function scratchOf({ name, dtype, words, common }: Scratch, body: string): string[] {
  const size = words.map((extent) => (typeof extent === "number" ? extent : `launch.${extent}`)).join(" * ");
  const place = common ? `arena[launch.${name} + i]` : `arena[launch.${name} + own * ${size} + i]`;
  return loadAndStore(name, dtype, [`return ${fromWord(dtype, place)};`], `${place} = ${toWord(dtype, "x")};`, body);
}

function fromWord(dtype: ScalarType, word: string): string {
  const type = valueType(dtype);
  return type === "bool" ? `${word} != 0u` : `bitcast<${type}>(${word})`;
}

function toWord(dtype: ScalarType, value: string): string {
  return valueType(dtype) === "bool" ? `select(0u, 1u, ${value})` : `bitcast<u32>(${value})`;
}

/** Functions that read and write an array, as far as the body calls them. */
function loadAndStore(name: string, dtype: ScalarType, load: readonly string[], store: string, body: string): string[] {
  const type = valueType(dtype);
  return [
    ...(body.includes(`load_${name}(`)
      ? [`fn load_${name}(i: i32) -> ${type} {\n${load.map((line) => `  ${line}\n`).join("")}}`]
      : []),
    ...(body.includes(`store_${name}(`) ? [`fn store_${name}(i: i32, x: ${type}) {\n  ${store}\n}`] : []),
  ];
}

function wordFunctions(text: string): string {
  const load = `fn word(space: u32, i: i32) -> u32 {
  var x: u32;
  switch space {
    case 0u: { x = arena[i]; }
    case 1u: { x = stores[i]; }
    case 2u: { x = stores_1[i]; }
    case 3u: { x = stores_2[i]; }
    case 4u: { x = stores_3[i]; }
    default: { x = caches[i]; }
  }
  return x;
}`;
  const store = `fn set_word(space: u32, i: i32, x: u32) {
  switch space {
    case 0u: { arena[i] = x; }
    case 1u: { stores[i] = x; }
    case 2u: { stores_1[i] = x; }
    case 3u: { stores_2[i] = x; }
    case 4u: { stores_3[i] = x; }
    default: { caches[i] = x; }
  }
}`;
  return [...(/\bword\(/.test(text) ? [load] : []), ...(text.includes("set_word(") ? [store] : [])].join("\n\n");
}

let library: ReadonlyMap<string, string> | undefined;

/** The functions of templates/webgpu/math.wgsl that a text calls, and those that they call. */
function called(text: string): string[] {
  library ??= parsed(fixed("webgpu/math.wgsl"));
  const wanted = new Set<string>();
  const visit = (source: string): void => {
    for (const [name, inner] of library!) {
      if (wanted.has(name) || !new RegExp(`\\b${name}\\b`).test(source)) continue;
      wanted.add(name);
      visit(inner);
    }
  };
  visit(text);
  return [...library].flatMap(([name, inner]) => (wanted.has(name) ? [inner] : []));
}

/** Globals and functions by name. */
function parsed(source: string): Map<string, string> {
  const parts = source.split("\n\n").map((part) => part.trim());
  const found = new Map<string, string>();
  for (const part of parts) {
    // Globals on lines of their own come before functions.
    for (const [line, name] of part.matchAll(/^var<private> (\w+).*$/gm)) found.set(name!, line);
    const name = /^fn (\w+)/m.exec(part)?.[1];
    if (name !== undefined) found.set(name, part);
  }
  return found;
}
