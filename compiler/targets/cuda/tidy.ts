/**
 * Printers name every index of a kernel, whether it is used or is another one by another name. C++ compilers warn of the first, and
 * readers are better off without either: this goes over the lines of a function, whose blocks are indented.
 */
import { readable } from "./readable.ts";

const TYPE = "(?:int|long long|float|double|bool)";
const CONSTANT = new RegExp(`^ *const ${TYPE} (\\w+) = (.*);$`);
const VARIABLE = new RegExp(`^ *${TYPE} (\\w+);$`);
/** A block's own array in the arena. */
const OWN_ARRAY = /^ *[\w ]+\* const (\w+) = .*;$/;
const ALIAS = /^ *const int (\w+) = ([A-Za-z_]\w*);$/;

export function tidied(body: string): string {
  const lines = body.replaceAll(/\}\n *else (if .*)?\{/g, "} else $1{").split("\n");
  return readable(withoutUnused(withoutAliases(lines)).join("\n"));
}

/** Gives a name whose only purpose is to be another one that other one's name everywhere. */
function withoutAliases(lines: readonly string[]): string[] {
  for (const [i, line] of lines.entries()) {
    const [, alias, name] = ALIAS.exec(line) ?? [];
    if (alias === undefined) continue;
    const start = declarationAbove(lines, i, name!);
    if (start === undefined) continue;
    const end = endOfScope(lines, start);
    const scope = lines.slice(start, end);
    const aliasWord = new RegExp(`\\b${alias}\\b`);
    const mayBeBoth =
      !scope.slice(0, i - start).some((other) => aliasWord.test(other)) &&
      scope.every((other, k) => k === i - start || other.trim() === line.trim() || !declares(other, alias!)) &&
      scope.every((other, k) => k === 0 || !declares(other, name!));
    if (!mayBeBoth) continue;
    const word = new RegExp(`\\b${name}\\b`, "g");
    const renamed = scope.flatMap((other) => (other.trim() === line.trim() ? [] : [other.replaceAll(word, alias!)]));
    return withoutAliases([...lines.slice(0, start), ...renamed, ...lines.slice(end)]);
  }
  return [...lines];
}

/** The line that declares a name as it is known at a line: a constant, a parameter or what a loop counts with. */
function declarationAbove(lines: readonly string[], at: number, name: string): number | undefined {
  let depth = indentOf(lines[at]!);
  for (let i = at - 1; i >= 0; i--) {
    const line = lines[i]!;
    const own = indentOf(line);
    if (own > depth) continue;
    const opens = own < depth && line.endsWith("{");
    depth = own;
    if (!declares(line, name)) continue;
    if (opens) return i;
    return CONSTANT.exec(line)?.[1] === name ? i : undefined;
  }
  return undefined;
}

/** Behind the last line that knows what a line declares. */
function endOfScope(lines: readonly string[], start: number): number {
  const depth = indentOf(lines[start]!) + (lines[start]!.endsWith("{") ? 1 : 0);
  const end = lines.findIndex((line, i) => i > start && indentOf(line) < depth);
  return end < 0 ? lines.length : end;
}

function indentOf(line: string): number {
  return line.search(/\S|$/);
}

function declares(line: string, name: string): boolean {
  return new RegExp(`\\b${TYPE} ${name}\\b`).test(line);
}

/** Without constants and variables that nothing uses: what gives them a value does nothing else. */
function withoutUnused(lines: readonly string[]): readonly string[] {
  const kept = lines.filter((line, i) => {
    const name = (CONSTANT.exec(line) ?? VARIABLE.exec(line) ?? OWN_ARRAY.exec(line))?.[1];
    return name === undefined || isUsed(name, indentOf(line), lines.slice(i + 1));
  });
  return kept.length === lines.length ? kept : withoutUnused(kept);
}

/** Whether the lines of the block that follow use a name; those where it is something else don't. */
function isUsed(name: string, depth: number, lines: readonly string[]): boolean {
  // Not of `threadIdx.x`.
  const word = new RegExp(`(?<!\\.)\\b${name}\\b`);
  let hidden = Infinity;
  for (const line of lines) {
    const own = indentOf(line);
    if (own < depth) return false;
    if (own < hidden) hidden = Infinity;
    if (hidden < Infinity || !word.test(line)) continue;
    if (!declares(line, name)) return true;
    if (CONSTANT.test(line) && word.test(CONSTANT.exec(line)![2]!)) return true;
    // The head of a loop or a function hides it from what follows, a declaration from the rest of its block.
    hidden = line.endsWith("{") ? own + 1 : own;
  }
  return false;
}
