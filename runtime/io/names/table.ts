import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { CheckpointError } from "../safetensors/format.ts";

/** How one tensor of a checkpoint holds one or more parameters. Paths are below a layer, or below the model. */
export interface Rule {
  readonly name: string;
  readonly layout: string;
  /** Parameter path to its dims, in its own order. With `{e}` in the name the first dim is the expert. */
  readonly params: Readonly<Record<string, string>>;
  /** The rule holds for parameters of blocks with one of these names only. */
  readonly of?: readonly string[];
}

/** A name table: data beside the standard library, one per family of checkpoints. */
export interface NameTable {
  readonly model: readonly Rule[];
  /** Below `trunk.{L}` and `mtp.{k}.layer`, stored below `model.layers.{L}`. */
  readonly layer: readonly Rule[];
  /** Below `mtp.{k}`, stored below the layer that follows the trunk. */
  readonly ahead: readonly Rule[];
  /** Names in checkpoints that hold nothing of their own; `*` stands for anything. */
  readonly ignore: readonly string[];
}

/** Reads `dsl/std/hf/NAME.json`. */
export function readTable(directory: string, name: string): NameTable {
  const file = join(directory, `${name}.json`);
  if (!/^[a-z0-9_]+$/.test(name) || !existsSync(file))
    throw new CheckpointError(`there is no table of checkpoint names \`${name}\``);
  return JSON.parse(readFileSync(file, "utf8")) as NameTable;
}
