import { numberAttr, stringAttr, stringsAttr } from "../attrs.ts";
import { type DimLabel, type DimTable, isFloat, type Op, type TensorType, type Value } from "../types.ts";
import { tilesLabel, tilesOf } from "../tiles.ts";
import { define, type DimSizes, type OpDefinition } from "./definition.ts";
import {
  dimsOf,
  dimsText,
  joinDims,
  knownProduct,
  knownSize,
  knownSum,
  replaceDim,
  resultWithin,
  sameDims,
  withoutDims,
} from "./dims.ts";
import { commonDtype, dtypeIn, resultDtype, sameKind } from "./dtypes.ts";

/** The dims of `tensor.gather`: the index's dims stand where the dim was. */
function gathered(x: Value, index: Value, dim: DimLabel): DimLabel[] {
  return joinDims(replaceDim(dimsOf(x), dim, dimsOf(index)));
}

/** Fills, moves and sums of elements. */
export const TENSOR_OPS = {
  "tensor.constant": define({
    operands: 0,
    attrs: { value: "number or boolean" },
    rules: ({ attrs, results }) => {
      const { dtype } = results[0]!.type;
      const { value } = attrs;
      return [
        (typeof value === "boolean") !== (dtype === "bool") &&
          `attribute value is ${String(value)}, the result ${dtype}`,
        dtype === "i32" && !Number.isInteger(value) && `attribute value must be whole for i32`,
      ];
    },
  }),

  "tensor.iota": define({
    operands: 0,
    attrs: { dim: "label" },
    rules: ({ attrs, results }) => [
      dtypeIn(results[0]!, "result", "float", "i32"),
      !sameDims(dimsOf(results[0]!), [stringAttr(attrs, "dim")]) &&
        `result must have the one dim ${stringAttr(attrs, "dim")}`,
    ],
  }),

  "tensor.random": define({
    operands: 0,
    attrs: { kind: ["normal", "uniform"], stream: "string" },
    rules: ({ results }) => [dtypeIn(results[0]!, "result", "float")],
  }),

  "tensor.cast": define({
    operands: 1,
    rules: ({ operands, results }) => [
      !sameDims(dimsOf(operands[0]!), dimsOf(results[0]!)) &&
        `result has dims ${dimsText(dimsOf(results[0]!))}, expected ${dimsText(dimsOf(operands[0]!))} in any order`,
    ],
  }),

  "tensor.broadcast": define({
    operands: 1,
    rules: ({ operands, results }) => {
      const [x, result] = [operands[0]!, results[0]!];
      const lost = withoutDims(dimsOf(x), dimsOf(result));
      return [resultDtype(result, x.type.dtype), lost.length > 0 && `result lacks the dims ${dimsText(lost)}`];
    },
  }),

  "tensor.rename": define({
    operands: 1,
    attrs: { from: "labels", to: "labels" },
    infer: ([x], attrs) => renamed(x!.type, stringsAttr(attrs, "from"), stringsAttr(attrs, "to")),
    rules: (op, dims) => {
      const [from, to] = [stringsAttr(op.attrs, "from"), stringsAttr(op.attrs, "to")];
      if (from.length !== to.length) return [`from has ${from.length} labels, to has ${to.length}`];
      const sizes = from.map((label, i) => sizesAgree(dims, `dim ${label}`, knownSize(dims, label), to[i]!));
      return [
        ...from.flatMap((label) => hasDim(op.operands[0]!, label)),
        ...unique(renamed(op.operands[0]!.type, from, to).dims),
        ...sizes,
      ];
    },
  }),

  "tensor.contract": define({
    operands: 2,
    rules: (op) => {
      const mixed = sameKind(op.operands);
      return [
        mixed,
        mixed === false && dtypeIn(op.operands[0]!, "operand", "float", "i32"),
        mixed === false && resultDtype(op.results[0]!, commonDtype(op.operands)),
        resultWithin(op.results[0]!, joinDims(...op.operands.map(dimsOf))),
      ];
    },
    flops: contractFlops,
  }),

  "tensor.reduce": define({
    operands: 1,
    attrs: { kind: ["sum", "max", "min"] },
    rules: ({ operands, results }) => [
      dtypeIn(operands[0]!, "operand", "float", "i32"),
      resultDtype(results[0]!, operands[0]!.type.dtype),
      resultWithin(results[0]!, dimsOf(operands[0]!)),
    ],
  }),

  "tensor.slice": define({
    operands: 1,
    attrs: { dim: "label", start: "number", to: "label" },
    infer: ([x], { dim, to }) => replaced(x!, String(dim), [String(to)]),
    rules: (op, dims) => stretch(op, dims, "to", "dim"),
  }),

  "tensor.pad": define({
    operands: 1,
    attrs: { dim: "label", start: "number", to: "label" },
    infer: ([x], { dim, to }) => replaced(x!, String(dim), [String(to)]),
    rules: (op, dims) => [dtypeIn(op.operands[0]!, "operand", "float", "i32"), ...stretch(op, dims, "dim", "to")],
  }),

  "tensor.concat": define({
    operands: [1, Infinity],
    attrs: { dims: "labels", to: "label" },
    infer: (operands, attrs) => ({
      dtype: commonDtype(operands),
      dims: replaceDim(dimsOf(operands[0]!), stringsAttr(attrs, "dims")[0]!, [stringAttr(attrs, "to")]),
    }),
    rules: (op, dims) => {
      const [labels, to] = [stringsAttr(op.attrs, "dims"), stringAttr(op.attrs, "to")];
      if (labels.length !== op.operands.length) return [`${labels.length} dims for ${op.operands.length} operands`];
      const others = op.operands.map((x, i) => withoutDims(dimsOf(x), [labels[i]!]));
      return [
        sameKind(op.operands),
        ...op.operands.flatMap((x, i) => hasDim(x, labels[i]!)),
        ...op.operands.map(
          (_, i) =>
            !sameDims(others[i]!, others[0]!) &&
            `operand ${i} has beside ${labels[i]} the dims ${dimsText(others[i]!)}, operand 0 has ${dimsText(others[0]!)}`,
        ),
        others[0]!.includes(to) && `operand has dim ${to} already`,
        sizesAgree(dims, labels.join(" + "), knownSum(dims, labels), to),
      ];
    },
  }),

  "tensor.split_dim": define({
    operands: 1,
    attrs: { dim: "label", into: "labels" },
    infer: ([x], attrs) => replaced(x!, stringAttr(attrs, "dim"), stringsAttr(attrs, "into")),
    rules: (op, dims) => {
      const [dim, into] = [stringAttr(op.attrs, "dim"), stringsAttr(op.attrs, "into")];
      return [
        into.length !== 2 && "attribute into must be [outer, inner]",
        ...hasDim(op.operands[0]!, dim),
        ...unique(replaceDim(dimsOf(op.operands[0]!), dim, into)),
        sizesAgree(dims, into.join(" * "), knownProduct(dims, into), dim),
        tilesAgree(dims, into, dim),
      ];
    },
  }),

  "tensor.merge_dims": define({
    operands: 1,
    attrs: { dims: "labels", to: "label" },
    infer: ([x], attrs) => merged(x!, stringsAttr(attrs, "dims"), stringAttr(attrs, "to")),
    rules: (op, dims) => {
      const [from, to] = [stringsAttr(op.attrs, "dims"), stringAttr(op.attrs, "to")];
      if (from.length !== 2 || from[0] === from[1]) return ["attribute dims must be [outer, inner]"];
      return [
        ...from.flatMap((label) => hasDim(op.operands[0]!, label)),
        ...unique(merged(op.operands[0]!, from, to).dims),
        sizesAgree(dims, from.join(" * "), knownProduct(dims, from), to),
        tilesAgree(dims, from, to),
      ];
    },
  }),

  "tensor.gather": define({
    operands: 2,
    attrs: { dim: "label" },
    infer: ([x, index], attrs) => ({ dtype: x!.type.dtype, dims: gathered(x!, index!, stringAttr(attrs, "dim")) }),
    rules: (op) => [...hasDim(op.operands[0]!, stringAttr(op.attrs, "dim")), dtypeIn(op.operands[1]!, "index", "i32")],
  }),

  "tensor.scatter_add": define({
    operands: 2,
    attrs: { dim: "label" },
    rules: (op) => {
      const [x, index] = op.operands;
      const dim = stringAttr(op.attrs, "dim");
      const result = op.results[0]!;
      return [
        dtypeIn(x!, "x", "float", "i32"),
        dtypeIn(index!, "index", "i32"),
        resultDtype(result, x!.type.dtype),
        !dimsOf(result).includes(dim) && `result has no dim ${dim}`,
        resultWithin(result, [dim, ...dimsOf(x!), ...dimsOf(index!)]),
      ];
    },
  }),

  "tensor.top_k": define({
    operands: 1,
    attrs: { dim: "label", to: "label" },
    infer: ([x], { dim, to }) => ({ ...replaced(x!, String(dim), [String(to)]), dtype: "i32" }),
    rules: (op, dims) => {
      const [dim, to] = [stringAttr(op.attrs, "dim"), stringAttr(op.attrs, "to")];
      const [size, k] = [knownSize(dims, dim), knownSize(dims, to)];
      return [
        dtypeIn(op.operands[0]!, "operand", "float", "i32"),
        ...hasDim(op.operands[0]!, dim),
        ...unique(replaceDim(dimsOf(op.operands[0]!), dim, [to])),
        size !== undefined && k !== undefined && k > size && `picks ${k} of the ${size} elements of ${dim}`,
      ];
    },
  }),

  "tensor.rank": define({
    operands: 1,
    attrs: { dim: "label" },
    infer: ([x]) => ({ dtype: "i32", dims: dimsOf(x!) }),
    rules: alongDim,
  }),

  "tensor.cumsum": define({
    operands: 1,
    attrs: { dim: "label", exclusive: "boolean", reverse: "boolean" },
    infer: ([x]) => x!.type,
    rules: alongDim,
  }),

  "tensor.stop_gradient": define({ operands: 1, infer: ([x]) => x!.type }),
} satisfies Record<string, OpDefinition>;

function replaced(x: Value, dim: DimLabel, by: readonly DimLabel[]): TensorType {
  return { dtype: x.type.dtype, dims: replaceDim(dimsOf(x), dim, by) };
}

function renamed(type: TensorType, from: readonly DimLabel[], to: readonly DimLabel[]): TensorType {
  return { dtype: type.dtype, dims: type.dims.map((label) => to[from.indexOf(label)] ?? label) };
}

/** The merged dim stands where the outer one was. */
function merged(x: Value, [outer, inner]: readonly DimLabel[], to: DimLabel): TensorType {
  return { dtype: x.type.dtype, dims: replaceDim(withoutDims(dimsOf(x), [inner!]), outer!, [to]) };
}

function hasDim(x: Value, dim: DimLabel): string[] {
  return dimsOf(x).includes(dim) ? [] : [`operand has no dim ${dim}`];
}

function unique(dims: readonly DimLabel[]): string[] {
  const twice = dims.find((label, i) => dims.indexOf(label) !== i);
  return twice === undefined ? [] : [`result would have dim ${twice} twice`];
}

function alongDim(op: Op): (string | false)[] {
  return [dtypeIn(op.operands[0]!, "operand", "float", "i32"), ...hasDim(op.operands[0]!, stringAttr(op.attrs, "dim"))];
}

/** A dim `part` that lies in a dim `whole` from `start` on, as slice and pad have it. */
function stretch(op: Op, dims: DimTable, part: "dim" | "to", whole: "dim" | "to"): (string | false)[] {
  const start = numberAttr(op.attrs, "start");
  const [dim, to] = [stringAttr(op.attrs, "dim"), stringAttr(op.attrs, "to")];
  const [length, size] = [knownSize(dims, stringAttr(op.attrs, part)), knownSize(dims, stringAttr(op.attrs, whole))];
  const end = start + (length ?? 0);
  return [
    ...hasDim(op.operands[0]!, dim),
    ...unique(replaceDim(dimsOf(op.operands[0]!), dim, [to])),
    !(Number.isInteger(start) && start >= 0) && `attribute start is ${start}`,
    size !== undefined &&
      end > size &&
      `elements ${start} to ${end} of ${stringAttr(op.attrs, whole)}, which has ${size}`,
  ];
}

function sizesAgree(dims: DimTable, what: string, size: number | undefined, label: DimLabel): string | false {
  const expected = knownSize(dims, label);
  return (
    size !== undefined &&
    expected !== undefined &&
    size !== expected &&
    `${what} has size ${size}, ${label} has ${expected}`
  );
}

/** Tiles of a run-time dim together with their elements are as many as the dim of both is said to have. */
function tilesAgree(dims: DimTable, [outer, inner]: readonly DimLabel[], label: DimLabel): string | false {
  const [tiles, whole] = [outer!, label].map((of) => (dims.get(of) === null ? tilesOf(of) : undefined));
  const size = knownSize(dims, inner!);
  if (tiles === undefined || whole === undefined || size === undefined) return false;
  const expected = tilesLabel({ ...tiles, times: tiles.times * size, plus: tiles.plus * size });
  return expected !== label && `${outer} * ${inner} are the elements of ${expected}, not of ${label}`;
}

/** One multiply-add for every combination of the operands' dims. Integers are no matrix work. */
function contractFlops(op: Op, sizes: DimSizes): number {
  if (!isFloat(op.results[0]!.type.dtype)) return 0;
  return 2 * joinDims(...op.operands.map(dimsOf)).reduce((product, label) => product * sizes.get(label)!, 1);
}
