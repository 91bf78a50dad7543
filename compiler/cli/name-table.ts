import { join } from "node:path";
import { type NameTable, readTable } from "../../runtime/io/names/table.ts";
import type { Module } from "../model-ir/types.ts";
import { installation } from "./installation.ts";

/** How checkpoints call the params of a model, where it says so. */
export function tableOf({ checkpoint }: Module): NameTable | undefined {
  return checkpoint === undefined ? undefined : readTable(join(installation(), "dsl", "std", "hf"), checkpoint);
}
