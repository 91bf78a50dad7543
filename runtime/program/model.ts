import type { NameTable } from "../io/names/table.ts";
import type { StorageType } from "./launch.ts";

/** How a param or a state starts: one value everywhere, draws with this deviation, or draws from -bound to bound. */
export type Init =
  | { readonly kind: "constant"; readonly value: number }
  | { readonly kind: "normal" | "uniform"; readonly scale: number };

/** A param or a state of a model, of its optimizer (`optimizer.<path of the param>.<name>`) as well. */
export interface ModelStore {
  /** `trunk.7.ffn.experts.gate` */
  readonly name: string;
  readonly kind: "param" | "state";
  readonly dtype: StorageType;
  /** In memory order; dims of copies first. */
  readonly shape: readonly number[];
  readonly init: Init;
  /** Names of the block that it belongs to and of what that extends: the name table asks for them. */
  readonly blocks?: readonly string[];
  /** Of a look-ahead module: published checkpoints may lack it. */
  readonly ahead?: true;
  /** Holds nothing between two steps, as sums of gradients do: it starts as `init` says and is in no checkpoint. */
  readonly transient?: true;
}

/** `model.json` of a package: what a runtime must know of a model beside its programs. */
export interface ModelFile {
  readonly format: 1;
  readonly name: string;
  /** How many tokens there are. */
  readonly vocabulary: number;
  readonly stores: readonly ModelStore[];
  /** How checkpoints of Hugging Face call the stores (`runtime/io/names`). */
  readonly names?: NameTable;
}
