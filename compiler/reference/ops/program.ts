import { stringAttr } from "../../tensor-ir/attrs.ts";
import type { Tensor } from "../tensor.ts";
import { sizeOf } from "../tensor.ts";
import type { Effect, Kernel } from "./kernel.ts";
import { place, readInto, slice } from "./moves.ts";

function read(kind: string): Kernel {
  return (result, { attrs, border }) => border.read(kind, stringAttr(attrs, "name"), result);
}

/** The label of the rows that a cache has kept: their number is not that of the rows it holds after the append. */
const KEPT = "(kept)";

/** Rows are kept in the order in which they came, those of this call last. */
const append: Kernel = (result, { attrs, operands: [x], sizes, border }) => {
  const [cache, at, from] = [stringAttr(attrs, "cache"), stringAttr(attrs, "at"), stringAttr(attrs, "from")];
  const kept = border.kept(cache);
  const count = kept === undefined ? 0 : rowsOf(kept, at);
  const [arrived, all] = [sizeOf(sizes, from), sizeOf(sizes, at)];
  if (count + arrived !== all)
    throw new Error(`${count} rows of ${cache} and ${arrived} new ones, but ${at} is ${all}`);
  if (kept !== undefined) {
    const renamed = { ...kept, dims: kept.dims.map((label) => (label === at ? KEPT : label)) };
    place(result, renamed, new Map([...sizes, [KEPT, count]]), KEPT, at, 0);
  }
  place(result, x!, sizes, from, at, count);
  border.keep(cache, result);
};

function rowsOf(kept: Tensor, at: string): number {
  const count = kept.shape[kept.dims.indexOf(at)];
  if (count === undefined) throw new Error(`kept rows have dims ${kept.dims.join(", ")}, not ${at}`);
  return count;
}

const latest: Kernel = (result, { attrs, operands: [x], sizes }) => {
  const [from, to] = [stringAttr(attrs, "from"), stringAttr(attrs, "to")];
  const start = sizeOf(sizes, from) - sizeOf(sizes, to);
  if (start < 0) throw new Error(`${to} is larger than ${from}`);
  slice(result, x!, sizes, from, to, start);
};

export const PROGRAM_KERNELS = {
  "program.input": read("program.input"),
  "model.param": read("model.param"),
  "model.state": read("model.state"),
  "loss.global": (result, { operands: [x], sizes }) => readInto(result, x!, sizes),
  "cache.append": append,
  "cache.latest": latest,
} satisfies Record<string, Kernel>;

export const EFFECTS = {
  "program.output": ({ attrs, operands, border }) => border.output(stringAttr(attrs, "name"), operands[0]!),
  "model.update": ({ attrs, operands, border }) => border.update(stringAttr(attrs, "name"), operands[0]!),
  "metric.emit": ({ attrs, operands, border }) => border.metric(stringAttr(attrs, "name"), operands[0]!),
  "loss.term": ({ attrs, operands, border }) => border.loss(stringAttr(attrs, "name"), operands[0]!, operands[1]!),
} satisfies Record<string, Effect>;
