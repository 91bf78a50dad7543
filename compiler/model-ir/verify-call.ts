import { stringAttr } from "../tensor-ir/attrs.ts";
import { sameDims, withoutDims } from "../tensor-ir/ops/dims.ts";
import { type DimLabel, type Op, type TensorType, typeText } from "../tensor-ir/types.ts";
import type { Block, Fn } from "./types.ts";

export interface CheckedCall {
  readonly faults: readonly string[];
  /** What runs: the function, for each different block it runs in. Empty when the call is wrong. */
  readonly callee: readonly { readonly fn: Fn; readonly block: Block }[];
}

/** The rules of `model.call`: its attributes fit the use, its types fit the callee's. */
export function verifyCall(op: Op, block: Block, fns: ReadonlyMap<string, Fn>): CheckedCall {
  const wrong = (...faults: readonly string[]): CheckedCall => ({ faults, callee: [] });
  const { attrs } = op;
  for (const key of ["use", "fn"])
    if (typeof attrs[key] !== "string") return wrong(`attribute ${key} must be a string`);
  for (const key of ["first", "count"])
    if (!Number.isSafeInteger(attrs[key])) return wrong(`attribute ${key} must be a whole number`);
  const fn = fns.get(stringAttr(attrs, "fn"));
  if (fn === undefined) return wrong(`there is no function ${String(attrs["fn"])}`);
  const name = stringAttr(attrs, "use");
  const use = name === "" ? undefined : block.uses.get(name);
  if (name !== "" && use === undefined) return wrong(`${block.id} has no use ${name}`);

  if (use?.kind === "stack") {
    const [first, count] = [Number(attrs["first"]), Number(attrs["count"])];
    const total = use.layers.reduce((sum, run) => sum + run.count, 0);
    if (first < 0 || count < 1 || first + count > total)
      return wrong(`layers ${first} to ${first + count - 1} of ${total}`);
    const faults = [...types(op, fn, undefined), ...through(fn)];
    return { faults, callee: layers(use.layers, first, count).map((inner) => ({ fn, block: inner })) };
  }
  if (attrs["first"] !== 0 || attrs["count"] !== 1) return wrong("first is 0 and count 1 unless the use is a stack");
  if (use === undefined) return { faults: types(op, fn, undefined), callee: [{ fn, block }] };
  if (use.kind !== "block") return wrong(`${name} cannot be called`);
  if (use.over !== attrs["over"]) return wrong(`over is ${String(attrs["over"])}, the use has ${String(use.over)}`);
  return { faults: types(op, fn, use.over), callee: [{ fn, block: use.block }] };
}

/** The different blocks among some layers of a stack. */
function layers(
  runs: readonly { readonly count: number; readonly block: Block }[],
  first: number,
  count: number,
): Block[] {
  const found = new Set<Block>();
  let start = 0;
  for (const run of runs) {
    if (start < first + count && start + run.count > first) found.add(run.block);
    start += run.count;
  }
  return [...found];
}

function through(fn: Fn): string[] {
  const [input] = fn.params;
  const [output] = fn.results;
  if (input !== undefined && output !== undefined && fn.results.length === 1 && fits(input.type, output.type))
    return [];
  return [`${fn.id} does not give what it takes, so it is no layer of a stack`];
}

function types(op: Op, fn: Fn, over: DimLabel | undefined): string[] {
  const { slot } = op.attrs;
  const routed = over !== undefined && slot !== undefined;
  if (slot !== undefined && !routed) return ["a call with slot needs over"];
  const operands = routed ? op.operands.slice(0, -1) : op.operands;
  const faults: string[] = [];
  if (routed) {
    const chosen = op.operands.at(-1)?.type;
    if (chosen?.dtype !== "i32" || !chosen.dims.includes(String(slot)))
      faults.push(`the last operand must be i32 with ${String(slot)}`);
  }
  if (operands.length !== fn.params.length)
    faults.push(`${operands.length} operands, ${fn.id} takes ${fn.params.length}`);
  if (op.results.length !== fn.results.length)
    faults.push(`${op.results.length} results, ${fn.id} gives ${fn.results.length}`);
  if (faults.length > 0) return faults;
  for (const [i, { type }] of fn.params.entries()) {
    if (!fits(operands[i]!.type, type))
      faults.push(`operand ${i} is ${typeText(operands[i]!.type)}, ${fn.id} takes ${typeText(type)}`);
  }
  for (const [i, { type }] of op.results.entries()) {
    const own: TensorType =
      over === undefined || routed ? type : { dtype: type.dtype, dims: withoutDims(type.dims, [over]) };
    if (over !== undefined && !routed && !type.dims.includes(over)) faults.push(`result ${i} has no dim ${over}`);
    if (!fits(own, fn.results[i]!.type))
      faults.push(`result ${i} is ${typeText(type)}, ${fn.id} gives ${typeText(fn.results[i]!.type)}`);
  }
  return faults;
}

/** The same dims in any order: ops work by name. */
function fits(a: TensorType, b: TensorType): boolean {
  return a.dtype === b.dtype && sameDims(a.dims, b.dims);
}
