/** How weights are stored for inference: which ones, and along which dim whole numbers share a scale. */
import { stringAttr, stringsAttr } from "../tensor-ir/attrs.ts";
import { addTo } from "./grouping.ts";
import { withoutDims } from "../tensor-ir/ops/dims.ts";
import { type DimLabel, isFloat, type Op, type Program, type Value } from "../tensor-ir/types.ts";

/**
 * What a user asks for. `int8`: a scale for each `group` of terms of the sum, codes from -127 to 127. `int4`: codes from -8
 * to 7. Scales are bf16 (runtime/device/quantize.ts).
 */
export type WeightForm = { readonly kind: "f32" | "bf16" } | { readonly kind: "int8" | "int4"; readonly group: number };

/** What floats of the caches are stored in: rounded to the nearest when a row is written, the even one of two. */
export type CacheForm = "f32" | "bf16" | "f16";

/** How one param is stored: as floats, or as codes with a scale for each group along a dim. */
export type StoredWeight =
  | { readonly dtype: "f32" | "bf16" }
  | { readonly dtype: "i8" | "i4"; readonly dim: number; readonly group: number };

export type StoredWeights = ReadonlyMap<string, StoredWeight>;

/**
 * The weights of matrix products and the tables that rows are looked up in, over all programs that share them. A param with
 * any other use stays as it is, and so does what decides a choice (`top_k`): a router that is off a little sends a token to
 * another expert.
 *
 * Groups run along the dim that products sum, of several the one that decoding sums, where weights are read most often for
 * what is done with them; along the last dim where rows are looked up only.
 */
export function storedWeights(programs: readonly Program[], form: WeightForm): StoredWeights {
  const uses = new Map<string, ParamUse>();
  const decodingFirst = programs.toSorted((a, b) => Number(b.name === "decode") - Number(a.name === "decode"));
  for (const program of decodingFirst) new Uses(program).collect(uses);
  return new Map(
    [...uses].flatMap(([name, { value, sizes, sums, other }]): [string, StoredWeight][] => {
      const { dtype, dims } = value.type;
      if (other || dims.length < 2 || !isFloat(dtype) || dtype === "f64") return [];
      if (!("group" in form)) return form.kind === dtype ? [] : [[name, { dtype: form.kind }]];
      const dim = sums ?? dims.length - 1;
      // A scale for every element would take more than the element did.
      if (sizes[dim] === 1) return [];
      return [[name, { dtype: form.kind === "int8" ? "i8" : "i4", dim, group: form.group }]];
    }),
  );
}

interface ParamUse {
  readonly value: Value;
  readonly sizes: readonly (number | null | undefined)[];
  /** The dim that products sum. */
  sums: number | undefined;
  /** Whether it has a use that is neither a product nor a lookup. */
  other: boolean;
}

/** By label of a view of a param: the dims of the param that it runs over. */
type Origin = ReadonlyMap<DimLabel, readonly number[]>;

class Uses {
  readonly #program: Program;
  readonly #users = new Map<number, Op[]>();
  readonly #producers = new Map<number, Op>();

  constructor(program: Program) {
    this.#program = program;
    for (const op of program.ops) {
      for (const { id } of op.results) this.#producers.set(id, op);
      for (const id of new Set(op.operands.map((x) => x.id))) addTo(this.#users, id, op);
    }
  }

  collect(uses: Map<string, ParamUse>): void {
    const deciding = this.#deciding();
    for (const op of this.#program.ops) {
      if (op.name !== "model.param") continue;
      const name = stringAttr(op.attrs, "name");
      const value = op.results[0]!;
      const sizes = value.type.dims.map((label) => this.#program.dims.get(label));
      const use = uses.get(name) ?? { value, sizes, sums: undefined, other: false };
      uses.set(name, use);
      use.other ||= deciding.has(name);
      this.#follow(value, new Map(value.type.dims.map((label, i) => [label, [i]])), use);
    }
  }

  /** What happens to a param, or to a view of it. */
  #follow(value: Value, origin: Origin, use: ParamUse): void {
    for (const op of this.#users.get(value.id) ?? []) {
      const view = viewed(op, origin);
      if (view !== undefined) this.#follow(op.results[0]!, view, use);
      else if (op.name === "tensor.contract" || op.name === "moe.contract") {
        const kept = [
          ...op.results[0]!.type.dims,
          ...(op.name === "moe.contract" ? [stringAttr(op.attrs, "experts")] : []),
        ];
        const summed = withoutDims(value.type.dims, kept).flatMap((label) => origin.get(label)!);
        if (summed.length === 0 || op.operands.every((x) => x === value)) use.other = true;
        else use.sums ??= Math.max(...summed);
      } else if (op.name !== "tensor.gather" || op.operands[1] === value) use.other = true;
    }
  }

  /** Params whose products decide a choice. */
  #deciding(): ReadonlySet<string> {
    const found = new Set<string>();
    const seen = new Set<number>();
    const behind = (value: Value): void => {
      if (seen.has(value.id)) return;
      seen.add(value.id);
      const op = this.#producers.get(value.id)!;
      if (op.name === "tensor.contract" || op.name === "moe.contract") {
        for (const operand of op.operands) {
          const name = this.#paramOf(operand);
          if (name !== undefined) found.add(name);
        }
      } else op.operands.forEach(behind);
    };
    for (const op of this.#program.ops)
      if (op.name === "tensor.top_k" || op.name === "tensor.rank") behind(op.operands[0]!);
    return found;
  }

  /** The param that a value is a view of. */
  #paramOf(value: Value): string | undefined {
    const op = this.#producers.get(value.id)!;
    if (op.name === "model.param") return stringAttr(op.attrs, "name");
    return viewed(op, new Map()) === undefined ? undefined : this.#paramOf(op.operands[0]!);
  }
}

/** Where the dims of a view come from; undefined for an op that is no view of its operand. */
function viewed({ name, attrs, operands, results }: Op, origin: Origin): Origin | undefined {
  const from = (label: DimLabel): readonly number[] => origin.get(label) ?? [];
  const moved = (...fresh: readonly (readonly [DimLabel, readonly number[]])[]): Origin =>
    new Map([...origin, ...fresh]);
  switch (name) {
    case "tensor.broadcast":
    case "tensor.stop_gradient":
      return origin;
    case "tensor.cast":
      return isFloat(operands[0]!.type.dtype) && isFloat(results[0]!.type.dtype) ? origin : undefined;
    case "tensor.rename": {
      const [old, names] = [stringsAttr(attrs, "from"), stringsAttr(attrs, "to")];
      return moved(...old.map((label, i) => [names[i]!, from(label)] as const));
    }
    case "tensor.slice":
      return moved([stringAttr(attrs, "to"), from(stringAttr(attrs, "dim"))]);
    case "tensor.split_dim":
      return moved(...stringsAttr(attrs, "into").map((label) => [label, from(stringAttr(attrs, "dim"))] as const));
    case "tensor.merge_dims":
      return moved([stringAttr(attrs, "to"), stringsAttr(attrs, "dims").flatMap(from)]);
    default:
      return undefined;
  }
}
