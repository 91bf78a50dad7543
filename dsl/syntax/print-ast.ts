import type { File } from "./ast.ts";

/** Fields that say where something stands, not what it is. */
const PLACES = new Set(["span", "opSpan", "source", "broken", "torn"]);

/** The AST as indented text, without places: equal texts are equal programs. For `--emit=ast` and tests. */
export function printAst(file: File): string {
  const lines: string[] = [];
  for (const [name, value] of Object.entries(file)) if (!PLACES.has(name)) write(lines, name, value, 0);
  return `${lines.join("\n")}\n`;
}

function write(lines: string[], label: string, value: unknown, depth: number): void {
  const indent = "  ".repeat(depth);
  if (value === undefined) return;
  if (Array.isArray(value)) {
    if (value.length > 0) lines.push(`${indent}${label}:`);
    for (const item of value) write(lines, "-", item, depth + 1);
    return;
  }
  if (typeof value !== "object" || value === null) {
    lines.push(`${indent}${label}: ${JSON.stringify(value)}`);
    return;
  }
  const fields = Object.entries(value).filter(([name]) => !PLACES.has(name));
  const simple = shortForm(value as Record<string, unknown>);
  if (simple !== undefined) {
    lines.push(`${indent}${label}: ${simple}`);
    return;
  }
  const kind = fields.find(([name]) => name === "kind");
  lines.push(`${indent}${label}:${kind === undefined ? "" : ` ${String(kind[1])}`}`);
  for (const [name, inner] of fields) if (name !== "kind") write(lines, name, inner, depth + 1);
}

/** Names, quantities and the like on one line. */
function shortForm(node: Record<string, unknown>): string | undefined {
  if (node["kind"] === "quantity")
    return `${String(node["value"])}${node["unit"] === undefined ? "" : ` ${String(node["unit"])}`}`;
  if (node["kind"] === "string") return JSON.stringify(node["value"]);
  if (node["kind"] === "name" && typeof node["name"] === "string") return node["name"];
  return typeof node["text"] === "string" && node["kind"] === undefined ? node["text"] : undefined;
}
