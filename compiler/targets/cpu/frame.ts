/** What all kernels of the CPU target have in common: arguments, extents, scratch memory, the file around them. */
import { originLines } from "../../kernel-ir/print.ts";
import { Lines } from "../../emit/lines.ts";
import { render } from "../../emit/templates.ts";
import type { Axis, Kernel, Local } from "../../kernel-ir/types.ts";
import { Names } from "../scalars.ts";
import { storageType, valueType } from "./cpp.ts";
import { StatementPrinter } from "./statements.ts";

/** Memory of one work item, or of all of them, in the order of its declaration. */
interface Scratch {
  readonly name: string;
  readonly type: string;
  /** Elements, as a C++ expression of extents. */
  readonly count: string;
}

/** Parts of a file that few kernels have. */
interface FileParts {
  /** Statements that the number of items needs; they may read the arguments. */
  readonly counting?: readonly string[];
  /** Lines of the comment at the top. */
  readonly notes?: readonly string[];
  /** Declarations above the functions. */
  readonly before?: readonly string[];
}

export class Frame {
  readonly names: Names;
  readonly body = new Lines();
  readonly statements: StatementPrinter;
  readonly #kernel: Kernel;
  readonly #arrays: Scratch[] = [];
  readonly #shared: Scratch[] = [];
  readonly #header: string;
  readonly #prelude: string[] = [];

  /** @param locals those that live as long as an item; arrays among them get scratch memory */
  constructor(kernel: Kernel, locals: readonly Local[], header = "dsk.h") {
    this.#kernel = kernel;
    this.#header = header;
    this.names = new Names([...kernel.args, ...locals]);
    for (const local of locals) {
      if (local.shape.length > 0) this.reserve(local.name, storageType(local.dtype), product(local.shape.map(String)));
    }
    this.statements = new StatementPrinter(this.names, this.body, (hint, type, count) => this.array(hint, type, count));
  }

  /** An array of the item's scratch memory, with a name that begins so. */
  array(hint: string, type: string, count: string): string {
    return this.reserve(`${hint}_${this.#arrays.length}`, type, count);
  }

  /** An array of the item's scratch memory with a name of `Names.local`. */
  reserve(name: string, type: string, count: string): string {
    this.#arrays.push({ name, type, count });
    return name;
  }

  /** The array with which scratch memory begins: the first bytes of it are zero at first (templates/cpu/abi.h). */
  first(name: string, type: string, count: string): void {
    this.#arrays.unshift({ name, type, count });
  }

  /** An array that `items` fills and all items read. */
  share(name: string, type: string, count: string): string {
    this.#shared.push({ name, type, count });
    return name;
  }

  /** Constants that `items` and `run` both need. */
  prelude(...lines: readonly string[]): void {
    this.#prelude.push(...lines);
  }

  /** Declares locals that are single values, where every item has its own. */
  scalars(locals: readonly Local[]): void {
    for (const { name, dtype, shape } of locals) if (shape.length === 0) this.body.add(`${valueType(dtype)} ${name};`);
  }

  /** The values of axes from the index of an item, the last axis fastest. */
  unpack(axes: readonly Axis[], item: string): void {
    let rest = item;
    for (const [i, { name, extent }] of [...axes.entries()].toReversed()) {
      const at = this.names.axis(name);
      if (String(extent) === "1") this.body.add(`const int64_t ${at} = 0;`);
      else if (i === 0) this.body.add(`const int64_t ${at} = ${rest};`);
      else {
        this.body.add(`const int64_t ${at} = ${rest} % ${extent};`);
        rest = i === 1 ? `${rest} / ${extent}` : `(${rest} / ${extent})`;
      }
    }
  }

  /**
   * The generated file.
   * @param items how many there are, as a C++ expression
   */
  file(items: string, { counting = [], notes = [], before = [] }: FileParts = {}): string {
    const { args, extents, family, name } = this.#kernel;
    const bound = extents.map((extent, i) => `const int64_t ${extent} = extents[${i}];`);
    const pointers = args.map(({ name: arg, dtype, access }, i) => {
      const type = `${access === "read" ? "const " : ""}${storageType(dtype)}*`;
      return `${type} __restrict ${arg} = (${type})args[${i}];`;
    });
    const shared = (type: string): string[] =>
      this.#shared.length === 0
        ? []
        : [
            `char* shared = (char*)args[${args.length}];`,
            ...this.#shared.map((one) => `${type}${one.type}* __restrict ${one.name} = ${take("shared", one)};`),
          ];
    const run = new Lines();
    run.add(...pointers, ...bound, ...this.#prelude, ...shared("const "));
    for (const array of this.#arrays) run.add(`${array.type}* __restrict ${array.name} = ${take("scratch", array)};`);
    const bytes = (arrays: readonly Scratch[]): string =>
      [
        ...bound,
        `return ${arrays.map((one) => `dsk_bytes<${one.type}>(${one.count})`).join(" +\n       ") || "0"};`,
      ].join("\n");
    const shapes = args.map(({ name: arg, dtype, shape, access }) => `${access} ${arg}: ${dtype}[${shape.join(", ")}]`);
    return render("cpu/kernel.cc", {
      header: [`${name}: ${family}`, ...originLines(this.#kernel), ...shapes.map((text) => `  ${text}`), ...notes],
      include: this.#header,
      before: before.length === 0 ? "" : `${before.join("\n")}\n\n`,
      name,
      args: args.length,
      extents: extents.length,
      items: [
        ...(counting.length > 0 ? pointers : []),
        ...bound,
        ...this.#prelude,
        ...shared(""),
        ...counting,
        `return ${items};`,
      ].join("\n"),
      scratch: bytes(this.#arrays),
      shared: this.#shared.length === 0 ? "" : bytes(this.#shared),
      sharedFunction: this.#shared.length === 0 ? "nullptr" : `${name}::shared`,
      run: run.text() + this.body.text(),
    });
  }
}

function take(from: string, { type, count }: Scratch): string {
  return `dsk_take<${type}>(${from}, ${count})`;
}

/** A C++ product. */
export function product(factors: readonly string[]): string {
  const shown = factors.filter((factor) => factor !== "1");
  return shown.length === 0 ? "1" : shown.join(" * ");
}
