import { stringAttr, stringsAttr } from "../attrs.ts";
import { tilesOfGroups } from "../tiles.ts";
import type { Attrs, DimLabel, DimTable, Op, Value } from "../types.ts";
import { define, type DimSizes, type OpDefinition } from "./definition.ts";
import { dimsOf, dimsText, joinDims, knownProduct, knownSize, resultWithin, sameDims, withoutDims } from "./dims.ts";
import { dtypeIn, resultDtype, widestFloat } from "./dtypes.ts";

const attrs = { experts: "label", slot: "label" } as const;

/**
 * Ops over the rows (t, k) of `chosen`: i32[T, K], the expert of slot k of token t, negative for none. There may be
 * other row dims than T; the rows are all dims of `chosen`.
 */
export const MOE_OPS = {
  "moe.dispatch": define({
    operands: 2,
    attrs,
    infer: ([x, chosen]) => ({ dtype: x!.type.dtype, dims: joinDims(dimsOf(chosen!), dimsOf(x!)) }),
    rules: (op) => {
      const [x, chosen] = op.operands;
      return [dtypeIn(x!, "x", "float"), ...hasRows("x", x!, tokenDims(chosen!, op.attrs), op), ...rows(op, chosen!)];
    },
  }),

  "moe.contract": define({
    operands: 3,
    attrs,
    rules: (op) => {
      const [x, w, chosen] = op.operands;
      const experts = stringAttr(op.attrs, "experts");
      const result = op.results[0]!;
      const shared = dimsOf(w!).filter((label) => dimsOf(chosen!).includes(label));
      return [
        ...rows(op, chosen!),
        ...floats(op, { x: x!, w: w! }),
        ...hasRows("x", x!, dimsOf(chosen!), op),
        !dimsOf(w!).includes(experts) && `w has no dim ${experts}`,
        shared.length > 0 && `w may not have the row dims ${dimsText(shared)}`,
        ...hasRows("result", result, dimsOf(chosen!), op),
        resultWithin(result, joinDims(dimsOf(x!), withoutDims(dimsOf(w!), [experts]))),
      ];
    },
    flops: rowFlops,
  }),

  "moe.contract_weight": define({
    operands: 3,
    attrs,
    rules: (op) => {
      const [x, y, chosen] = op.operands;
      const experts = stringAttr(op.attrs, "experts");
      const result = op.results[0]!;
      const free = withoutDims(joinDims(dimsOf(x!), dimsOf(y!)), dimsOf(chosen!));
      return [
        ...rows(op, chosen!),
        ...floats(op, { x: x!, y: y! }),
        ...hasRows("x", x!, dimsOf(chosen!), op),
        ...hasRows("y", y!, dimsOf(chosen!), op),
        !dimsOf(result).includes(experts) && `result has no dim ${experts}`,
        resultWithin(result, [experts, ...free]),
      ];
    },
    flops: rowFlops,
  }),

  "moe.combine": define({
    operands: 3,
    attrs,
    infer: ([y, weight], { slot }) => ({
      dtype: widestFloat([y!.type.dtype, weight!.type.dtype]),
      dims: withoutDims(dimsOf(y!), [String(slot)]),
    }),
    rules: (op) => {
      const [y, weight, chosen] = op.operands;
      return [
        ...rows(op, chosen!),
        dtypeIn(y!, "y", "float"),
        dtypeIn(weight!, "weight", "float"),
        ...hasRows("y", y!, dimsOf(chosen!), op),
        !sameDims(dimsOf(weight!), dimsOf(chosen!)) &&
          `weight must have the dims ${dimsText(dimsOf(chosen!))} of chosen`,
      ];
    },
  }),
  /**
   * The rows in the order of their experts, those of each from a whole tile on: the number of the row (row-major in the dims of `chosen`) at
   * each place of the tiles `into`, -1 where there is none. Rows of one expert keep their order; those without one have no place.
   */
  "moe.tiles": define({
    operands: 1,
    attrs: { experts: "label", into: "labels" },
    infer: (_, attrs) => ({ dtype: "i32", dims: stringsAttr(attrs, "into") }),
    rules: (op, dims) => {
      const [chosen] = op.operands;
      const experts = stringAttr(op.attrs, "experts");
      const [tiles, place, another] = stringsAttr(op.attrs, "into");
      if (tiles === undefined || place === undefined || another !== undefined)
        return ["attribute into must be [tiles, place]"];
      const [groups, by] = [knownSize(dims, experts), knownSize(dims, place)];
      if (groups === undefined || by === undefined) return [`the sizes of ${experts} and ${place} have to be known`];
      return [
        dtypeIn(chosen!, "chosen", "i32"),
        dimsOf(chosen!).includes(experts) && `chosen may not have the expert dim ${experts}`,
        tooFew(dims, tiles, dimsOf(chosen!), groups, by),
      ];
    },
  }),
} satisfies Record<string, OpDefinition>;

/** What is wrong with the tiles that rows of groups are put into. */
function tooFew(
  dims: DimTable,
  tiles: DimLabel,
  rows: readonly DimLabel[],
  groups: number,
  by: number,
): string | false {
  const [size, count] = [knownSize(dims, tiles), knownProduct(dims, rows)];
  if (size === undefined) {
    const wanted = tilesOfGroups(dims, rows, groups, by);
    if (wanted === undefined) return "chosen must have one run-time dim";
    return wanted !== tiles && `rows of experts fill the tiles ${wanted}, not ${tiles}`;
  }
  const most = count === undefined ? Infinity : Math.floor(count / by) + groups;
  return size < most && `rows of experts may fill ${most} tiles, ${tiles} are ${size}`;
}

/** The dims of the tokens that choose: those of `chosen` without the slot. */
function tokenDims(chosen: Value, { slot }: Attrs): DimLabel[] {
  return withoutDims(dimsOf(chosen), [String(slot)]);
}

function rows(op: Op, chosen: Value): (string | false)[] {
  const [experts, slot] = [stringAttr(op.attrs, "experts"), stringAttr(op.attrs, "slot")];
  return [
    dtypeIn(chosen, "chosen", "i32"),
    !dimsOf(chosen).includes(slot) && `chosen has no dim ${slot}`,
    dimsOf(chosen).includes(experts) && `chosen may not have the expert dim ${experts}`,
  ];
}

/** `value` has every row dim, and no dim of its own that a row op gives a meaning to. */
function hasRows(what: string, value: Value, rowDims: readonly DimLabel[], op: Op): (string | false)[] {
  const missing = withoutDims(rowDims, dimsOf(value));
  const [experts, slot] = [stringAttr(op.attrs, "experts"), stringAttr(op.attrs, "slot")];
  return [
    missing.length > 0 && `${what} lacks the row dims ${dimsText(missing)}`,
    dimsOf(value).includes(experts) && `${what} may not have the expert dim ${experts}`,
    !rowDims.includes(slot) && dimsOf(value).includes(slot) && `${what} has the slot dim ${slot} already`,
  ];
}

function floats(op: Op, operands: Readonly<Record<string, Value>>): (string | false)[] {
  const faults = Object.entries(operands).map(([what, value]) => dtypeIn(value, what, "float"));
  if (faults.some((fault) => fault !== false)) return faults;
  return [resultDtype(op.results[0]!, widestFloat(Object.values(operands).map((value) => value.type.dtype)))];
}

/** One multiply-add for every row and every combination of the other dims; the experts cost nothing by themselves. */
function rowFlops(op: Op, sizes: DimSizes): number {
  const experts = stringAttr(op.attrs, "experts");
  const labels = withoutDims(joinDims(...op.operands.map(dimsOf)), [experts]);
  return 2 * labels.reduce((product, label) => product * sizes.get(label)!, 1);
}
