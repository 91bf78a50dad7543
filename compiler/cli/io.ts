/** Reading, printing and failing: what every command shares. */
import { existsSync, readFileSync, statSync } from "node:fs";
import type { Command } from "commander";
import { isSystemError, reasonOf } from "../../runtime/io/reason.ts";
import { replaceFile } from "../../runtime/io/replace-file.ts";
import type { SourceFile } from "../diagnostics/source.ts";

/** Arguments that make no sense: exit 2. */
export class UsageError extends Error {}

/** Input that cannot be used, where no diagnostic tells more: exit 1. */
export class InputError extends Error {
  /** The file that is at fault, where it is one. */
  readonly path: string | undefined;

  constructor(message: string, path?: string) {
    super(message);
    this.path = path;
  }
}

/** A number on the command line: `4096`, `131_072`, `2e9`. */
export function positive(text: string): number {
  const value = Number(text.replaceAll("_", ""));
  if (!Number.isSafeInteger(value) || value < 1) throw new UsageError(`\`${text}\` is not a positive whole number`);
  return value;
}

/** What an option takes as a number within bounds: `--temperature 0.7`. */
export function number(least: number, most = Infinity): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== "" && value >= least && value <= most) return value;
    const bounds = most === Infinity ? `from ${least} on` : `from ${least} to ${most}`;
    throw new UsageError(`\`${text}\` is no number ${bounds}`);
  };
}

/** A whole number from 0 on. */
export function natural(text: string): number {
  const value = Number(text.replaceAll("_", ""));
  if (text.trim() === "" || !Number.isSafeInteger(value) || value < 0)
    throw new UsageError(`\`${text}\` is no whole number from 0 on`);
  return value;
}

/** For an option that can be repeated. */
export function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

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

/** What is going on, for people who wait: to stderr when that is a terminal. Nothing that a program could miss. */
export function progress(text: string): void {
  if (process.stderr.isTTY) remark(text);
}

/** Says in what time something was done, when that was long. */
export function timed(what: string, started: number): void {
  const seconds = (performance.now() - started) / 1000;
  if (seconds > 2) progress(`${what} in ${seconds.toFixed(1)} s`);
}

/** Shows how far something is that takes more than two seconds: once a second, from then on. */
export function ticking(): (what: string, done: number, all: number) => void {
  let due = performance.now() + 2000;
  return (what, done, all) => {
    const now = performance.now();
    if (now < due) return;
    due = now + 1000;
    progress(`${what}: ${done} of ${all}`);
  };
}

/**
 * The text of a file; `-` is stdin.
 * @throws InputError when it cannot be read
 */
export function readSource(path: string): SourceFile {
  try {
    const bytes = readFileSync(path === "-" ? 0 : path);
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return { path: path === "-" ? "<stdin>" : path, text };
  } catch (error) {
    if (error instanceof TypeError) throw new InputError(`\`${path}\` is not UTF-8 text`, path);
    throw new InputError(`cannot read \`${path}\`: ${reasonOf(error as NodeJS.ErrnoException)}`, path);
  }
}

/**
 * What `write` gives, which writes a file or a folder.
 * @throws InputError when the file system refuses
 */
export function writing<T>(path: string, write: () => T): T {
  try {
    return write();
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new InputError(`cannot write \`${path}\`: ${reasonOf(error)}`);
  }
}

/**
 * Writes a text file.
 * @throws InputError when the file system refuses
 */
export function writeText(path: string, text: string): void {
  writing(path, () => replaceFile(path, text));
}

export function isFolder(path: string): boolean {
  return existsSync(path) && statSync(path).isDirectory();
}

/** Adds examples to the help of a command: `[command line, what it does]`. */
export function examples(command: Command, ...lines: readonly (readonly [string, string])[]): void {
  const width = Math.max(...lines.map(([line]) => line.length));
  const text = lines.map(([line, what]) => `  ${line.padEnd(width)}  ${what}`).join("\n");
  command.addHelpText("after", `\n${lines.length === 1 ? "Example" : "Examples"}:\n${text}`);
}
