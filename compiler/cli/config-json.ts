/** Files of Hugging Face beside specs: a config.json, or a folder that holds one, reads as the spec that it imports as. */
import { basename, dirname, join, resolve } from "node:path";
import { parseJson, plain, RepeatedKeyError } from "../../runtime/io/json.ts";
import type { SourceFile } from "../diagnostics/source.ts";
import { importConfig } from "../import/import.ts";
import { InputError, isFolder, readSource } from "./io.ts";

/**
 * The text of a spec, which is imported first when the path leads to a config.json.
 * @throws InputError when the file cannot be read, or the config.json cannot be imported
 */
export function readSpec(path: string): SourceFile {
  return isFolder(path) || path.endsWith(".json") ? importedSpec(path) : readSource(path);
}

/**
 * The spec of a config.json or of the folder that holds one.
 * @throws InputError when the file cannot be read, with a line for each problem when it cannot be imported
 */
export function importedSpec(path: string): SourceFile {
  const file = isFolder(path) ? join(path, "config.json") : path;
  const imported = importConfig(parsed(readSource(file)), nameOf(file));
  if ("text" in imported) return { path: file, text: imported.text };
  throw refused(file, imported.problems);
}

function refused(file: string, problems: readonly string[]): InputError {
  const lines = problems.map((problem) => `  ${problem}`);
  return new InputError(`cannot import \`${file}\`:\n${lines.join("\n")}`, file);
}

function parsed({ path, text }: SourceFile): unknown {
  try {
    return parseJson(text);
  } catch (error) {
    if (error instanceof RepeatedKeyError) throw refused(path, [`${plain(error.path.join("."))}: stands twice`]);
    throw new InputError(`\`${path}\` is no JSON: ${(error as Error).message}`, path);
  }
}

/** Files are called config.json in the folder of their model, or after their model. */
function nameOf(file: string): string {
  const stem = basename(file).replace(/\.json$/, "");
  return stem === "config" || stem === "-" ? basename(dirname(resolve(file))) : stem;
}
