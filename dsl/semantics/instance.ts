import type { Block, Store } from "../../compiler/model-ir/types.ts";
import type { Span } from "../../compiler/diagnostics/source.ts";
import type * as ast from "../syntax/ast.ts";
import type { Dim } from "./dims.ts";
import type { FileScope } from "./load.ts";
import type { Meaning, Tensor } from "./values.ts";

/** One declaration of an `extends` chain with its formal dims and arguments bound. */
export interface Level {
  readonly decl: ast.BlockDecl | ast.ModelDecl;
  readonly scope: FileScope;
  readonly formals: Map<string, Dim>;
  /** What `..` among the formal dims stands for. */
  readonly rest: readonly Dim[] | undefined;
  /** Arguments are evaluated when they are first looked at: a default may use dims of what the block extends. */
  readonly args: Map<string, Lazy>;
}

export interface Lazy {
  get(): Meaning;
  /** Where it is written, if it is. */
  readonly at?: Span;
}

/** `cyclic` tells of a value that is needed for itself, and stands for it. */
export function lazy(make: () => Meaning, cyclic: () => Meaning, at?: Span): Lazy {
  let value: Meaning | "busy" | undefined;
  return {
    ...(at === undefined ? {} : { at }),
    get: () => {
      if (value === "busy") return cyclic();
      if (value === undefined) {
        value = "busy";
        value = make();
      }
      return value;
    },
  };
}

export type MemberItem = ast.DimItem | ast.StoreItem | ast.UseItem | ast.FnItem;

export interface Member {
  readonly item: MemberItem;
  readonly level: Level;
}

/** A block with everything bound: what a use of it with these arguments means. */
export interface Instance {
  readonly block: Block;
  readonly key: string;
  /** Where the block is written with these arguments, for the first time. */
  readonly at: Span;
  /** Most derived first. */
  readonly levels: Level[];
  /** By name; what a derived level declares hides what it extends. */
  readonly members: Map<string, Member>;
  /** Dims given by name in place of a declared size: `Mla[D, H](C: 16)`. */
  readonly sizes: Map<string, Lazy>;
  readonly dims: Map<string, Dim | "busy">;
  readonly stores: Map<string, StoreInfo>;
  readonly uses: Map<string, UseInfo>;
  readonly metrics: Map<string, Tensor>;
  /** `T`, `S` or `B`, where the block declares something of that name, which is told. */
  readonly misnamed: Set<string>;
  /** Dims that stand for another one which the block has already (`Linear[D, D]`), and that other one. */
  readonly aliases: Map<Dim, Dim>;
}

export interface StoreInfo {
  readonly store: Store;
  readonly dims: readonly Dim[];
}

export type UseInfo =
  | { readonly kind: "block"; readonly instance: Instance; readonly fn: string; readonly over: Dim | undefined }
  | { readonly kind: "stack"; readonly layers: readonly { readonly count: number; readonly instance: Instance }[] }
  /** `at` is where the function is named, if it is. */
  | { readonly kind: "alias"; readonly of: string; readonly fn: string; readonly at?: Span }
  | {
      readonly kind: "ahead";
      readonly depth: number;
      readonly instance: Instance;
      readonly embed: string;
      readonly head: string;
      readonly span: Span;
    }
  /** A block argument of a block that is checked on its own, or something that was wrong. */
  | { readonly kind: "unknown" }
  /** Being placed just now: whoever asks for it needs it for itself. */
  | { readonly kind: "busy" };

export function instanceName(instance: Instance): string {
  return instance.levels[0]!.decl.name.text;
}
