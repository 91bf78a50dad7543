import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import { renderDiagnostics } from "../../../compiler/diagnostics/render.ts";
import { importConfig } from "../../../compiler/import/import.ts";
import type { Module } from "../../../compiler/model-ir/types.ts";
import { checkFile } from "../../../dsl/semantics/check.ts";

export const fixtures = resolve(import.meta.dirname, "../../fixtures");

export type Keys = Readonly<Record<string, unknown>>;

export function readJson(...path: string[]): Keys {
  return JSON.parse(readFileSync(join(fixtures, ...path), "utf8")) as Keys;
}

/** The configuration of a small model, with other values for some keys; `undefined` leaves a key out. */
export function changed(fixture: string, changes: Keys): Keys {
  const all = { ...readJson("models", fixture, "config.json"), ...changes };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

/** The spec of a configuration that must import. */
export function specOf(config: Keys, name = "Small"): string {
  const imported = importConfig(config, name);
  if ("problems" in imported) throw new Error(imported.problems.join("\n"));
  return imported.text;
}

/** The problems of a configuration that must not import. */
export function problemsOf(config: unknown): readonly string[] {
  const imported = importConfig(config, "Small");
  if ("text" in imported) throw new Error(`imported:\n${imported.text}`);
  return imported.problems;
}

/** The model of an imported spec, which must be without errors and warnings. */
export function moduleOf(text: string): Module {
  const diagnostics = new Diagnostics();
  const { models } = checkFile({ path: "imported.dsk", text }, diagnostics);
  if (diagnostics.all.length > 0) throw new Error(`${renderDiagnostics(diagnostics.all, { color: false })}\n${text}`);
  return [...models.values()][0]!.module;
}

/** Lines of the layers: what stands between the braces of the stack, joined to one line each. */
export function layersOf(text: string): string[] {
  const stack = /use trunk = stack \{\n([^]*?)\n {2}\}/.exec(text)![1]!;
  return stack.split(/\n(?= {4}\d)/).map((layer) =>
    layer
      .replace(/\s+/g, " ")
      .replace(/([([]) /g, "$1")
      .replace(/ ([)\]])/g, "$1")
      .trim(),
  );
}
