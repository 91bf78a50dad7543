import { numberAttr, stringAttr, stringsAttr } from "../../tensor-ir/attrs.ts";
import { isWithin, knownSize, knownSum, withoutDims } from "../../tensor-ir/ops/dims.ts";
import {
  type DimLabel,
  type DType,
  isFloat,
  type Op,
  sameType,
  type TensorType,
  type Value,
} from "../../tensor-ir/types.ts";
import { type Rule, type RuleTable, type Scope } from "../scope.ts";

function typeOf(op: Op): TensorType {
  return op.results[0]!.type;
}

/** An op that gives its operand as it is. */
const same: Rule = (op) => (sameType(op.operands[0]!.type, typeOf(op)) ? op.operands[0] : undefined);

const operandAs: Rule = (op, s) => s.as(op.operands[0]!, typeOf(op));

/** f(f(x)) = f(x), where the type says all that f does. */
const twice: Rule = (op, s) => {
  const inner = s.definedBy(op.operands[0], op.name);
  return inner && s.emit(op.name, inner.operands, typeOf(op), op.attrs);
};

/** Whether a dtype holds every value of another. */
function holds(wide: DType, narrow: DType): boolean {
  if (wide === narrow || narrow === "bool" || wide === "f64") return true;
  if (narrow === "f8e4m3") return isFloat(wide);
  return wide === "f32" && (narrow === "bf16" || narrow === "f16");
}

/** A cast by way of a dtype that holds everything. */
const castThrough: Rule = (op, s) => {
  const inner = s.definedBy(op.operands[0], "tensor.cast");
  const source = inner?.operands[0];
  if (source === undefined || !holds(op.operands[0]!.type.dtype, source.type.dtype)) return undefined;
  return s.emit("tensor.cast", [source], typeOf(op));
};

function renaming(op: Op): Map<DimLabel, DimLabel> {
  const [from, to] = [stringsAttr(op.attrs, "from"), stringsAttr(op.attrs, "to")];
  return new Map(from.map((label, i) => [label, to[i]!]));
}

function rename(x: Value, names: readonly (readonly [DimLabel, DimLabel])[], s: Scope): Value {
  const changed = names.filter(([from, to]) => from !== to);
  if (changed.length === 0) return x;
  const map = new Map(changed);
  const type = { dtype: x.type.dtype, dims: x.type.dims.map((label) => map.get(label) ?? label) };
  const [from, to] = [changed.map(([label]) => label), changed.map(([, label]) => label)];
  return s.emit("tensor.rename", [x], type, { from, to });
}

const renameTwice: Rule = (op, s) => {
  const inner = s.definedBy(op.operands[0], "tensor.rename");
  if (inner === undefined) return undefined;
  const x = inner.operands[0]!;
  const [first, second] = [renaming(inner), renaming(op)];
  const names = x.type.dims.map((label) => {
    const between = first.get(label) ?? label;
    return [label, second.get(between) ?? between] as const;
  });
  return rename(x, names, s);
};

const renameSame: Rule = (op, s) => {
  const names = [...renaming(op)];
  if (names.every(([from, to]) => from !== to)) return undefined;
  return rename(op.operands[0]!, names, s);
};

/** A slice, or a pad, of all elements only renames the dim. */
const wholeRange: Rule = (op, s) => {
  const [dim, to] = [stringAttr(op.attrs, "dim"), stringAttr(op.attrs, "to")];
  const size = knownSize(s.builder.dims, dim);
  if (size === undefined || size !== knownSize(s.builder.dims, to)) return undefined;
  return s.as(rename(op.operands[0]!, [[dim, to]], s), typeOf(op));
};

const sliceTwice: Rule = (op, s) => {
  const inner = s.definedBy(op.operands[0], "tensor.slice");
  if (inner === undefined || stringAttr(inner.attrs, "to") !== stringAttr(op.attrs, "dim")) return undefined;
  const start = numberAttr(inner.attrs, "start") + numberAttr(op.attrs, "start");
  return s.emit("tensor.slice", inner.operands, typeOf(op), { ...op.attrs, dim: inner.attrs["dim"]!, start });
};

/** A slice of a concatenation that is one of its operands. */
const sliceOfConcat: Rule = (op, s) => {
  const concat = s.definedBy(op.operands[0], "tensor.concat");
  if (concat === undefined || stringAttr(concat.attrs, "to") !== stringAttr(op.attrs, "dim")) return undefined;
  const { dims } = s.builder;
  const parts = stringsAttr(concat.attrs, "dims");
  const to = stringAttr(op.attrs, "to");
  const i = parts.findIndex((_, n) => knownSum(dims, parts.slice(0, n)) === numberAttr(op.attrs, "start"));
  const size = i < 0 ? undefined : knownSize(dims, parts[i]!);
  if (size === undefined || size !== knownSize(dims, to)) return undefined;
  return s.as(rename(concat.operands[i]!, [[parts[i]!, to]], s), typeOf(op));
};

const concatOfOne: Rule = (op, s) => {
  if (op.operands.length !== 1) return undefined;
  return s.as(
    rename(op.operands[0]!, [[stringsAttr(op.attrs, "dims")[0]!, stringAttr(op.attrs, "to")]], s),
    typeOf(op),
  );
};

/** split_dim of merge_dims, and the other way round, where the sizes are those of before. */
function inverseOf(
  name: string,
  before: (op: Op) => readonly DimLabel[],
  after: (op: Op) => readonly DimLabel[],
): Rule {
  return (op, s) => {
    const inner = s.definedBy(op.operands[0], name);
    if (inner === undefined) return undefined;
    const [from, to] = [before(inner), after(op)];
    const middle =
      name === "tensor.merge_dims" ? [inner.attrs["to"], op.attrs["dim"]] : [inner.attrs["into"], op.attrs["dims"]];
    if (JSON.stringify(middle[0]) !== JSON.stringify(middle[1])) return undefined;
    if (from.some((label, i) => s.builder.dims.get(label) !== s.builder.dims.get(to[i]!))) return undefined;
    const names = from.map((label, i) => [label, to[i]!] as const);
    return s.as(rename(inner.operands[0]!, names, s), typeOf(op));
  };
}

const splitOfMerge = inverseOf(
  "tensor.merge_dims",
  (merge) => stringsAttr(merge.attrs, "dims"),
  (split) => stringsAttr(split.attrs, "into"),
);
const mergeOfSplit = inverseOf(
  "tensor.split_dim",
  (split) => [stringAttr(split.attrs, "dim")],
  (merge) => [stringAttr(merge.attrs, "to")],
);

const reduceNothing: Rule = (op, s) =>
  isWithin(op.operands[0]!.type.dims, typeOf(op).dims) ? s.as(op.operands[0]!, typeOf(op)) : undefined;

const reduceTwice: Rule = (op, s) => {
  const inner = s.definedBy(op.operands[0], "tensor.reduce");
  if (inner === undefined || inner.attrs["kind"] !== op.attrs["kind"]) return undefined;
  return s.emit("tensor.reduce", inner.operands, typeOf(op), op.attrs);
};

/** An operand of a contraction that only brings dims which the other one has, or is only permuted. */
const contractBroadcast: Rule = (op, s) => {
  for (const [i, operand] of op.operands.entries()) {
    const x = s.definedBy(operand, "tensor.broadcast")?.operands[0];
    if (x === undefined || !isWithin(withoutDims(operand.type.dims, x.type.dims), op.operands[1 - i]!.type.dims))
      continue;
    return s.emit("tensor.contract", op.operands.with(i, x), typeOf(op));
  }
  return undefined;
};

/** A contraction with a constant over dims that the other operand has: a sum, scaled. */
const contractConstant: Rule = (op, s) => {
  for (const [i, operand] of op.operands.entries()) {
    const x = op.operands[1 - i]!;
    const value = s.constant(operand);
    if (value === undefined || !isWithin(operand.type.dims, x.type.dims) || x.type.dtype !== typeOf(op).dtype) continue;
    const sum = s.emit("tensor.reduce", [x], typeOf(op), { kind: "sum" });
    return s.emit("math.mul", [sum, s.fill(value, { dtype: operand.type.dtype, dims: [] })], typeOf(op));
  }
  return undefined;
};

const permutedReduce: Rule = (op, s) => {
  const x = s.definedBy(op.operands[0], "tensor.broadcast")?.operands[0];
  if (x === undefined || x.type.dims.length !== op.operands[0]!.type.dims.length) return undefined;
  return s.emit("tensor.reduce", [x], typeOf(op), op.attrs);
};

export const SHAPE_RULES: RuleTable = {
  "tensor.cast": [same, castThrough],
  "tensor.broadcast": [same, twice],
  "tensor.rename": [renameSame, renameTwice],
  "tensor.slice": [wholeRange, sliceTwice, sliceOfConcat],
  "tensor.pad": [wholeRange],
  "tensor.concat": [concatOfOne],
  "tensor.split_dim": [splitOfMerge],
  "tensor.merge_dims": [mergeOfSplit],
  "tensor.reduce": [reduceNothing, reduceTwice, permutedReduce],
  "tensor.contract": [contractBroadcast, contractConstant],
  // Gradients have been taken: it has done what it is there for.
  "tensor.stop_gradient": [operandAs],
};
