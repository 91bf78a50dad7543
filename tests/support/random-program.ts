import fc from "fast-check";
import type { Given } from "../../compiler/reference/border.ts";
import { gradientsOf } from "../../compiler/tensor-ir/autodiff/gradients.ts";
import { ProgramBuilder } from "../../compiler/tensor-ir/builder.ts";
import type { Program, Value } from "../../compiler/tensor-ir/types.ts";

/*
 * Random well-typed programs of smooth ops: inputs `x0`, `x1`, ... (f64), a mask `m`, indices `i` into A and the choices
 * `k` of experts E per row (A, K), and the scalar output `loss`. Values stay near 1, so that finite differences are exact.
 */

export const SIZES = { A: 2, B: 3, C: 2, E: 3, K: 2, "A*B": 6, "B+C": 5 } as const;
type Label = keyof typeof SIZES;

export interface RandomProgram {
  readonly program: Program;
  /** Float inputs by name with their number of elements. */
  readonly inputs: ReadonlyMap<string, number>;
  readonly loss: Value;
}

const UNARY = ["sigmoid", "tanh", "silu", "gelu", "softplus", "sin", "cos", "normal_cdf", "neg"] as const;

/** Draws from a list of numbers; each choice takes the next one. */
class Draws {
  #next = 0;
  readonly #numbers: readonly number[];

  constructor(numbers: readonly number[]) {
    this.#numbers = numbers;
  }

  below(n: number): number {
    return this.#numbers[this.#next++ % this.#numbers.length]! % n;
  }

  of<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  some<T>(items: readonly T[]): T[] {
    return items.filter(() => this.below(2) === 0);
  }
}

class Maker {
  readonly builder = new ProgramBuilder(new Map(Object.entries(SIZES)));
  readonly pool: Value[] = [];
  readonly inputs = new Map<string, number>();
  readonly #draws: Draws;
  readonly #mask = this.#input("m", "bool", ["A", "B"]);
  readonly #index = this.#input("i", "i32", ["B"]);
  readonly #chosen = this.#input("k", "i32", ["A", "K"]);

  constructor(draws: Draws) {
    this.#draws = draws;
    for (const dims of [["A", "B"], ["B", "C"], ["A"], ["E", "B", "C"]] as Label[][]) this.#fresh(dims);
  }

  #input(name: string, dtype: "f64" | "bool" | "i32", dims: readonly Label[]): Value {
    return this.builder.emit("program.input", [], { dtype, dims }, { name }, name);
  }

  #fresh(dims: readonly Label[]): Value {
    const name = `x${this.inputs.size}`;
    this.inputs.set(
      name,
      dims.reduce((n, d) => n * SIZES[d], 1),
    );
    const value = this.#input(name, "f64", dims);
    this.pool.push(value);
    return value;
  }

  #emit(
    op: string,
    operands: readonly Value[],
    dims: readonly string[],
    attrs: Record<string, number | string | boolean | string[]> = {},
  ): Value {
    return this.builder.emit(op, operands, { dtype: "f64", dims }, attrs);
  }

  #join(...values: readonly Value[]): string[] {
    return [...new Set(values.flatMap((v) => v.type.dims))];
  }

  #with(...labels: readonly string[]): Value {
    const fits = this.pool.filter((v) => labels.every((l) => v.type.dims.includes(l)));
    return fits.length > 0 ? this.#draws.of(fits) : this.#fresh(labels as Label[]);
  }

  /** x * x + 1: nowhere near 0. */
  #positive(x: Value): Value {
    return this.#emit(
      "math.add",
      [this.#emit("math.square", [x], x.type.dims), this.#emit("tensor.constant", [], [], { value: 1 })],
      x.type.dims,
    );
  }

  /** One more value, by a random op. Tamed by tanh where it could grow. */
  step(): void {
    const d = this.#draws;
    const x = d.of(this.pool);
    const y = d.of(this.pool);
    const tame = (v: Value): Value => this.#emit("math.tanh", [v], v.type.dims);
    const makers: readonly (() => Value)[] = [
      () => this.#emit(`math.${d.of(UNARY)}`, [x], x.type.dims),
      () => this.#emit(`math.${d.of(["log", "sqrt", "rsqrt", "recip"] as const)}`, [this.#positive(x)], x.type.dims),
      () => this.#emit("math.exp", [tame(x)], x.type.dims),
      () => this.#emit(`math.${d.of(["add", "sub", "mul"] as const)}`, [x, y], this.#join(x, y)),
      () => this.#emit("math.div", [x, this.#positive(y)], this.#join(x, y)),
      () => this.#emit("math.pow", [this.#positive(x), tame(y)], this.#join(x, y)),
      () => tame(this.#emit("tensor.contract", [x, y], d.some(this.#join(x, y)))),
      () => tame(this.#emit("tensor.reduce", [x], d.some(x.type.dims), { kind: "sum" })),
      () => this.#emit("tensor.broadcast", [x], this.#join(x, this.#with("B")).toReversed()),
      () => {
        const v = this.#with("B");
        const masked = v.type.dims.includes("A") && d.below(2) === 0;
        return this.#emit("nn.softmax", masked ? [v, this.#mask] : [v], v.type.dims, { dim: "B" });
      },
      () => {
        const v = this.#with("C");
        return this.#emit(
          "nn.logsumexp",
          [v],
          v.type.dims.filter((l) => l !== "C"),
          { dim: "C" },
        );
      },
      () => {
        const v = this.#with("B");
        return tame(
          this.#emit("tensor.cumsum", [v], v.type.dims, {
            dim: "B",
            exclusive: d.below(2) === 0,
            reverse: d.below(2) === 0,
          }),
        );
      },
      () => {
        const v = this.#with("B");
        const other = v.type.dims.filter((l) => l !== "B");
        return other.includes("C")
          ? v
          : this.#emit(
              "tensor.slice",
              [v],
              v.type.dims.map((l) => (l === "B" ? "C" : l)),
              { dim: "B", start: d.below(2), to: "C" },
            );
      },
      () => {
        const [p, q] = [this.#fresh(["A", "B"]), this.#fresh(["A", "C"])];
        return this.#emit("tensor.concat", [p, q], ["A", "B+C"], { dims: ["B", "C"], to: "B+C" });
      },
      () => {
        const v = this.#fresh(["A", "B"]);
        return this.#emit("tensor.merge_dims", [v], ["A*B"], { dims: ["A", "B"], to: "A*B" });
      },
      () => {
        const v = this.#fresh(["A*B"]);
        return this.#emit("tensor.split_dim", [v], ["A", "B"], { dim: "A*B", into: ["A", "B"] });
      },
      () => {
        const v = this.#with("A");
        const dims = v.type.dims.includes("B")
          ? v.type.dims.filter((l) => l !== "A")
          : v.type.dims.map((l) => (l === "A" ? "B" : l));
        return this.#emit("tensor.gather", [v, this.#index], dims, { dim: "A" });
      },
      () => {
        const v = this.#with("B");
        if (v.type.dims.includes("A")) return v;
        return tame(
          this.#emit(
            "tensor.scatter_add",
            [v, this.#index],
            v.type.dims.map((l) => (l === "B" ? "A" : l)),
            { dim: "A" },
          ),
        );
      },
      () => this.#emit("math.select", [this.#mask, x, y], [...new Set(["A", "B", ...this.#join(x, y)])]),
      () => this.#experts(),
    ];
    this.pool.push(d.of(makers)());
  }

  /** Rows of A to their experts, a contraction there, and back. */
  #experts(): Value {
    const attrs = { experts: "E", slot: "K" };
    const [x, w, gate] = [this.#fresh(["A", "B"]), this.#fresh(["E", "B", "C"]), this.#fresh(["A", "K"])];
    const rows = this.#emit("moe.dispatch", [x, this.#chosen], ["A", "K", "B"], attrs);
    const inner = this.#emit("moe.contract", [rows, w, this.#chosen], ["A", "K", "C"], attrs);
    return this.#emit("moe.combine", [inner, gate, this.#chosen], ["A", "C"], attrs);
  }

  /** The sum of the last values, each tamed. */
  loss(): Value {
    const parts = this.pool
      .slice(-3)
      .map((v) => this.#emit("tensor.reduce", [this.#emit("math.sin", [v], v.type.dims)], [], { kind: "sum" }));
    return parts.reduce((a, b) => this.#emit("math.add", [a, b], []));
  }
}

export const randomProgram: fc.Arbitrary<RandomProgram> = fc
  .tuple(fc.array(fc.nat(1_000_000), { minLength: 40, maxLength: 60 }), fc.integer({ min: 3, max: 9 }))
  .map(([numbers, steps]) => {
    const maker = new Maker(new Draws(numbers));
    for (let i = 0; i < steps; i++) maker.step();
    const loss = maker.loss();
    maker.builder.effect("program.output", [loss], { name: "loss" });
    return { program: maker.builder.finish("random"), inputs: maker.inputs, loss };
  });

/** The program with the gradient `d<name>` of every float input. */
export function withGradients({ program, inputs, loss }: RandomProgram): Program {
  const next = 1 + Math.max(...program.ops.flatMap((op) => op.results.map((v) => v.id)));
  const builder = new ProgramBuilder(new Map(program.dims), next);
  for (const op of program.ops) builder.push(op);
  const values = program.ops.filter((op) => inputs.has(String(op.attrs["name"]))).map((op) => op.results[0]!);
  const found = gradientsOf(builder, loss, values);
  values.forEach((value, i) => builder.effect("program.output", [found[i]!], { name: `d${value.name}` }));
  return builder.finish("random");
}

/** Values for the inputs of a random program. */
export function givenInputs(inputs: ReadonlyMap<string, number>): Map<string, Given> {
  const values = new Map<string, Given>([
    ["m", { data: [1, 0, 1, 1, 1, 0] }],
    ["i", { data: [1, 0, 1] }],
    ["k", { data: [0, 2, 1, -1] }],
  ]);
  let n = 0;
  for (const [name, size] of inputs)
    values.set(name, { data: Array.from({ length: size }, () => Math.sin(++n * 1.3)) });
  return values;
}
