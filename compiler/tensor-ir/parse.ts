import { TextCursor } from "./text-cursor.ts";
import { TextLines } from "./text-lines.ts";
import {
  type Attrs,
  type AttrValue,
  type DimSize,
  type DimTable,
  DTYPES,
  type Op,
  type Program,
  type TensorType,
  type Value,
} from "./types.ts";

/**
 * Reads the text form of a program. Blank lines and indentation do not matter. Checks the form only; whether the program
 * is sound is for the verifier.
 * @throws Error with the line, and mostly the column, when the text is malformed
 */
export function parseProgram(text: string): Program {
  const lines = new TextLines(text);
  return lines.read(() => {
    const [, name] = /^program @(\S+)$/.exec(lines.line("`program @name`")) ?? [];
    if (name === undefined) throw new Error("expected `program @name`");
    const dims = parseDims(lines.line("`dims { ... }`"));
    if (lines.line("`{`") !== "{") throw new Error("expected `{`");
    const ops = parseBody(() => lines.line("`}`"));
    if (!lines.done) throw new Error(`\`${lines.line("the end")}\` follows the program`);
    return { name, dims, ops };
  });
}

/** Ops, one per line, up to a line `}`. */
function parseBody(next: () => string): Op[] {
  const values = new Map<number, Value>();
  const lookup = (id: number): Value => {
    const value = values.get(id);
    if (value === undefined) throw new Error(`%${id} is not defined before`);
    return value;
  };
  const ops: Op[] = [];
  for (let text = next(); text !== "}"; text = next()) {
    const op = parseOp(text, lookup);
    for (const result of op.results) values.set(result.id, result);
    ops.push(op);
  }
  return ops;
}

/** `dims { T = ?, D = 64 }` */
export function parseDims(text: string): DimTable {
  const cursor = new TextCursor(text);
  cursor.expect("dims");
  cursor.expect("{");
  const dims: DimTable = new Map();
  cursor.list("}", () => {
    const label = cursor.word("a dim label");
    cursor.expect("=");
    if (dims.has(label)) cursor.fail(`dim ${label} is listed twice`);
    dims.set(label, dimSize(cursor));
  });
  cursor.end();
  return dims;
}

function dimSize(cursor: TextCursor): DimSize {
  const text = cursor.word("a size");
  if (text === "?") return null;
  if (!/^\d+$/.test(text)) cursor.fail(`${text} is no size`);
  return Number(text);
}

/** `%2 x: f32[T, D] = tensor.gather %1, %0 {dim = "V"}`, of whatever name; `lookup` gives operands, or throws. */
export function parseOp(text: string, lookup: (id: number) => Value): Op {
  const cursor = new TextCursor(text);
  const results: Value[] = [];
  if (cursor.at("%")) {
    do results.push(value(cursor));
    while (cursor.take(","));
    cursor.expect("=");
  }
  const name = cursor.word("the name of an op");
  const operands: Value[] = [];
  if (cursor.at("%")) {
    do operands.push(operand(cursor, lookup));
    while (cursor.take(","));
  }
  const attrs = cursor.take("{") ? parseAttrs(cursor) : {};
  cursor.end();
  return { name, operands, results, attrs };
}

function operand(cursor: TextCursor, lookup: (id: number) => Value): Value {
  const id = valueId(cursor);
  try {
    return lookup(id);
  } catch (error) {
    return cursor.fail((error as Error).message);
  }
}

/** A value where it is defined: `%0 tokens: i32[T]`. */
export function parseValue(text: string): Value {
  const cursor = new TextCursor(text);
  const found = value(cursor);
  cursor.end();
  return found;
}

function value(cursor: TextCursor): Value {
  const id = valueId(cursor);
  const name = cursor.at(":") ? undefined : cursor.word("a name");
  cursor.expect(":");
  const type = tensorType(cursor);
  return name === undefined ? { id, type } : { id, name, type };
}

function valueId(cursor: TextCursor): number {
  cursor.expect("%");
  const digits = cursor.word("the number of a value");
  if (!/^\d+$/.test(digits)) cursor.fail(`%${digits} is no value`);
  return Number(digits);
}

function tensorType(cursor: TextCursor): TensorType {
  const dtype = cursor.oneOf(DTYPES, "a dtype");
  const dims = cursor.take("[") ? cursor.list("]", () => cursor.word("a dim label")) : [];
  return { dtype, dims };
}

function parseAttrs(cursor: TextCursor): Attrs {
  const attrs: Record<string, AttrValue> = {};
  cursor.list("}", () => {
    const key = cursor.word("the name of an attribute");
    cursor.expect("=");
    if (Object.hasOwn(attrs, key)) cursor.fail(`attribute ${key} is given twice`);
    attrs[key] = attrValue(cursor);
  });
  return attrs;
}

function attrValue(cursor: TextCursor): AttrValue {
  if (!cursor.take("[")) return scalar(cursor);
  const items = cursor.list("]", () => scalar(cursor));
  if (items.every((item) => typeof item === "string")) return items;
  if (items.every((item) => typeof item === "number")) return items;
  return cursor.fail("a list holds either strings or numbers");
}

function scalar(cursor: TextCursor): string | number | boolean {
  if (cursor.at('"')) return cursor.string();
  if (cursor.take("true")) return true;
  if (cursor.take("false")) return false;
  return cursor.number("a value");
}
