import { readdirSync } from "node:fs";
import { join } from "node:path";
import { closest } from "../../compiler/diagnostics/did-you-mean.ts";

/** The tables of checkpoint names that the standard library has, in its folder `hf`: `deepseek`. */
export function nameTables(std: string): string[] {
  const files = readdirSync(join(std, "hf")).filter((file) => file.endsWith(".json"));
  return files.map((file) => file.slice(0, -".json".length)).toSorted();
}

/** Which one may be meant. */
export function tableHelp(name: string, tables: readonly string[]): string {
  const path = (table: string): string => `std.hf.${table}`;
  const near = closest(name, tables).map((table) => `\`${path(table)}\``);
  return near.length > 0 ? `did you mean ${near.join(" or ")}?` : `tables are ${tables.map(path).join(", ")}`;
}
