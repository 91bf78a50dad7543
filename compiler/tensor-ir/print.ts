import { numberText } from "./text-cursor.ts";
import { type Attrs, type AttrValue, type DimTable, type Op, type Program, typeText, type Value } from "./types.ts";

/** The text form of a program, which `parseProgram` reads back: see docs/tensor-ir.md. Places in the source are not in it. */
export function printProgram({ name, dims, ops }: Program): string {
  return [`program @${name}`, printDims(dims), "{", ...ops.map((op) => `  ${printOp(op)}`), "}", ""].join("\n");
}

/** `dims { T = ?, D = 64 }` */
export function printDims(dims: DimTable): string {
  return `dims { ${[...dims].map(([label, size]) => `${label} = ${size ?? "?"}`).join(", ")} }`;
}

/** `%2 x: f32[T, D] = tensor.gather %1, %0 {dim = "V"}` */
export function printOp({ name, operands, results, attrs }: Op): string {
  const parts = [name];
  if (operands.length > 0) parts.push(operands.map(({ id }) => `%${id}`).join(", "));
  if (Object.keys(attrs).length > 0) parts.push(printAttrs(attrs));
  const call = parts.join(" ");
  return results.length === 0 ? call : `${results.map(printValue).join(", ")} = ${call}`;
}

/** A value where it is defined: `%0 tokens: i32[T]`. */
export function printValue({ id, name, type }: Value): string {
  return `%${id}${name === undefined ? "" : ` ${name}`}: ${typeText(type)}`;
}

function printAttrs(attrs: Attrs): string {
  const entries = Object.entries(attrs).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, value]) => `${key} = ${printAttr(value)}`).join(", ")}}`;
}

function printAttr(value: AttrValue): string {
  if (typeof value === "number") return numberText(value);
  if (typeof value === "boolean") return `${value}`;
  if (typeof value === "string") return JSON.stringify(value);
  return `[${value.map(printAttr).join(", ")}]`;
}
