/** What kind of code each op of a program becomes. By structure alone: no op is known by the block that it came from. */
import { stringAttr, stringsAttr } from "../tensor-ir/attrs.ts";
import { joinDims, withoutDims } from "../tensor-ir/ops/dims.ts";
import { tilesOf } from "../tensor-ir/tiles.ts";
import { addTo } from "./grouping.ts";
import type { DimLabel, Op, Program, TensorType, Value } from "../tensor-ir/types.ts";

/**
 * - `given`: params, states, inputs
 * - `view`: another way to look at its operands, written into whoever reads it: no code of its own
 * - `row`: works inside of the rows of a space, together with its neighbors
 * - `gemm`: matrix products, grouped ones as well
 * - `columns`: reductions across the rows of a space
 * - `serial`: anything else
 * - `effect`: hands a value out
 */
export type OpClass = "given" | "view" | "row" | "gemm" | "columns" | "serial" | "effect";

/** Run-time dims whose elements are rows: the first of these that a value has is its row. */
const ROW_DIMS: readonly DimLabel[] = ["T", "S", "B"];

/** Ops that move elements without changing them: index arithmetic in whoever reads them. */
const MOVES = new Set([
  "tensor.rename",
  "tensor.slice",
  "tensor.broadcast",
  "tensor.split_dim",
  "tensor.merge_dims",
  "tensor.stop_gradient",
  "tensor.constant",
  "tensor.iota",
  "loss.global",
  "moe.dispatch",
]);
const EFFECTS = new Set(["program.output", "model.update", "metric.emit", "loss.term"]);
const GIVEN = new Set(["program.input", "model.param", "model.state"]);

/** Elementwise ops that cost no more than loading what they would have stored. */
const CHEAP = new Set(["add", "sub", "mul", "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not", "neg", "select"]);

/** Sizes that run-time dims are taken to have where only an order of magnitude matters. */
const MANY = 4096;

/** What an op reads, and whether at its own row only. */
interface Operand {
  readonly root: Value;
  readonly aligned: boolean;
}

export class Classes {
  readonly program: Program;
  readonly producers = new Map<number, Op>();
  readonly users = new Map<number, Op[]>();
  readonly #classes = new Map<Op, OpClass>();
  // Fusions ask for the same again and again, and for the same program: answers are kept.
  static readonly #known = new WeakMap<Program, Classes>();
  readonly #roots = new Map<number, Value[]>();
  readonly #readers = new Map<Op, Op[]>();
  readonly #operands = new Map<Op, readonly Operand[]>();

  static of(program: Program): Classes {
    let classes = Classes.#known.get(program);
    if (classes === undefined) Classes.#known.set(program, (classes = new Classes(program)));
    return classes;
  }

  private constructor(program: Program) {
    this.program = program;
    for (const op of program.ops) {
      for (const { id } of op.results) this.producers.set(id, op);
      for (const id of new Set(op.operands.map((x) => x.id))) addTo(this.users, id, op);
    }
    for (const op of program.ops) this.#classes.set(op, this.#classify(op));
  }

  of(op: Op): OpClass {
    return this.#classes.get(op)!;
  }

  producer(value: Value): Op {
    return this.producers.get(value.id)!;
  }

  /** The values that code which reads this one has to load: itself, or what a view looks at. */
  roots(value: Value): readonly Value[] {
    let found = this.#roots.get(value.id);
    if (found === undefined) {
      const op = this.producer(value);
      found = this.of(op) === "view" ? op.operands.flatMap((operand) => this.roots(operand)) : [value];
      this.#roots.set(value.id, found);
    }
    return found;
  }

  /** Ops that load what an op makes, and effects, through views. */
  readers(op: Op): readonly Op[] {
    let found = this.#readers.get(op);
    if (found === undefined) {
      const users = op.results.flatMap(({ id }) => this.users.get(id) ?? []);
      found = users.flatMap((user) => (this.of(user) === "view" ? this.readers(user) : [user]));
      this.#readers.set(op, found);
    }
    return found;
  }

  /** The dims that count the rows of what a row op works in: its run-time dim, or all static dims but the last one. */
  rowsOf(op: Op): readonly DimLabel[] {
    return op.name === "cache.append" ? ["T"] : rowDims(op.results[0]!.type);
  }

  /**
   * The roots of an op that it reads at its own row only, so that both may be in one kernel; `false` for those that it
   * reads elsewhere too, or whose rows are others.
   */
  operandsOf(op: Op): readonly Operand[] {
    let found = this.#operands.get(op);
    if (found === undefined) this.#operands.set(op, (found = this.#operandsOf(op)));
    return found;
  }

  #operandsOf(op: Op): Operand[] {
    const rows = op.results.length === 0 ? [] : this.rowsOf(op);
    return op.operands.flatMap((operand, i) => {
      // Scalars are apart from the vectors that they are mixed with: else a learning rate would join all parameters.
      const scalar = op.results[0]?.type.dims.length === 0;
      const own = !(i === 0 && op.name === "tensor.gather" && rows.includes(stringAttr(op.attrs, "dim")));
      return this.#reached(operand, rows).map(({ root, aligned }) => ({
        root,
        aligned: aligned && own && scalar === (root.type.dims.length === 0),
      }));
    });
  }

  #reached(value: Value, rows: readonly DimLabel[]): Operand[] {
    const op = this.producer(value);
    if (this.of(op) !== "view") {
      const mine = rowDims(value.type);
      const same = mine.length === rows.length && mine.every((label, i) => label === rows[i]);
      return [{ root: value, aligned: same && this.of(op) === "row" && op.name !== "cache.append" }];
    }
    const moved = movedDims(op).some((label) => rows.includes(label));
    return op.operands.flatMap((operand) =>
      this.#reached(operand, rows).map(({ root, aligned }) => ({ root, aligned: aligned && !moved })),
    );
  }

  /** Whether it fills the last tile of a run-time dim with zeros: who reads tiles looks where the dim ends. */
  #fillsTiles({ name, attrs }: Op): boolean {
    const to = name === "tensor.pad" ? stringAttr(attrs, "to") : "";
    return this.program.dims.get(to) === null && tilesOf(to) !== undefined;
  }

  /** Whether it reads rows of experts in their order: whoever reads tiles looks up which rows these are. */
  #gathersTiles({ name, operands: [, index] }: Op): boolean {
    return name === "tensor.gather" && this.areRowsOfTiles(index!);
  }

  /** Whether a value says which rows of experts are where in tiles. */
  areRowsOfTiles({ id }: Value): boolean {
    return this.producers.get(id)?.name === "moe.tiles";
  }

  /** Whether it makes numbers of eight-bit codes, or scales them: to read them is cheaper than what they would be stored as. */
  #widensCodes({ name, operands }: Op): boolean {
    const isWidened = (value: Value): boolean => {
      const op = this.producers.get(value.id);
      return op?.name === "tensor.cast" && op.operands[0]!.type.dtype === "f8e4m3";
    };
    if (name === "tensor.cast") return operands[0]!.type.dtype === "f8e4m3";
    return name === "math.mul" && operands.some(isWidened);
  }

  /**
   * Whether it widens a gradient of experts' weights, which their product has stored: whoever reads it has it for half of the bytes,
   * and of all that a step keeps, these gradients are the most.
   */
  #widensGradient({ name, operands: [x], results: [result] }: Op): boolean {
    if (name !== "tensor.cast" || result!.type.dtype !== "f32") return false;
    const isNarrow = x!.type.dtype === "bf16" || x!.type.dtype === "f16";
    return isNarrow && this.#isOfExperts(x!);
  }

  /** Whether a value is such a gradient, as the product has it or rounded. */
  #isOfExperts({ id }: Value): boolean {
    const op = this.producers.get(id);
    if (op?.name === "tensor.cast") return this.#isOfExperts(op.operands[0]!);
    return op?.name === "moe.contract_weight";
  }

  /** Whether it makes what codes are rounded from and nothing else: to compute it again is cheaper than to store it in f32. */
  #onlyCodesOf({ name, results: [result] }: Op): boolean {
    if (name !== "math.div") return false;
    const users = this.users.get(result!.id) ?? [];
    return users.every(({ name, results }) => name === "tensor.cast" && results[0]!.type.dtype === "f8e4m3");
  }

  #classify(op: Op): OpClass {
    const { name } = op;
    if (GIVEN.has(name)) return "given";
    if (EFFECTS.has(name)) return "effect";
    if (
      MOVES.has(name) ||
      this.#fillsTiles(op) ||
      this.#gathersTiles(op) ||
      this.#widensCodes(op) ||
      this.#onlyCodesOf(op) ||
      this.#widensGradient(op)
    )
      return "view";
    if (name === "tensor.reduce" && this.#isSelection(op)) return "view";
    if (name === "moe.contract" || name === "moe.contract_weight") return "gemm";
    if (name === "moe.tiles") return "serial";
    const [result] = op.results;
    const row = ROW_DIMS.find((label) => result!.type.dims.includes(label));
    if (name === "tensor.contract") return this.#contraction(op, row);
    const along = alongDims(op);
    if (along.length > 0 && (row === undefined || along.includes(row))) {
      return name === "tensor.reduce" ? "columns" : "serial";
    }
    if (name === "tensor.scatter_add" && !op.operands.some((x) => x.type.dims.includes(row!))) return "serial";
    if (name.startsWith("math.") && CHEAP.has(name.slice("math.".length)) && this.#expands(op)) return "view";
    return "row";
  }

  /** A reduction over dims of size 1 only. */
  #isSelection({ operands: [x], results: [result] }: Op): boolean {
    return withoutDims(x!.type.dims, result!.type.dims).every((label) => this.program.dims.get(label) === 1);
  }

  /** Where both operands have the row, there is one small product in each row: no matrix product. */
  #contraction({ operands: [a, b], results: [result] }: Op, row: DimLabel | undefined): OpClass {
    if (row !== undefined && a!.type.dims.includes(row) && b!.type.dims.includes(row)) return "row";
    const { dims } = result!.type;
    const alone = dims.filter((label) => a!.type.dims.includes(label) !== b!.type.dims.includes(label));
    return alone.length === 0 ? "columns" : "gemm";
  }

  /** More elements than all that it is made of: cheaper to make again than to load. */
  #expands({ operands, results }: Op): boolean {
    const size = ({ dims }: TensorType): number =>
      dims.reduce((n, label) => n * (this.program.dims.get(label) ?? MANY), 1);
    const roots = new Map(operands.flatMap((x) => this.roots(x)).map((value) => [value.id, value]));
    let sum = 0;
    for (const value of roots.values()) sum += size(value.type);
    return size(results[0]!.type) > sum;
  }
}

export function rowDims({ dims }: TensorType): readonly DimLabel[] {
  const row = ROW_DIMS.find((label) => dims.includes(label));
  return row === undefined ? dims.slice(0, -1) : [row];
}

/** Dims along which elements meet: what is summed, sorted, scanned, scattered over. */
function alongDims({ name, attrs, operands, results }: Op): readonly DimLabel[] {
  switch (name) {
    case "tensor.reduce":
      return withoutDims(operands[0]!.type.dims, results[0]!.type.dims);
    case "tensor.scatter_add":
      return [
        stringAttr(attrs, "dim"),
        ...withoutDims(joinDims(...operands.map((x) => x.type.dims)), results[0]!.type.dims),
      ];
    case "tensor.top_k":
    case "tensor.rank":
    case "tensor.cumsum":
    case "nn.softmax":
    case "nn.logsumexp":
      return [stringAttr(attrs, "dim")];
    case "moe.combine":
      return [stringAttr(attrs, "slot")];
    default:
      return [];
  }
}

/** Dims of a view's result that stand for others of its operand, or for other elements of them. */
function movedDims({ name, attrs }: Op): readonly DimLabel[] {
  switch (name) {
    case "tensor.rename":
      return stringsAttr(attrs, "to");
    case "tensor.slice":
    case "tensor.pad":
      return [stringAttr(attrs, "to")];
    case "tensor.split_dim":
      return stringsAttr(attrs, "into");
    case "tensor.merge_dims":
      return [stringAttr(attrs, "to")];
    default:
      return [];
  }
}
