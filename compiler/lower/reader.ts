/** Elements of values as expressions: what a view or an elementwise op means at one point. */
import { hashText } from "../../runtime/program/philox.ts";
import type { Expr, ScalarOp } from "../kernel-ir/types.ts";
import { numberAttr, stringAttr, stringsAttr } from "../tensor-ir/attrs.ts";
import type { DimLabel, Op, Value } from "../tensor-ir/types.ts";
import type { Classes } from "./classes.ts";
import {
  add,
  clamped,
  constant,
  div,
  dtypeOf,
  extent,
  index,
  known,
  mod,
  mul,
  op as scalar,
  toIndex,
  upperBound,
} from "../kernel-ir/expr.ts";
import type { KernelArgs } from "./kernel-args.ts";

/** Indices by dim. */
export type Point = ReadonlyMap<DimLabel, Expr>;

export class Reader {
  readonly args: KernelArgs;
  readonly #classes: Classes;
  /** Values that are written out where they are read. */
  readonly #inline: ReadonlySet<Op>;
  /** By value: what its element at the kernel's own point is called there. */
  readonly #given: ReadonlyMap<number, Expr>;

  constructor(
    classes: Classes,
    args: KernelArgs,
    inline: ReadonlySet<Op> = new Set(),
    given: ReadonlyMap<number, Expr> = new Map(),
  ) {
    this.#classes = classes;
    this.args = args;
    this.#inline = inline;
    this.#given = given;
  }

  /** The element of a value. The point has an index for each of the value's dims, and may have more. */
  at(value: Value, point: Point): Expr {
    const given = this.#given.get(value.id);
    if (given !== undefined) return given;
    const op = this.#classes.producer(value);
    if (this.#classes.of(op) === "view" || this.#inline.has(op)) return this.element(op, point);
    return this.args.load(value, point);
  }

  /** What an elementwise op or a view computes at a point of its result. */
  element(op: Op, point: Point): Expr {
    const { name, attrs, operands } = op;
    const { dtype, dims } = op.results[0]!.type;
    const [x, y] = operands;
    const to = (label: DimLabel): Expr => point.get(label)!;
    switch (name) {
      case "tensor.constant":
        return constant(attrs["value"] as number | boolean, dtype);
      case "tensor.iota":
        return this.#cast(to(stringAttr(attrs, "dim")), dtype);
      case "tensor.cast":
        return this.#cast(this.at(x!, point), dtype);
      case "tensor.broadcast":
      case "tensor.stop_gradient":
      case "loss.global":
        return this.at(x!, point);
      case "tensor.reduce": // over dims of size 1
        return this.at(x!, new Map([...x!.type.dims.map((label) => [label, index(0)] as const), ...point]));
      case "tensor.rename": {
        const [from, into] = [stringsAttr(attrs, "from"), stringsAttr(attrs, "to")];
        return this.at(x!, new Map([...point, ...from.map((label, i) => [label, to(into[i]!)] as const)]));
      }
      case "tensor.slice":
        return this.at(
          x!,
          moved(point, stringAttr(attrs, "dim"), add(to(stringAttr(attrs, "to")), index(numberAttr(attrs, "start")))),
        );
      case "tensor.split_dim": {
        const [outer, inner] = stringsAttr(attrs, "into") as [string, string];
        const at = add(mul(to(outer), this.args.size(inner)), to(inner));
        return this.at(x!, moved(point, stringAttr(attrs, "dim"), at));
      }
      case "tensor.merge_dims": {
        const [outer, inner] = stringsAttr(attrs, "dims") as [string, string];
        const [at, size] = [to(stringAttr(attrs, "to")), this.args.size(inner)];
        const { ranges } = this.args;
        return this.at(x!, moved(moved(point, outer, div(at, size, ranges)), inner, mod(at, size, ranges)));
      }
      case "tensor.pad":
        return this.#padded(op, point);
      case "tensor.concat":
        return this.#concatenated(op, point);
      case "tensor.gather": {
        const at = this.at(y!, point);
        const dim = stringAttr(attrs, "dim");
        // Rows of tiles are there, or none.
        const inside = this.#classes.areRowsOfTiles(y!)
          ? scalar("max", [toIndex(at), index(0)], "index")
          : clamped(toIndex(at), this.args.extent(dim));
        return this.#unless(at, this.at(x!, moved(point, dim, inside)), dtype);
      }
      case "moe.dispatch":
        return this.#unless(this.at(y!, point), this.at(x!, point), dtype);
      case "cache.latest":
        return this.at(
          x!,
          moved(
            point,
            stringAttr(attrs, "from"),
            toIndex(this.args.input("key.new", "i32", to(stringAttr(attrs, "to")))),
          ),
        );
      case "tensor.random": {
        const element = dims.reduce((sum, label) => add(mul(sum, this.args.size(label)), to(label)), index(0));
        return {
          kind: "random",
          draw: stringAttr(attrs, "kind") === "normal" ? "normal" : "uniform",
          stream: hashText(stringAttr(attrs, "stream")),
          element,
          seed: this.args.input("seed", "i32"),
          step: scalar("cast", [this.args.input("step", "f32")], "i32"),
          dtype,
        };
      }
      default: {
        if (!name.startsWith("math.")) throw new Error(`${name} is not elementwise`);
        const scalars = operands.map((operand) => this.at(operand, point));
        return { kind: "op", op: name.slice("math.".length) as ScalarOp, operands: scalars, dtype };
      }
    }
  }

  #cast(x: Expr, dtype: Value["type"]["dtype"]): Expr {
    if (dtypeOf(x) === dtype) return x;
    return x.kind === "const" && dtype !== "bool" && dtype !== "i32"
      ? constant(Number(x.value), dtype)
      : scalar("cast", [x], dtype);
  }

  /** Zero where the index is negative. */
  #unless(at: Expr, value: Expr, dtype: Value["type"]["dtype"]): Expr {
    const none = scalar("lt", [at, constant(0, dtypeOf(at))], "bool");
    return scalar("select", [none, zero(dtype), value], dtype);
  }

  #padded({ attrs, operands: [x], results }: Op, point: Point): Expr {
    const { dtype } = results[0]!.type;
    const [dim, start] = [stringAttr(attrs, "dim"), numberAttr(attrs, "start")];
    const [at, size] = [point.get(stringAttr(attrs, "to"))!, this.args.extent(dim)];
    const end = typeof size === "number" ? index(start + size) : add(this.args.size(dim), index(start));
    const inside = scalar("and", [scalar("ge", [at, index(start)], "bool"), scalar("lt", [at, end], "bool")], "bool");
    const from = start === 0 ? at : scalar("sub", [at, index(start)], "index");
    return scalar("select", [inside, this.at(x!, moved(point, dim, clamped(from, size))), zero(dtype)], dtype);
  }

  #concatenated({ attrs, operands, results }: Op, point: Point): Expr {
    const { dtype } = results[0]!.type;
    const dims = stringsAttr(attrs, "dims");
    const at = point.get(stringAttr(attrs, "to"))!;
    const most = upperBound(at, this.args.ranges);
    let start: Expr = index(0);
    const parts: { end: Expr; value: Expr }[] = [];
    for (const [i, x] of operands.entries()) {
      const size = this.args.extent(dims[i]!);
      const from = known(start) === 0 ? at : scalar("sub", [at, start], "index");
      const inside = most !== undefined && typeof size === "number" && known(start) === 0 && most < size;
      const own = known(from) ?? known(at);
      const place =
        own !== undefined && known(start) !== undefined
          ? index(Math.min(Math.max(own - (known(start) ?? 0), 0), typeof size === "number" ? size - 1 : own))
          : inside
            ? from
            : clamped(from, size);
      const end = add(start, extent(size));
      parts.push({ end, value: this.at(x, moved(point, dims[i]!, place)) });
      start = end;
    }
    const { value: last } = parts.pop()!;
    return parts.toReversed().reduce((rest, { end, value }) => {
      const [position, limit] = [known(at), known(end)];
      if (position !== undefined && limit !== undefined) return position < limit ? value : rest;
      return scalar("select", [scalar("lt", [at, end], "bool"), value, rest], dtype);
    }, last);
  }
}

function moved(point: Point, label: DimLabel, to: Expr): Point {
  return new Map([...point, [label, to]]);
}

export function zero(dtype: Value["type"]["dtype"]): Expr {
  return constant(dtype === "bool" ? false : 0, dtype);
}
