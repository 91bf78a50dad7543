import { CODES, type Code } from "../../compiler/diagnostics/codes.ts";
import type { Details, Diagnostics, ParamsOf } from "../../compiler/diagnostics/diagnostic.ts";
import type { Span } from "../../compiler/diagnostics/source.ts";
import type { Block, Fn, Init } from "../../compiler/model-ir/types.ts";
import type { ProgramBuilder } from "../../compiler/tensor-ir/builder.ts";
import type { DType } from "../../compiler/tensor-ir/types.ts";
import type * as ast from "../syntax/ast.ts";
import { DimSpace, type Dim } from "./dims.ts";
import type { Instance, Level } from "./instance.ts";
import type { Loader } from "./load.ts";
import { ERROR, type BlockTemplate, type Meaning, type Tensor } from "./values.ts";

/** A function with its call signature fixed: its code, and what its results mean. */
export interface FnInfo {
  readonly fn: Fn;
  /** Tensors here are the results in the function's own code; a caller replaces them by the results of its call. */
  readonly result: Meaning;
}

/** Where an expression stands: which names it sees and where its ops go. */
export interface Scope {
  readonly instance: Instance;
  readonly level: Level;
  /** Parameters and `let` names. */
  readonly locals: Map<string, Meaning>;
  /** Formal dims of the function and what they were matched with. */
  readonly fnDims: ReadonlyMap<string, Dim>;
  /** What `..` stands for in this function, or in this block. */
  readonly rest: readonly Dim[] | undefined;
  /** False in a block's body outside functions, where a block argument is passed on and not called. */
  readonly code: boolean;
  /** Absent where only compile-time values are allowed. */
  readonly builder?: ProgramBuilder;
  /** Params, states and inputs that this function has read already. */
  readonly reads: Map<string, Tensor>;
  /** `step` inside `on step`. */
  readonly event?: string;
}

/** The dims that the context asks of an expression. `exact`: all of them and no others, up to broadcasting. */
export interface Expected {
  readonly dims: readonly Dim[];
  readonly exact: boolean;
  /** What stands around has an error, which is told: what the context would ask for is not known. */
  readonly lost?: boolean;
}

/** The context of what stands inside of an error: looked at for errors of its own only. */
export const LOST: Expected = { dims: [], exact: false, lost: true };

/** An argument of a call, evaluated when the parameter it belongs to is known. */
export interface Argument {
  readonly name?: ast.Name;
  readonly span: Span;
  readonly evaluate: (expected?: Expected) => Meaning;
}

/** A call of a function of a block: of the own one (`use` is "") or of a use. */
export interface Target {
  readonly instance: Instance;
  readonly use: string;
  readonly fn: string;
  /** Where the function is named, if it is. */
  readonly fnAt?: Span | undefined;
  readonly over?: Dim | undefined;
  /** The layers of a stack, equal ones in a row. */
  readonly layers?: { readonly first: number; readonly count: number };
}

/**
 * The mutually recursive rules. They reach each other through the checker, so that each file imports only what lies
 * below it.
 */
export interface Rules {
  check(c: Checker, expr: ast.Expr, scope: Scope, expected: Expected | undefined): Meaning;
  call(c: Checker, expr: ast.Expr & { kind: "call" }, scope: Scope, expected: Expected | undefined): Meaning;
  callFn(c: Checker, target: Target, args: readonly Argument[], scope: Scope, at: Span): Meaning;
  instantiate(c: Checker, template: BlockTemplate, at: Span): Instance | undefined;
}

/** The state of checking one model: everything that the functions of this folder share. */
export class Checker {
  readonly diagnostics: Diagnostics;
  readonly loader: Loader;
  readonly rules: Rules;
  readonly space = new DimSpace();
  readonly instances = new Map<string, Instance>();
  /** `body`: an error in the body, the declared result can be trusted. */
  readonly fns = new Map<string, FnInfo | "busy" | "body" | "error">();
  readonly fnTable = new Map<string, Fn>();
  readonly blocks = new Map<string, Block>();
  readonly losses = new Set<string>();
  /** Functions that are being checked, for the chain of a recursion. */
  readonly calling: string[] = [];
  readonly nesting: Instance[] = [];
  /** Defaults of parameters that are being evaluated. */
  readonly defaults = new Set<ast.Expr>();
  readonly #visited = new Set<ast.Expr>();
  /** Errors inside of the standard library: code and place of the block. */
  readonly #inside = new Set<string>();
  /** Blocks whose functions are being checked, the outermost first. */
  readonly checked: Instance[] = [];
  dtype: DType = "f32";
  init: Init = { kind: "normal", scale: 0.02 };
  /** True while the program for a training step is made: `training()`. */
  readonly training: boolean;
  /** An error was found: there will be no module. */
  failed = false;
  /** A block was found that contains itself. */
  circular = false;
  /** Functions whose bodies were looked at with some arguments. */
  readonly seen = new Set<ast.FnItem>();
  /** Keys of the train section that bodies read as `train.name`, with the first place. */
  readonly trainNames = new Map<string, Span>();

  constructor(diagnostics: Diagnostics, loader: Loader, rules: Rules, training: boolean) {
    this.diagnostics = diagnostics;
    this.loader = loader;
    this.rules = rules;
    this.training = training;
  }

  check(expr: ast.Expr, scope: Scope, expected?: Expected): Meaning {
    this.#visited.add(expr);
    return this.rules.check(this, expr, scope, expected);
  }

  /** Looks at expressions inside of one that failed, for their own errors. */
  checkRest(exprs: readonly ast.Expr[], scope: Scope): void {
    for (const expr of exprs) if (!this.#visited.has(expr)) this.check(expr, scope, LOST);
  }

  fail<C extends Code>(code: C, at: Span, params: ParamsOf<C>, details: Details = {}): Meaning {
    this.failed ||= CODES[code].severity === "error";
    const told = this.#told(params, details);
    if (told === undefined) return ERROR;
    const origin = this.#originOf(at);
    if (origin === undefined) this.diagnostics.report(code, at, ...told);
    else {
      const secondary = [{ span: at, text: told[1].label ?? "" }, ...(told[1].secondary ?? [])];
      // What does not fit into a block may show at several places of it.
      if (this.#inside.has(`${code} ${origin.file.path} ${origin.start}`)) return ERROR;
      this.#inside.add(`${code} ${origin.file.path} ${origin.start}`);
      this.diagnostics.report(code, origin, told[0], { ...told[1], label: "in this block", secondary, shows: at });
    }
    return ERROR;
  }

  /** A message with its dims as the user calls them; undefined where one of them is lost: then it is a consequence. */
  #told<P>(params: P, details: Details): [P, Details] | undefined {
    const { label, help } = details;
    const secondary = details.secondary ?? [];
    const parts = Object.entries(params ?? {}).filter(
      (entry): entry is [string, string] => typeof entry[1] === "string",
    );
    const texts = [...parts.map(([, text]) => text), label ?? "", help ?? "", ...secondary.map(({ text }) => text)];
    if (DimSpace.namesLost(parts.map(([, text]) => text))) return undefined;
    const shown = this.space.shown(texts);
    const rest = shown.slice(parts.length);
    return [
      { ...params, ...Object.fromEntries(parts.map(([key], i) => [key, shown[i]!])) },
      {
        ...details,
        ...(label === undefined ? {} : { label: rest[0]! }),
        ...(help === undefined ? {} : { help: rest[1]! }),
        secondary: secondary.map(({ span }, i) => ({ span, text: rest[2 + i]! })),
      },
    ];
  }

  /** An error inside of the standard library comes from how a block of it is used: that is its place. */
  #originOf(at: Span): Span | undefined {
    const own = (span: Span): boolean => !span.file.path.startsWith("std/");
    if (own(at)) return undefined;
    return (this.checked.findLast((i) => own(i.at)) ?? this.nesting.findLast((i) => own(i.at)))?.at;
  }
}

/** A name that the map does not have yet: `RmsNorm`, `RmsNorm.2`, ... */
export function freeId(taken: ReadonlyMap<string, unknown>, name: string): string {
  let id = name;
  for (let n = 2; taken.has(id); n++) id = `${name}.${n}`;
  return id;
}

/** The scope of what stands in a block's body outside functions: compile-time values only. */
export function bodyScope(instance: Instance, level: Level): Scope {
  return { instance, level, locals: new Map(), fnDims: new Map(), rest: level.rest, reads: new Map(), code: false };
}
