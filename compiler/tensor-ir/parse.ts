import { TextCursor } from "./text-cursor.ts";
import {
  type Attrs,
  type AttrValue,
  type DimSize,
  type DimTable,
  type DType,
  DTYPES,
  type Op,
  type Program,
  type TensorType,
  type Value,
} from "./types.ts";

/**
 * Reads the text form of a program. Blank lines and indentation do not matter. Checks the form only; whether the program
 * is sound is for the verifier.
 * @throws Error with the line number when the text is malformed
 */
export function parseProgram(text: string): Program {
  const lines = text.split("\n").map((line, i) => ({ text: line.trim(), number: i + 1 }));
  const full = lines.filter((line) => line.text !== "");
  let line = { text: "", number: lines.length };
  const next = (what: string): string => {
    const found = full.shift();
    if (found === undefined) throw new Error(`the text ends before ${what}`);
    line = found;
    return found.text;
  };
  try {
    const [, name] = /^program @(\S+)$/.exec(next("`program @name`")) ?? [];
    if (name === undefined) throw new Error("expected `program @name`");
    const dims = parseDims(next("`dims { ... }`"));
    if (next("`{`") !== "{") throw new Error("expected `{`");
    const ops = parseBody(() => next("`}`"));
    if (full.length > 0) throw new Error(`\`${next("the end")}\` follows the program`);
    return { name, dims, ops };
  } catch (error) {
    throw new Error(`line ${line.number}: ${(error as Error).message}`, { cause: error });
  }
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
    if (dims.has(label)) throw new Error(`dim ${label} is listed twice`);
    dims.set(label, dimSize(cursor.word("a size")));
  });
  cursor.end();
  return dims;
}

function dimSize(text: string): DimSize {
  if (text === "?") return null;
  if (!/^\d+$/.test(text)) throw new Error(`${text} is no size`);
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
    do operands.push(lookup(valueId(cursor)));
    while (cursor.take(","));
  }
  const attrs = cursor.take("{") ? parseAttrs(cursor) : {};
  cursor.end();
  return { name, operands, results, attrs };
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
  if (!/^\d+$/.test(digits)) throw new Error(`%${digits} is no value`);
  return Number(digits);
}

function tensorType(cursor: TextCursor): TensorType {
  const dtype = cursor.word("a dtype");
  if (!isDType(dtype)) throw new Error(`${dtype} is no dtype`);
  const dims: string[] = [];
  if (cursor.take("[")) cursor.list("]", () => dims.push(cursor.word("a dim label")));
  return { dtype, dims };
}

function isDType(text: string): text is DType {
  return (DTYPES as readonly string[]).includes(text);
}

function parseAttrs(cursor: TextCursor): Attrs {
  const attrs: Record<string, AttrValue> = {};
  cursor.list("}", () => {
    const key = cursor.word("the name of an attribute");
    cursor.expect("=");
    if (Object.hasOwn(attrs, key)) throw new Error(`attribute ${key} is given twice`);
    attrs[key] = attrValue(cursor);
  });
  return attrs;
}

function attrValue(cursor: TextCursor): AttrValue {
  if (!cursor.take("[")) return scalar(cursor);
  const items: (string | number | boolean)[] = [];
  cursor.list("]", () => items.push(scalar(cursor)));
  if (items.every((item) => typeof item === "string")) return items;
  if (items.every((item) => typeof item === "number")) return items;
  throw new Error("a list holds either strings or numbers");
}

const WORDS: Readonly<Record<string, number | boolean>> = {
  true: true,
  false: false,
  inf: Infinity,
  "-inf": -Infinity,
  nan: NaN,
};

function scalar(cursor: TextCursor): string | number | boolean {
  if (cursor.at('"')) return cursor.string();
  const word = cursor.word("a value");
  const known = WORDS[word];
  if (known !== undefined) return known;
  if (!/^-?\d+(\.\d+)?(e[+-]?\d+)?$/.test(word)) throw new Error(`${word} is no value`);
  return Number(word);
}
