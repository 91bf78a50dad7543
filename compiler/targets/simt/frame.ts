/** What all kernels for workgroups of threads have in common: memory, arguments, extents, functions, entry points. */
import { originLines } from "../../kernel-ir/print.ts";
import type { Count, Entry } from "../../../runtime/program/grids.ts";
import type { Extent, StorageType } from "../../../runtime/program/launch.ts";
import type { SimtKernel } from "../../../runtime/program/grids.ts";
import { Lines } from "../../emit/lines.ts";
import type { Axis, Kernel, Local, ScalarType } from "../../kernel-ir/types.ts";
import type { Language, Names } from "../scalars.ts";
import type { Dialect, Parameter, Part } from "./dialect.ts";

/** An array in the arena. */
export interface Scratch {
  readonly name: string;
  readonly dtype: ScalarType;
  readonly shape: readonly Extent[];
  /** Whether all workgroups of a launch have one together. */
  readonly common: boolean;
  /** Whose it is where they have not. */
  readonly owner: Owner;
}

/** Who has arrays of their own: teams of a workgroup, of one entry point where others need none. */
export interface Owner {
  readonly teams: number;
  readonly of?: string;
}

/** A function of a kernel's file. */
export interface Func {
  readonly name: string;
  readonly parameters: readonly Parameter[];
  readonly result?: ScalarType;
  readonly body: string;
}

/** An entry point: the lines of its body. */
export interface Main {
  readonly name: string;
  readonly threads: number;
  readonly body: string;
}

export class Frame {
  readonly dialect: Dialect;
  readonly language: Language;
  readonly names: Names;
  readonly kernel: Kernel;
  lines = new Lines();
  /** Declarations of shared variables, and functions, by name: texts where they are a language's own. */
  readonly shareds = new Map<string, string>();
  readonly functions = new Map<string, Func | string>();
  readonly scratch: Scratch[] = [];
  readonly entries: Entry[] = [];
  readonly mains: Main[] = [];
  /** Whether what it does for one list of elements it may do for many in one launch (compiler/kernel-ir/lists.ts). */
  takesLists = false;
  readonly #room: number;
  #words = 0;
  #fresh = 0;
  /** Who has the arrays that are declared from now on. */
  owner: Owner = { teams: 1 };

  /**
   * @param kernel with names that the language takes
   * @param part where it is one of several in a launch
   */
  constructor(dialect: Dialect, kernel: Kernel, locals: readonly Local[] = [], part?: Part) {
    this.dialect = dialect;
    this.kernel = kernel;
    this.language = dialect.language(kernel);
    this.names = dialect.names([...kernel.args, ...locals]);
    this.#room = dialect.sharedWords(kernel, part);
  }

  /** A name that nothing else has. */
  temp(hint: string): string {
    return this.names.local(`${hint}${this.#fresh++}`);
  }

  /** Gives an index a name. */
  index(name: string, text: string): void {
    if (name !== text) this.lines.add(this.language.named(name, "index", text));
  }

  /** A variable that the workgroup shares. */
  shared(name: string, dtype: ScalarType, size: number): string {
    if (!this.shareds.has(name)) this.#words += dtype === "f64" ? 2 * size : size;
    return this.share(name, this.dialect.shared(name, dtype, size));
  }

  share(name: string, declaration: string): string {
    this.shareds.set(name, declaration);
    return name;
  }

  /** An array that the workgroup shares: in its memory if it has a known size and there is room, in the arena otherwise. */
  array(name: string, dtype: ScalarType, shape: readonly Extent[]): void {
    const size = shape.reduce<number>((n, extent) => (typeof extent === "number" ? n * extent : Infinity), 1);
    const words = dtype === "f64" ? 2 * size : size;
    if (this.owner.teams === 1 && this.#words + words <= this.#room) {
      this.#words += words;
      this.share(name, this.dialect.shared(name, dtype, Math.max(size, 1), true));
    } else this.#inArena({ name, dtype, shape, common: false, owner: this.owner });
  }

  /** An array in the arena that all workgroups of a launch have together, and what was done before them. */
  shareScratch(name: string, dtype: "i32" | "f32" | "f64", shape: readonly Extent[]): void {
    this.#inArena({ name, dtype, shape, common: true, owner: { teams: 1 } });
  }

  /** A number of each workgroup in the arena, for what runs after. */
  ownScratch(name: string, dtype: "i32" | "f32" | "f64"): void {
    this.#inArena({ name, dtype, shape: [], common: false, owner: { teams: 1 } });
  }

  /** It is read and written as arguments are. */
  #inArena(array: Scratch): void {
    const { name, dtype, shape } = array;
    this.scratch.push(array);
    this.names.declare([{ name, dtype: dtype as StorageType, shape, access: "update" }]);
  }

  get hasOwnScratch(): boolean {
    return this.scratch.some(({ common }) => !common);
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

  /** A function that knows the kernel's arguments, and its extents where these are `named`. */
  func(
    name: string,
    parameters: readonly Parameter[],
    result: ScalarType | undefined,
    body: () => void,
    named = true,
  ): void {
    const text = this.capture(() => {
      if (named) this.#opening();
      body();
    });
    this.functions.set(name, { name, parameters, ...(result === undefined ? {} : { result }), body: text });
  }

  /** A function in the language of the target, declared once. */
  once(name: string, text: string): void {
    this.functions.set(name, text);
  }

  /** Prints an entry point. */
  main(name: string, threads: number, body: () => void): void {
    const text = this.capture(() => {
      this.index("lane", this.dialect.thread);
      this.#opening();
      body();
    });
    this.mains.push({ name, threads, body: text });
  }

  #opening(): void {
    this.lines.add(...this.dialect.opening(this.kernel.extents));
  }

  /** @param workgroups how many there are for a launch */
  entry(name: string, workgroupSize: number, workgroups: readonly Count[], more: Partial<Entry> = {}): void {
    this.entries.push({ name, workgroupSize, workgroups, ...more });
  }

  /** Axes of an index, the last one fastest. */
  unpack(axes: readonly Axis[], item: string): void {
    let rest = item;
    for (const [i, { name, extent }] of [...axes.entries()].toReversed()) {
      const at = this.names.axis(name);
      if (String(extent) === "1") this.index(at, "0");
      else if (i === 0) this.index(at, rest);
      else {
        this.index(at, `${rest} % ${extent}`);
        rest = i === 1 ? `${rest} / ${extent}` : `(${rest} / ${extent})`;
      }
    }
  }

  /** The index of the workgroup, which returns when there are no more. */
  item(name: string): void {
    const { lines, dialect } = this;
    this.index(name, dialect.item);
    const none = dialect.noItem?.(name);
    if (none !== undefined) lines.block(`if (${none})`, () => lines.add("return;"));
    if (this.hasOwnScratch) lines.add(...dialect.own(name));
  }

  /** What a runtime has to know about the kernel. */
  described(): SimtKernel {
    const { args, extents, name } = this.kernel;
    return {
      name,
      args: args.map((arg) => arg.name),
      writes: args.filter(({ access }) => access !== "read").map((arg) => arg.name),
      extents,
      scratch: this.scratch.map(({ shape, common, owner: { teams, of } }) => ({
        shape: teams === 1 ? shape : [teams, ...shape],
        each: !common,
        ...(of === undefined ? {} : { of }),
      })),
      entries: this.entries,
    };
  }

  /** What is said about the kernel at the start of its file. */
  header(): string[] {
    const { args, family, name } = this.kernel;
    const shapes = args.map((arg) => `${arg.access} ${arg.name}: ${arg.dtype}[${arg.shape.join(", ")}]`);
    return [`${name}: ${family}`, ...originLines(this.kernel), ...shapes.map((shape) => `  ${shape}`)];
  }
}
