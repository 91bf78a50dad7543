import { span, type SourceFile } from "../diagnostics/source.ts";
import { parseDims, parseOp, parseValue } from "../tensor-ir/parse.ts";
import { DTYPES, type DType, type Op, type Value } from "../tensor-ir/types.ts";
import { parseFactExpr } from "./parse-expr.ts";
import type { Ahead, Block, Callee, Expectation, Fn, Init, Module, Store, Use } from "./types.ts";

/**
 * Parses the text form of a module.
 * @throws Error with the place when the text is malformed; what only the verifier sees passes
 */
export function parseModule(source: SourceFile): Module {
  const reader = new Reader(source);
  try {
    return reader.module();
  } catch (error) {
    throw new Error(`${source.path}:${reader.line}: ${(error as Error).message}`, { cause: error });
  }
}

interface Line {
  readonly text: string;
  /** 1-based. */
  readonly number: number;
}

/** A line that stands on its own, and the lines between its braces. */
interface Entry extends Line {
  readonly body: readonly Line[];
}

class Reader {
  /** The line that is being read, 1-based. */
  line = 1;
  readonly #source: SourceFile;
  readonly #blocks = new Map<string, Block>();
  readonly #fns = new Map<string, Fn>();

  constructor(source: SourceFile) {
    this.#source = source;
  }

  module(): Module {
    const entries = this.#entries();
    const all = (word: string): Entry[] => entries.filter(({ text }) => text.startsWith(`${word} `));
    const optional = (word: string, pattern: RegExp): string[] | undefined => {
      const [entry] = all(word);
      return entry === undefined ? undefined : this.#match(entry, pattern);
    };
    const one = (word: string, pattern: RegExp): string[] => {
      const found = optional(word, pattern);
      if (found === undefined) throw new Error(`there is no line that starts with \`${word}\``);
      return found;
    };
    const [name, dtype] = one("model", /^model @(\S+) (\S+)$/);
    const [dims] = one("dims", /^(dims .*)$/);
    for (const entry of all("fn")) this.#fn(entry);
    // Blocks may use blocks that come later.
    for (const entry of all("block")) this.#declare(entry);
    for (const entry of all("block")) this.#fill(entry);
    const [checkpoint] = optional("checkpoint", /^checkpoint (\S+)$/) ?? [];
    const [losses] = optional("losses", /^losses (.+)$/) ?? [];
    return {
      name: name!,
      dtype: dtypeOf(dtype!),
      dims: parseDims(dims!),
      root: this.#blockAt(one("root", /^root @(\S+)$/)[0]!),
      forward: this.#fnAt(one("forward", /^forward @(\S+)$/)[0]!),
      blocks: this.#blocks,
      fns: this.#fns,
      ahead: new Map(all("ahead").map((entry) => this.#ahead(entry))),
      ...(checkpoint === undefined ? {} : { checkpoint }),
      losses: new Set(losses?.split(", ")),
      expects: all("expect").map((entry) => this.#expect(entry)),
    };
  }

  #entries(): Entry[] {
    const entries: { text: string; number: number; body: Line[] }[] = [];
    let inside = false;
    for (const [index, raw] of this.#source.text.split("\n").entries()) {
      const line = { text: raw.trim(), number: index + 1 };
      if (line.text === "") continue;
      if (inside && line.text === "}") inside = false;
      else if (inside) entries.at(-1)!.body.push(line);
      else {
        entries.push({ ...line, body: [] });
        inside = line.text.endsWith("{");
      }
    }
    return entries;
  }

  /** The groups of the pattern. */
  #match(line: Line, pattern: RegExp): string[] {
    this.line = line.number;
    const match = pattern.exec(line.text);
    if (match === null) throw new Error(`\`${line.text}\` is malformed`);
    return match.slice(1);
  }

  #fn(entry: Entry): void {
    const [id, params, results] = this.#match(entry, /^fn @(\S+)\((.*)\) -> \((.*)\) \{$/);
    const values = new Map<number, Value>();
    const define = (value: Value): Value => {
      values.set(value.id, value);
      return value;
    };
    const lookup = (value: number): Value => {
      const known = values.get(value);
      if (known === undefined) throw new Error(`%${value} is not defined`);
      return known;
    };
    const formals = split(params!, /, (?=%)/).map((text) => define(parseValue(text)));
    const ops = entry.body.map(({ text, number }): Op => {
      this.line = number;
      const op = parseOp(text, lookup);
      for (const result of op.results) define(result);
      return op;
    });
    const returned = split(results!, /, /).map((text) => lookup(Number(text.slice(1))));
    this.#fns.set(id!, { id: id!, params: formals, results: returned, ops });
  }

  #declare(entry: Entry): void {
    const [id, names] = this.#match(entry, /^block @(\S+) : (.+) \{$/);
    this.#blocks.set(id!, { id: id!, names: names!.split(", "), dims: new Map(), stores: new Map(), uses: new Map() });
  }

  #fill(entry: Entry): void {
    const block = this.#blockAt(this.#match(entry, /^block @(\S+) /)[0]!);
    for (const line of entry.body) {
      const word = line.text.slice(0, line.text.indexOf(" "));
      if (word === "dims") {
        const [dims] = this.#match(line, /^dims \{ (.*) \}$/);
        for (const dim of dims!.split(", ")) block.dims.set(...(dim.split(" = ") as [string, string]));
      } else if (word === "use") {
        const [name, use] = this.#match(line, /^use (\S+) = (.+)$/);
        block.uses.set(name!, this.#use(use!));
      } else if (word === "on") {
        block.onStep = this.#fnAt(this.#match(line, /^on step @(\S+)$/)[0]!);
      } else {
        const [kind, value, init] = this.#match(line, /^(param|state|cache) (.+) = (\S+)$/);
        const { name, type } = parseValue(`%0 ${value}`);
        block.stores.set(name!, { kind: kind as Store["kind"], name: name!, type, init: initOf(init!) });
      }
    }
  }

  #use(text: string): Use {
    const [kind, rest] = matched(text, /^(\S+) (.+)$/);
    switch (kind) {
      case "block": {
        const [id, fn, over] = matched(rest!, /^@(\S+) (\S+)(?: over (\S+))?$/);
        return { kind, block: this.#blockAt(id!), fn: fn!, ...(over === undefined ? {} : { over }) };
      }
      case "stack": {
        const layers = matched(rest!, /^\{ (.+) \}$/)[0]!.split(", ");
        return { kind, layers: layers.map((layer) => this.#repeated(layer)) };
      }
      case "alias": {
        const [of, fn] = matched(rest!, /^(\S+) (\S+)$/);
        return { kind, of: of!, fn: fn! };
      }
      case "ahead": {
        const { count, block } = this.#repeated(rest!);
        return { kind, depth: count, block };
      }
      default:
        throw new Error(`\`${kind}\` is no kind of use`);
    }
  }

  /** `3 of @Decoder` */
  #repeated(text: string): { count: number; block: Block } {
    const [count, id] = matched(text, /^(\d+) of @(\S+)$/);
    return { count: Number(count), block: this.#blockAt(id!) };
  }

  #ahead(entry: Entry): [string, Ahead] {
    const [use, forward, readout, embed, embedFn, head, headFn] = this.#match(
      entry,
      /^ahead (\S+) forward @(\S+) readout @(\S+) embed (\S+) @(\S+) head (\S+) @(\S+)$/,
    );
    const callee = (name: string, fn: string): Callee => ({ use: name, fn: this.#fnAt(fn) });
    const target = [...this.#blocks.values()]
      .map(({ uses }) => uses.get(use!))
      .find((found) => found?.kind === "ahead");
    if (target?.kind !== "ahead") throw new Error(`there is no look-ahead use ${use}`);
    return [
      use!,
      {
        depth: target.depth,
        forward: this.#fnAt(forward!),
        readout: this.#fnAt(readout!),
        embed: callee(embed!, embedFn!),
        head: callee(head!, headFn!),
      },
    ];
  }

  #expect(entry: Entry): Expectation {
    const [left, right, within] = this.#match(entry, /^expect (.+) == (.+?)(?: within (\S+))?$/);
    const before = this.#source.text.split("\n", entry.number - 1);
    const start = before.reduce((sum, line) => sum + line.length + 1, 0);
    const at = span(this.#source, start, start + entry.text.length);
    return {
      left: parseFactExpr(left!, at),
      right: parseFactExpr(right!, at),
      text: left!,
      within: Number(within ?? 0),
      span: at,
    };
  }

  #blockAt(id: string): Block {
    const block = this.#blocks.get(id);
    if (block === undefined) throw new Error(`there is no block @${id}`);
    return block;
  }

  #fnAt(id: string): Fn {
    const fn = this.#fns.get(id);
    if (fn === undefined) throw new Error(`there is no function @${id}`);
    return fn;
  }
}

function matched(text: string, pattern: RegExp): string[] {
  const match = pattern.exec(text);
  if (match === null) throw new Error(`\`${text}\` is malformed`);
  return match.slice(1);
}

function split(text: string, separator: RegExp): string[] {
  return text === "" ? [] : text.split(separator);
}

function dtypeOf(text: string): DType {
  const dtype = DTYPES.find((known) => known === text);
  if (dtype === undefined) throw new Error(`\`${text}\` is no dtype`);
  return dtype;
}

function initOf(text: string): Init {
  const [kind, scale] = /^(normal|uniform)\((.+)\)$/.exec(text)?.slice(1) ?? [];
  if (kind === "normal" || kind === "uniform") return { kind, scale: Number(scale) };
  return { kind: "constant", value: Number(text) };
}
