import type { Block, Store } from "../../compiler/model-ir/types.ts";
import type * as ast from "../syntax/ast.ts";
import type { Dim } from "./dims.ts";
import type { FileScope } from "./load.ts";
import type { BlockTemplate, Meaning, Tensor } from "./values.ts";

/** One declaration of an `extends` chain with its formal dims and arguments bound. */
export interface Level {
  readonly decl: ast.BlockDecl | ast.ModelDecl;
  readonly scope: FileScope;
  readonly formals: ReadonlyMap<string, Dim>;
  readonly rest: readonly Dim[];
  readonly args: ReadonlyMap<string, Meaning>;
}

export type MemberItem = ast.DimItem | ast.StoreItem | ast.UseItem | ast.FnItem;

export interface Member {
  readonly item: MemberItem;
  readonly level: Level;
}

/** A block with everything bound: what one `use` of it with these arguments means. */
export interface Instance {
  readonly block: Block;
  readonly key: string;
  /** Most derived first. */
  readonly levels: readonly Level[];
  /** By name; what a derived level declares hides what it extends. */
  readonly members: Map<string, Member>;
  /** Dims given by name in place of a declared size: `Mla[D, H](C: 16)`. */
  readonly sizes: ReadonlyMap<string, Meaning>;
  readonly dims: Map<string, Dim | "busy">;
  readonly stores: Map<string, StoreInfo>;
  readonly uses: Map<string, UseInfo>;
  readonly metrics: Map<string, Tensor>;
  /** Formals that stand for a dim that an earlier formal stands for already (`Linear[D, D]`). */
  readonly aliases: Map<Dim, Dim>;
}

export interface StoreInfo {
  readonly store: Store;
  readonly dims: readonly Dim[];
}

export type UseInfo =
  | { readonly kind: "block"; readonly template: BlockTemplate; readonly instance: Instance | undefined; readonly fn: string; readonly over?: Dim }
  | { readonly kind: "stack"; readonly layers: readonly { readonly count: number; readonly instance: Instance }[] }
  | { readonly kind: "alias"; readonly of: string; readonly fn: string }
  | { readonly kind: "ahead"; readonly depth: number; readonly instance: Instance; readonly embed: string; readonly head: string }
  | { readonly kind: "error" };

/** The events and names that a derived block may not change. */
export function blockName(instance: Instance): string {
  return instance.levels[0]!.decl.name.text;
}
