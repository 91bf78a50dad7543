/**
 * The typed AST of a `.dsk` file: the text with spans and doc comments, and no meaning.
 * Nodes are plain frozen-shape objects discriminated by `kind`; every node has its span.
 */
import type { SourceFile, Span } from "../../compiler/diagnostics/source.ts";

export interface Name {
  readonly text: string;
  readonly span: Span;
}

interface Node {
  readonly span: Span;
}

/** Text of the `///` lines before (or, for an item on one line, after) a declaration, without the slashes. */
type Doc = string | undefined;

export interface File extends Node {
  readonly source: SourceFile;
  readonly edition?: { readonly year: Quantity; readonly span: Span };
  readonly imports: readonly Import[];
  readonly decls: readonly Decl[];
  /** Names of declarations that could not be parsed. */
  readonly broken: readonly Name[];
  /** True when syntax errors may have swallowed declarations or entries whose names are not known. */
  readonly torn: boolean;
}

/** `import { A, B as C } from "std/nn"` */
export interface Import extends Node {
  readonly names: readonly { readonly name: Name; readonly as?: Name }[];
  readonly from: Str;
}

export type Decl = BlockDecl | ModelDecl | SectionDecl | SchemaDecl | SignatureDecl;

/** `block Mla[D, H](rope: Block = Rope[R]) extends Base[D] { ... }` */
export interface BlockDecl extends Node {
  readonly kind: "block";
  readonly doc: Doc;
  readonly name: Name;
  readonly dims: readonly DimFormal[];
  readonly params: readonly Param[];
  readonly extends?: Expr;
  readonly items: readonly Item[];
}

/** A formal dim of a block or function; `..` stands for any number of dims. */
export type DimFormal = { readonly kind: "name"; readonly name: Name } | { readonly kind: "rest"; readonly span: Span };

export interface ModelDecl extends Node {
  readonly kind: "model";
  readonly doc: Doc;
  readonly name: Name;
  readonly extends?: Expr;
  readonly items: readonly Item[];
}

export type SectionKind = "data" | "train" | "layout" | "serve" | "target";

/** `train Pretrain for V3 from Base { ... }` */
export interface SectionDecl extends Node {
  readonly kind: "section";
  readonly section: SectionKind;
  readonly doc: Doc;
  readonly name: Name;
  readonly for?: Name;
  readonly from?: Name;
  readonly body: Section;
}

export interface Section extends Node {
  readonly entries: readonly Entry[];
}

export type Entry =
  | { readonly kind: "set"; readonly doc: Doc; readonly name: Name; readonly value: Expr; readonly span: Span }
  | { readonly kind: "group"; readonly doc: Doc; readonly name: Name; readonly body: Section; readonly span: Span }
  | Expect;

/** `schema train { length: tokens = 4Ki tokens  rollout { ... } }`: only in the standard library. */
export interface SchemaDecl extends Node {
  readonly kind: "schema";
  readonly doc: Doc;
  readonly name: Name;
  readonly fields: readonly SchemaField[];
}

export type SchemaField =
  | {
      readonly kind: "field";
      readonly doc: Doc;
      readonly name: Name;
      readonly type: Expr;
      readonly value?: Expr;
      readonly span: Span;
    }
  | {
      readonly kind: "group";
      readonly doc: Doc;
      readonly name: Name;
      readonly fields: readonly SchemaField[];
      readonly span: Span;
    };

/** `signature adamw(betas: list(number) = [0.9, 0.95]) -> optimizer`: a function that sections call. */
export interface SignatureDecl extends Node {
  readonly kind: "signature";
  readonly doc: Doc;
  readonly name: Name;
  readonly params: readonly {
    readonly doc: Doc;
    readonly name: Name;
    readonly type: Expr;
    readonly value?: Expr;
    readonly span: Span;
  }[];
  readonly result: Expr;
}

export type Item = DimItem | StoreItem | UseItem | FnItem | OnItem | Expect | SetItem;

/** `dim N = 128 /// per-head width` */
export interface DimItem extends Node {
  readonly kind: "dim";
  readonly doc: Doc;
  readonly name: Name;
  readonly value: Expr;
}

/** `param w: [D, F] = normal(0.02)`, `state bias: f32[E] = 0`, `cache latent: [C]` */
export interface StoreItem extends Node {
  readonly kind: "param" | "state" | "cache";
  readonly doc: Doc;
  readonly name: Name;
  readonly type: Type;
  readonly value?: Expr;
}

/** `use experts = SwiGlu[D, F] over E` */
export interface UseItem extends Node {
  readonly kind: "use";
  readonly doc: Doc;
  readonly name: Name;
  readonly value: Expr;
  readonly over?: Name;
}

/** `fn first[I](x: [.., I], pos: i32[T]) -> [.., I] { ... }` */
export interface FnItem extends Node {
  readonly kind: "fn";
  readonly doc: Doc;
  readonly name: Name;
  readonly dims: readonly DimFormal[];
  readonly params: readonly Param[];
  readonly result?: Type;
  readonly body: Code;
  /** The entries of an `extern kernel`, whose body is a call of its reference with its own parameters. */
  readonly extern?: readonly ExternEntry[];
}

/** `cuda = "fast.cu"` or `reference = plain` in `extern kernel fast(x: [T, D]) -> [T, D] { ... }` */
export interface ExternEntry extends Node {
  readonly name: Name;
  readonly value: Expr;
}

/** `on step { bias = ... }` */
export interface OnItem extends Node {
  readonly kind: "on";
  readonly event: Name;
  readonly body: Code;
}

/** `dtype = bf16` in a block or model body */
export interface SetItem extends Node {
  readonly kind: "set";
  readonly doc: Doc;
  readonly name: Name;
  readonly value: Expr;
}

/** `expect params.total == 671B within 0.1%` */
export interface Expect extends Node {
  readonly kind: "expect";
  readonly left: Expr;
  readonly right: Expr;
  readonly within?: Quantity;
}

export interface Param extends Node {
  readonly name: Name;
  readonly type: Type;
  readonly value?: Expr;
}

/** `f32[T, D]`, `[.., D]`, `Block`, `Number`, or a tuple `([T, D], [T])`. */
export type Type =
  | { readonly kind: "tensor"; readonly base?: Name; readonly dims?: readonly TypeDim[]; readonly span: Span }
  | { readonly kind: "tuple"; readonly parts: readonly Type[]; readonly span: Span };

export type TypeDim =
  | { readonly kind: "dim"; readonly value: Expr; readonly span: Span }
  | { readonly kind: "rest"; readonly span: Span };

export interface Code extends Node {
  readonly stmts: readonly Stmt[];
}

export type Stmt = LetStmt | AssignStmt | ReturnStmt;

/** `let y[T, H] = a @ b`, `let (a, b) = split(...)`, `metric load[E] = ...`, `loss balance[B] = ...` */
export interface LetStmt extends Node {
  readonly kind: "let" | "metric" | "loss";
  readonly targets: readonly { readonly name: Name; readonly dims?: readonly TypeDim[]; readonly span: Span }[];
  /** True when the targets stood in parentheses. */
  readonly tuple: boolean;
  readonly value: Expr;
}

export interface AssignStmt extends Node {
  readonly kind: "assign";
  readonly name: Name;
  readonly value: Expr;
}

export interface ReturnStmt extends Node {
  readonly kind: "return";
  readonly value: Expr;
}

export type BinaryOp = "|" | "&" | "<" | "<=" | ">" | ">=" | "==" | "!=" | "+" | "-" | "*" | "/" | "@" | "^";

export type Expr =
  | Quantity
  | Str
  | { readonly kind: "name"; readonly name: string; readonly span: Span }
  | {
      readonly kind: "binary";
      readonly op: BinaryOp;
      readonly opSpan: Span;
      readonly left: Expr;
      readonly right: Expr;
      readonly span: Span;
    }
  | { readonly kind: "unary"; readonly op: "+" | "-"; readonly operand: Expr; readonly span: Span }
  | { readonly kind: "member"; readonly object: Expr; readonly name: Name; readonly span: Span }
  | { readonly kind: "index"; readonly object: Expr; readonly dims: readonly TypeDim[]; readonly span: Span }
  | { readonly kind: "call"; readonly callee: Expr; readonly args: readonly Arg[]; readonly span: Span }
  | { readonly kind: "list"; readonly items: readonly Expr[]; readonly span: Span }
  | { readonly kind: "paren"; readonly inner: Expr; readonly span: Span }
  | { readonly kind: "tuple"; readonly items: readonly Expr[]; readonly span: Span }
  | { readonly kind: "schedule"; readonly by: Name; readonly pieces: readonly SchedulePiece[]; readonly span: Span }
  | {
      readonly kind: "stack";
      readonly layers: readonly { readonly count: Expr; readonly of: Expr; readonly span: Span }[];
      readonly span: Span;
    }
  /** Where the parser recovered from an error; never reaches code generation. */
  | { readonly kind: "error"; readonly span: Span };

export interface SchedulePiece extends Node {
  /** Absent for `..end`. */
  readonly until?: Quantity;
  readonly value: Expr;
}

export interface Arg extends Node {
  readonly name?: Name;
  readonly value: Expr;
}

/** `14.8T tokens`, `4Ki`, `30%`, `0.5`: the digits as written and the value they stand for. */
export interface Quantity extends Node {
  readonly kind: "quantity";
  readonly text: string;
  /** The value with its multiplier applied (`4Ki` is 4096, `30%` is 30), without the unit's own scale. */
  readonly value: number;
  /** True when written without a fraction or exponent and the value is a safe integer. */
  readonly integer: boolean;
  readonly unit?: string;
}

export interface Str extends Node {
  readonly kind: "string";
  readonly value: string;
}
