import { replaceDim } from "../tensor-ir/ops/dims.ts";
import type { DimLabel, Op, Program, Value } from "../tensor-ir/types.ts";
import type { Pass } from "./pass.ts";
import { builderFor, substitute } from "./scope.ts";

/** Ops of which each row of the result comes from the same row of the operands, unless an attribute names the dim of rows. */
const BY_ROWS =
  /^(math\..*|nn\..*|moe\.(dispatch|contract|combine)|tensor\.(cast|broadcast|contract|reduce|slice|pad|concat|split_dim|merge_dims|gather|top_k|rank|constant))$/;

/**
 * Computes only rows that are wanted. Where an input says which rows of a value go on, and nothing else reads the value, the op
 * that makes it runs on these rows alone, and so do the ops before it: of a prompt, the head, the last norm and the last
 * feed-forward network see the last token only. What has another run-time dim, such as scores between tokens and positions, stays
 * as it is. The input may not leave rows out (negative indices).
 */
export const selectRows: Pass = {
  name: "select-rows",
  run(program, { sizes = new Map() }) {
    const gather = program.ops.find((op) => isSelection(op, program, sizes));
    if (gather === undefined) return program;
    const index = gather.operands[1]!;
    const selection = { index, from: gather.attrs["dim"] as DimLabel, to: index.type.dims[0]! };
    const wanted = wantedOnly(program, selection);
    return wanted.size === 0 ? program : withRows(program, selection, wanted);
  },
};

interface Selection {
  readonly index: Value;
  /** The dim of all rows, and that of those which are wanted. */
  readonly from: DimLabel;
  readonly to: DimLabel;
}

/** Whether an input chooses rows of one run-time dim that become those of another, not a larger one. */
function isSelection(
  { name, attrs, operands: [x, index] }: Op,
  { dims, ops }: Program,
  sizes: ReadonlyMap<DimLabel, number>,
): boolean {
  if (name !== "tensor.gather" || index!.type.dims.length !== 1) return false;
  const [from, to] = [attrs["dim"] as DimLabel, index!.type.dims[0]!];
  if (dims.get(from) !== null || dims.get(to) !== null || x!.type.dims.includes(to)) return false;
  if (!((sizes.get(from) ?? NaN) >= (sizes.get(to) ?? NaN))) return false;
  return ops.some((op) => op.name === "program.input" && op.results[0] === index);
}

function selects(op: Op, { index, from }: Selection): boolean {
  return op.name === "tensor.gather" && op.operands[1] === index && op.attrs["dim"] === from;
}

/** The ops whose results are read by the selection alone, or by others of them. */
function wantedOnly({ ops, dims }: Program, selection: Selection): ReadonlySet<Op> {
  const { from } = selection;
  const wanted = new Set<Op>();
  const all = new Set<number>();
  const some = new Set<number>();
  const others = [...dims].flatMap(([label, size]) => (size === null && label !== from ? [label] : []));
  const byRows = ({ name, operands, results, attrs }: Op): boolean =>
    BY_ROWS.test(name) &&
    results.every(({ type }) => type.dims.includes(from)) &&
    ![...operands, ...results].some(({ type }) => type.dims.some((label) => others.includes(label))) &&
    !Object.values(attrs).some((value) => [value].flat().includes(from));
  for (const op of ops.toReversed()) {
    const isWanted = op.results.length > 0 && op.results.every(({ id }) => some.has(id) && !all.has(id)) && byRows(op);
    if (isWanted) wanted.add(op);
    for (const [i, { id }] of op.operands.entries())
      (isWanted || (i === 0 && selects(op, selection)) ? some : all).add(id);
  }
  return wanted;
}

function withRows(program: Program, selection: Selection, wanted: ReadonlySet<Op>): Program {
  const { index, from, to } = selection;
  const builder = builderFor(program);
  /** By value: its rows that are wanted. By result of the selection: what has its place. */
  const rows = new Map<number, Value>();
  const replaced = new Map<number, Value>();
  const typeOf = ({ type }: Value): Value["type"] => ({ ...type, dims: replaceDim(type.dims, from, [to]) });
  const rowsOf = (value: Value): Value => {
    if (!value.type.dims.includes(from)) return value;
    const known = rows.get(value.id) ?? builder.emit("tensor.gather", [value, index], typeOf(value), { dim: from });
    rows.set(value.id, known);
    return known;
  };
  // An input: it can come earlier, before the first op that needs it.
  const given = program.ops.find(({ results }) => results[0] === index)!;
  let isGiven = false;
  for (const op of program.ops) {
    builder.loc = op.loc;
    if (!isGiven && (op === given || wanted.has(op))) {
      builder.push(given);
      isGiven = true;
    }
    if (op === given) continue;
    const known = selects(op, selection) ? rows.get(op.operands[0]!.id) : undefined;
    if (known !== undefined) replaced.set(op.results[0]!.id, known);
    else if (wanted.has(op)) {
      const results = op.results.map((value) => builder.value(typeOf(value), value.name));
      builder.push({ ...op, operands: op.operands.map(rowsOf), results });
      op.results.forEach(({ id }, i) => rows.set(id, results[i]!));
    } else builder.push(substitute(op, replaced));
  }
  return builder.finish(program.name);
}
