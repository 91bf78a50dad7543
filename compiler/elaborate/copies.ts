import { stringAttr } from "../tensor-ir/attrs.ts";
import { isWithin, joinDims, replaceDim, withoutDims } from "../tensor-ir/ops/dims.ts";
import type { DimLabel, TensorType, Value } from "../tensor-ir/types.ts";
import { broadcastTo, type Draft, emitOne, POSITIONS, type Sink, TOKENS } from "./sink.ts";

/**
 * Runs ops for every copy of `use x = Block over E` at once. Params and states get the dim of the copies in front; what
 * depends on one of them carries the dim through every op.
 */
export function denseCopies(copies: DimLabel, sink: Sink): Sink {
  return {
    builder: sink.builder,
    copies: [...sink.copies, copies],
    emit(draft) {
      if (isStore(draft)) return sink.emit(placedStore(draft, copies));
      return draft.operands.some((value) => hasDim(value, copies)) ? carry(draft, copies, sink) : sink.emit(draft);
    },
  };
}

/**
 * Runs ops for rows (T, K), each by the copy that `chosen: i32[T, K]` names. What depends on params only is made for every
 * copy; where it meets a row, the row's copy is taken from it. Function types of routed calls have T and K already.
 */
export function routedCopies(copies: DimLabel, slot: DimLabel, chosen: Value, sink: Sink): Sink {
  const isRow = (value: Value): boolean => hasDim(value, slot);
  return {
    builder: sink.builder,
    copies: [...sink.copies, copies],
    emit(draft) {
      if (isStore(draft)) return sink.emit(placedStore(draft, copies));
      if (!draft.operands.some((value) => hasDim(value, copies))) return sink.emit(draft);
      if (!draft.operands.some(isRow)) return carry(draft, copies, sink);
      if (draft.name === "moe.contract" && hasDim(draft.operands[1]!, copies)) {
        return sink.emit(mergeExperts(draft, copies, chosen, sink));
      }
      const contraction = grouped(draft, copies, slot, chosen, sink);
      if (contraction !== undefined) return sink.emit(contraction);
      const operands = draft.operands.map((value) => ofChosen(value, copies, chosen, sink, draft));
      return sink.emit({ ...draft, operands });
    },
  };
}

export function hasDim(value: Value, label: DimLabel): boolean {
  return value.type.dims.includes(label);
}

/** The dims with that of the copies behind T (or a leading S), else in front. */
export function withCopies(dims: readonly DimLabel[], copies: DimLabel): DimLabel[] {
  if (dims.includes(copies)) return [...dims];
  const at = Math.max(dims.indexOf(TOKENS), dims[0] === POSITIONS ? 0 : -1) + 1;
  return dims.toSpliced(at, 0, copies);
}

/** A value of every copy as rows: each row takes its copy's. Other values as they are. */
export function ofChosen(value: Value, copies: DimLabel, chosen: Value, sink: Sink, at?: Draft): Value {
  if (!hasDim(value, copies)) return value;
  const dims = withoutDims(joinDims(replaceDim(value.type.dims, copies, chosen.type.dims)), sink.copies);
  return emitOne(sink, "tensor.gather", [value, chosen], { dtype: value.type.dtype, dims }, { dim: copies }, at?.loc);
}

function isStore(draft: Draft): boolean {
  return draft.name === "model.param" || draft.name === "model.state";
}

function placedStore(draft: Draft, copies: DimLabel): Draft {
  return {
    ...draft,
    results: draft.results.map((r) => ({ ...r, type: { dtype: r.type.dtype, dims: [copies, ...r.type.dims] } })),
  };
}

/** An op with an operand that has the dim of the copies: its results have it too. */
function carry(draft: Draft, copies: DimLabel, sink: Sink): readonly Value[] {
  if (draft.name === "loss.term") return sink.emit(summedLoss(draft, copies, sink));
  const results = draft.results.map((r) => ({
    ...r,
    type: { dtype: r.type.dtype, dims: withCopies(r.type.dims, copies) },
  }));
  const carried = { ...draft, results };
  if (draft.name === "moe.contract" && hasDim(draft.operands[1]!, copies) && hasDim(draft.operands[2]!, copies)) {
    const own = emitOne(sink, "tensor.iota", [], { dtype: "i32", dims: [copies] }, { dim: copies }, draft.loc);
    return sink.emit(mergeExperts(carried, copies, own, sink));
  }
  return sink.emit({ ...carried, operands: aligned(draft, copies, sink) });
}

/** Some ops do not broadcast: their operands get the dim of the copies where another operand has it. */
function aligned(draft: Draft, copies: DimLabel, sink: Sink): readonly Value[] {
  const { operands, loc } = draft;
  const spread = (value: Value): Value => broadcastTo(sink, value, withCopies(value.type.dims, copies), loc);
  switch (draft.name) {
    case "tensor.concat":
    case "moe.combine":
      return operands.map(spread);
    case "nn.softmax":
    case "nn.logsumexp":
      return [spread(operands[0]!), ...operands.slice(1)];
    case "moe.dispatch":
    case "moe.contract":
      return hasDim(operands.at(-1)!, copies) ? [spread(operands[0]!), ...operands.slice(1)] : operands;
    default:
      return operands;
  }
}

/** The losses of the copies add up, like those of the layers of a stack. */
function summedLoss(draft: Draft, copies: DimLabel, sink: Sink): Draft {
  const [numerator, denominator] = draft.operands as readonly [Value, Value];
  const { loc } = draft;
  const scalar: TensorType = { dtype: numerator.type.dtype, dims: [] };
  const sum = (value: Value): Value => emitOne(sink, "tensor.reduce", [value], scalar, { kind: "sum" }, loc);
  if (!hasDim(denominator, copies)) return { ...draft, operands: [sum(numerator), denominator] };
  const each = emitOne(sink, "math.div", [numerator, denominator], { ...scalar, dims: [copies] }, {}, loc);
  return { ...draft, operands: [sum(each), emitOne(sink, "tensor.constant", [], scalar, { value: 1 }, loc)] };
}

/** A contraction of rows with a param of the copies as one op, where its rules allow it. */
function grouped(draft: Draft, copies: DimLabel, slot: DimLabel, chosen: Value, sink: Sink): Draft | undefined {
  if (draft.name !== "tensor.contract") return undefined;
  const [a, b] = draft.operands as readonly [Value, Value];
  if (hasDim(a, copies) === hasDim(b, copies)) return undefined;
  const [x, w] = hasDim(b, copies) ? [a, b] : [b, a];
  // Copies around these ones may differ in their choice and in their params: see mergeExperts.
  const rows = withoutDims(chosen.type.dims, sink.copies);
  if (!isWithin(rows, x.type.dims) || !isWithin(rows, draft.results[0]!.type.dims)) return undefined;
  if (rows.some((label) => hasDim(w, label))) return undefined;
  return { ...draft, name: "moe.contract", operands: [x, w, chosen], attrs: { experts: copies, slot } };
}

/**
 * `moe.contract` inside copies, where both the weights and the choice differ from copy to copy: copy and expert become one
 * dim of experts. `copy` is the copy of each row.
 */
function mergeExperts(draft: Draft, copies: DimLabel, copy: Value, sink: Sink): Draft {
  const [x, w, chosen] = draft.operands as readonly [Value, Value, Value];
  const { loc } = draft;
  const { builder } = sink;
  const experts = stringAttr(draft.attrs, "experts");
  const [outer, inner] = [builder.dims.get(copies)!, builder.dims.get(experts)!];
  const both = builder.dim(`${copies}*${experts}`, outer * inner);

  const rest = withoutDims(w.type.dims, [copies, experts]);
  const ordered = emitOne(
    sink,
    "tensor.broadcast",
    [w],
    { dtype: w.type.dtype, dims: [copies, experts, ...rest] },
    {},
    loc,
  );
  const weights = emitOne(
    sink,
    "tensor.merge_dims",
    [ordered],
    { dtype: w.type.dtype, dims: [both, ...rest] },
    { dims: [copies, experts], to: both },
    loc,
  );

  const scalar: TensorType = { dtype: "i32", dims: [] };
  const rows: TensorType = { dtype: "i32", dims: joinDims(copy.type.dims, chosen.type.dims) };
  const size = emitOne(sink, "tensor.constant", [], scalar, { value: inner }, loc);
  const first = emitOne(sink, "math.mul", [copy, size], copy.type, {}, loc);
  const index = emitOne(sink, "math.add", [first, chosen], rows, {}, loc);
  const zero = emitOne(sink, "tensor.constant", [], scalar, { value: 0 }, loc);
  const none = emitOne(sink, "tensor.constant", [], scalar, { value: -1 }, loc);
  const chosenNone = emitOne(sink, "math.lt", [chosen, zero], { dtype: "bool", dims: chosen.type.dims }, {}, loc);
  const which = emitOne(sink, "math.select", [chosenNone, none, index], rows, {}, loc);
  const spread = broadcastTo(sink, x, joinDims(rows.dims, x.type.dims), loc);
  return { ...draft, operands: [spread, weights, which], attrs: { ...draft.attrs, experts: both } };
}
