/** Reading, printing and failing: what every command shares. */
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import type { SourceFile } from "../diagnostics/source.ts";

/** Arguments that make no sense: exit 2. */
export class UsageError extends Error {}

/** Input that cannot be used, where no diagnostic tells more: exit 1. */
export class InputError extends Error {}

/** Data: to stdout, with a line break at the end. */
export function print(text: string): void {
  process.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
}

/** One JSON document. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value, undefined, 2));
}

/** Decoration: to stderr, with a line break at the end. */
export function remark(text: string): void {
  process.stderr.write(`${text}\n`);
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EISDIR: "it is a directory",
  EACCES: "permission denied",
};

/**
 * The text of a file; `-` is stdin.
 * @throws UsageError when it cannot be read
 */
export function readSource(path: string): SourceFile {
  try {
    const bytes = readFileSync(path === "-" ? 0 : path);
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return { path: path === "-" ? "<stdin>" : path, text };
  } catch (error) {
    if (error instanceof TypeError) throw new InputError(`\`${path}\` is not UTF-8 text`);
    const { code, message } = error as NodeJS.ErrnoException;
    throw new UsageError(`cannot read \`${path}\`: ${REASONS[code ?? ""] ?? message}`);
  }
}

/** Adds examples to the help of a command: `[command line, what it does]`. */
export function examples(command: Command, ...lines: readonly (readonly [string, string])[]): void {
  const width = Math.max(...lines.map(([line]) => line.length));
  const text = lines.map(([line, what]) => `  ${line.padEnd(width)}  ${what}`).join("\n");
  command.addHelpText("after", `\n${lines.length === 1 ? "Example" : "Examples"}:\n${text}`);
}
