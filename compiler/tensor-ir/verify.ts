import { isOpName, OPS } from "./ops/table.ts";
import { isWord } from "./text-cursor.ts";
import { tilesOf } from "./tiles.ts";
import { type DimTable, type Op, type Program, type TensorType, typeText, type Value } from "./types.ts";

/** What is wrong with an op by itself, one message each: operands, attributes, result type. */
export function verifyOp(op: Op, dims: DimTable): string[] {
  if (!isOpName(op.name)) return ["there is no such op"];
  return OPS[op.name].verify(op, dims);
}

/**
 * What is wrong with a program, one message each; empty when it is sound: every value is defined once, before its uses and
 * with the type of its uses; types name dims of the table, none twice; every op keeps its rules; names and labels can be
 * written as text.
 */
export function verifyProgram(program: Program): readonly string[] {
  const { dims, ops } = program;
  const faults = isWord(program.name) ? [] : [`${JSON.stringify(program.name)} cannot be a name`];
  for (const [label, size] of dims) {
    if (!isWord(label)) faults.push(`${JSON.stringify(label)} cannot be a label`);
    const tiles = size === null ? tilesOf(label) : undefined;
    if (tiles !== undefined && dims.get(tiles.of) !== null)
      faults.push(`dim ${label} counts tiles of ${tiles.of}, which is no run-time dim`);
    if (tiles?.by === 0) faults.push(`dim ${label} has tiles of no elements`);
    if (size !== null && !(Number.isSafeInteger(size) && size >= 0)) faults.push(`dim ${label} has size ${size}`);
  }
  const defined = new Map<number, Value>();
  for (const [index, op] of ops.entries()) {
    const found = [
      ...op.operands.flatMap((value) => verifyUse(value, defined)),
      ...op.results.flatMap((value) => verifyDefinition(value, defined, dims)),
    ];
    // The rules of ops take well-formed types for granted.
    if (found.length === 0) found.push(...verifyOp(op, dims));
    for (const result of op.results) defined.set(result.id, result);
    faults.push(...found.map((fault) => `op ${index} ${op.name}: ${fault}`));
  }
  return faults;
}

/** @throws Error with every fault when the program is not sound; `after` says what made it */
export function assertVerified(program: Program, after: string): void {
  const faults = verifyProgram(program);
  if (faults.length > 0) throw new Error(`program ${program.name} after ${after}:\n${faults.join("\n")}`);
}

function verifyUse(value: Value, defined: ReadonlyMap<number, Value>): string[] {
  const source = defined.get(value.id);
  if (source === undefined) return [`%${value.id} is not defined before`];
  const [used, made] = [typeText(value.type), typeText(source.type)];
  return used === made ? [] : [`%${value.id} is used as ${used}, it is ${made}`];
}

function verifyDefinition(value: Value, defined: ReadonlyMap<number, Value>, dims: DimTable): string[] {
  const faults = defined.has(value.id) ? [`%${value.id} is defined twice`] : [];
  if (value.name !== undefined && !isWord(value.name)) faults.push(`${JSON.stringify(value.name)} cannot be a name`);
  return [...faults, ...verifyType(value.type, dims).map((fault) => `%${value.id}: ${fault}`)];
}

function verifyType(type: TensorType, dims: DimTable): string[] {
  return type.dims.flatMap((label, i) => {
    if (!dims.has(label)) return [`dim ${label} is not in the dim table`];
    return type.dims.indexOf(label) === i ? [] : [`dim ${label} stands twice in ${typeText(type)}`];
  });
}
