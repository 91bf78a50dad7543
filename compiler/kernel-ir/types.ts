/**
 * The kernel IR: kernels as loops over named axes, and the launch program that runs them (runtime/program/launch.ts). It
 * knows no target: threads, vectors and text are the business of compiler/targets. See docs/kernel-ir.md.
 */
import type { Extent, LaunchProgram, StorageType } from "../../runtime/program/launch.ts";

/** `index` counts elements and axes; it is wide enough for any address. */
export type ScalarType = StorageType | "index";

/** A loop variable and how far it runs. Unique by name within a kernel. */
export interface Axis {
  readonly name: string;
  readonly extent: Extent;
}

export type Expr =
  | { readonly kind: "const"; readonly dtype: ScalarType; readonly value: number | boolean }
  /** The value of an axis, as an index. */
  | { readonly kind: "axis"; readonly axis: string }
  /** The size of a symbolic extent, as an index. */
  | { readonly kind: "extent"; readonly extent: string }
  /** An element of an argument or a local; one index per dim of it. */
  | { readonly kind: "load"; readonly from: string; readonly at: readonly Expr[]; readonly dtype: ScalarType }
  /**
   * Floats compute in f32 (f64 for f64) and are rounded when they are stored. A target may evaluate both branches of a
   * `select`: their indices lie inside whatever the condition is.
   */
  | { readonly kind: "op"; readonly op: ScalarOp; readonly operands: readonly Expr[]; readonly dtype: ScalarType }
  /** A draw of Philox: `element` counts from 0, seed and step are i32 (docs/tensor-ir.md, Random numbers). */
  | {
      readonly kind: "random";
      readonly draw: "normal" | "uniform";
      readonly stream: number;
      readonly element: Expr;
      readonly seed: Expr;
      readonly step: Expr;
      readonly dtype: ScalarType;
    };

/** Operators on scalars: those of the tensor IR's `math` dialect without the prefix, and `cast`; `mod` is for indices. */
export const SCALAR_OPS = [
  "neg",
  "exp",
  "log",
  "sqrt",
  "rsqrt",
  "recip",
  "sigmoid",
  "tanh",
  "silu",
  "relu",
  "gelu",
  "softplus",
  "abs",
  "sign",
  "sin",
  "cos",
  "square",
  "normal_cdf",
  "floor",
  "not",
  "cast",
  "add",
  "sub",
  "mul",
  "div",
  "mod",
  "pow",
  "max",
  "min",
  "lt",
  "le",
  "gt",
  "ge",
  "eq",
  "ne",
  "and",
  "or",
  "select",
] as const;
export type ScalarOp = (typeof SCALAR_OPS)[number];

/** A tensor in the memory of the device. */
export interface Arg {
  readonly name: string;
  readonly dtype: StorageType;
  /** In memory order. A cache has `cache` as its first extent: nobody asks for its size. */
  readonly shape: readonly Extent[];
  /** `update`: is read and written, element by element. */
  readonly access: "read" | "write" | "update";
}

/** Memory that lives as long as one work item: a scalar when it has no shape. */
export interface Local {
  readonly name: string;
  readonly dtype: ScalarType;
  readonly shape: readonly Extent[];
}

/** Where a statement writes: an argument or a local. */
export interface Target {
  readonly to: string;
  readonly at: readonly Expr[];
}

export type Reduction = "sum" | "max" | "min";

/** Statements run one after the other; each is a loop nest over its own axes, whose iterations are independent. */
export type Stmt =
  /** `to[at] = value` for all of `axes`. */
  | ({ readonly kind: "assign"; readonly axes: readonly Axis[]; readonly value: Expr } & Target)
  /** `to[at] = reduction of value over the axes `over`, in their order, for all of `axes`; `at` uses `axes` only. */
  | ({
      readonly kind: "reduce";
      readonly reduction: Reduction;
      readonly axes: readonly Axis[];
      readonly over: readonly Axis[];
      readonly value: Expr;
    } & Target)
  /**
   * For all of `axes`: the indices along `over` of the largest values in descending order, the lowest first among equals, NaN
   * last; `counter` runs over as many as are wanted, and only `at` uses it.
   */
  | ({
      readonly kind: "top_k";
      readonly axes: readonly Axis[];
      readonly over: Axis;
      readonly counter: Axis;
      readonly value: Expr;
    } & Target)
  /** For all of `axes` and `over`: how many elements along `over` come before this one in the order of `top_k`. */
  | ({ readonly kind: "rank"; readonly axes: readonly Axis[]; readonly over: Axis; readonly value: Expr } & Target)
  /** For all of `axes`: the running sum along `over`. */
  | ({
      readonly kind: "scan";
      readonly axes: readonly Axis[];
      readonly over: Axis;
      readonly exclusive: boolean;
      readonly reverse: boolean;
      readonly value: Expr;
    } & Target)
  /**
   * Rows in the order of their groups, those of each group from a whole tile on: for all of `axes`, a tile and a place in it, `to[at]` is
   * the number of the row there, or -1. Rows are the elements of `over` (row-major) and keep their order in a group; `value` is the group
   * of each, an i32 below `groups`, negative for none. The only statement of a `serial` kernel.
   */
  | ({
      readonly kind: "sort";
      readonly axes: readonly [tiles: Axis, place: Axis];
      readonly over: readonly Axis[];
      readonly groups: number;
      readonly value: Expr;
    } & Target)
  /**
   * Zeroes `to[zeroedAt]` for all of `zeroed`, then `to[at] += value` for all of `axes` in their order where `when` holds:
   * `at` may depend on data.
   */
  | ({
      readonly kind: "scatter";
      readonly zeroed: readonly Axis[];
      readonly zeroedAt: readonly Expr[];
      readonly axes: readonly Axis[];
      readonly when: Expr;
      readonly value: Expr;
    } & Target);

interface KernelBase {
  /** Unique in a package: family, what it computes, dtype. */
  readonly name: string;
  readonly args: readonly Arg[];
  /** Symbolic extents, in the order in which launches give them. */
  readonly extents: readonly string[];
  /**
   * Functions of the `.dsk` text that it came from (`Mla`, `Mla.absorb`), for the header of the generated file. Not part of the
   * text form.
   */
  readonly from: readonly string[];
}

/**
 * One work item per element of `rows`: statements that only this item sees the locals of. Elementwise maps, norms, softmax,
 * routers, rotary embeddings, optimizers: whatever happens inside of a row.
 */
export interface RowsKernel extends KernelBase {
  readonly family: "rows";
  readonly rows: readonly Axis[];
  readonly locals: readonly Local[];
  readonly body: readonly Stmt[];
}

/**
 * Matrix products that share the space of their results: for all of `batch`, `m` and `n`,
 *
 *     product p = sum over p.k of p.a * p.b, in the order of k
 *
 * and then the statements of the epilogue, which load products by name, and have `batch`, `m` and `n` as axes already
 * bound (their own `axes` are empty). `a` may use batch, m and k, `b` batch, n and k, nothing else.
 *
 * A prologue has statements of its own for each of `m`, whose locals are single values that `a` may use; there is no batch then,
 * and no group.
 */
export interface GemmKernel extends KernelBase {
  readonly family: "gemm";
  readonly batch: readonly Axis[];
  readonly m: readonly Axis[];
  readonly n: readonly Axis[];
  readonly prologue?: { readonly locals: readonly Local[]; readonly body: readonly Stmt[] };
  readonly products: readonly Product[];
  readonly epilogue: readonly Stmt[];
  readonly groups?: Groups;
}

/** The sum over all of `k` of `a * b`. */
export interface Terms {
  readonly k: readonly Axis[];
  readonly a: Expr;
  readonly b: Expr;
}

/** A sum as the epilogue reads it: computed in f32 (f64 for f64), rounded when it is stored. */
export interface Product extends Terms {
  readonly name: string;
  readonly dtype: ScalarType;
}

/**
 * A grouped product. `of` is the group (an expert) of each row, -1 for none, an i32 expression.
 * - `over: "m"`: the rows are all of `m`, `of` depends on them; `b` uses the axis `group`. A row without a group has product 0.
 * - `over: "k"`: `group` is one of the batch axes, `of` depends on k: a product sums only the k of its own group.
 */
export interface Groups {
  readonly over: "m" | "k";
  readonly group: Axis;
  readonly of: Expr;
}

/**
 * Sums (or largest values) over the axes `over` in chunks of fixed length, so that the order of additions does not depend on
 * the number of threads. For all of `columns`, `to[at] = reduction of value over `over``.
 */
export interface ColumnsKernel extends KernelBase {
  readonly family: "columns";
  readonly columns: readonly Axis[];
  readonly over: readonly Axis[];
  readonly sums: readonly (Target & { readonly reduction: Reduction; readonly value: Expr })[];
}

/**
 * Whatever happens between tokens and the positions that they see, without storing it: attention, forward and backward.
 * For all of `batch` and `rows`, a row holds one value for each of `column` in its locals. Columns outside of a row's span
 * count as 0 in products over columns or rows, and statements do not visit them.
 */
export interface PlaneKernel extends KernelBase {
  readonly family: "plane";
  readonly batch: readonly Axis[];
  /** The tokens' axis first. */
  readonly rows: readonly Axis[];
  readonly column: Axis;
  /** The first column of a token's row, and the end: i32 expressions of the tokens' axis. All columns when there is none. */
  readonly span?: { readonly from: Expr; readonly to: Expr };
  readonly locals: readonly Local[];
  readonly body: readonly PlaneStmt[];
}

export type PlaneStmt =
  /** In each row. Loops over the column's axis run over the row's span. */
  | { readonly kind: "row"; readonly stmt: Stmt }
  /** `local[column] = sum over k of a * b` for each of the products, added up. `a` knows batch, rows, k; `b` batch, column, k. */
  | { readonly kind: "enter"; readonly local: string; readonly products: readonly Terms[] }
  /** `to[at] = sum over columns of local[column] * b` for all of `n`: b knows batch, column, n. */
  | ({ readonly kind: "leave_rows"; readonly local: string; readonly n: readonly Axis[]; readonly b: Expr } & Target)
  /** `to[at] = sum over rows of local[column] * x` for all columns and all of `n`: x knows batch, rows, n. */
  | ({
      readonly kind: "leave_columns";
      readonly local: string;
      readonly n: readonly Axis[];
      readonly x: Expr;
    } & Target);

/** Statements in order, by one work item: scatters into a whole tensor, running sums over tokens. The way of last resort. */
export interface SerialKernel extends KernelBase {
  readonly family: "serial";
  readonly locals: readonly Local[];
  readonly body: readonly Stmt[];
}

/** A kernel of one family. */
export type SoloKernel = RowsKernel | GemmKernel | ColumnsKernel | PlaneKernel | SerialKernel;

/**
 * Kernels that need nothing of each other, in one launch: their items run side by side. What a part writes, no other one
 * touches. Arguments and extents are those of all parts, by their names; no two parts have a local or a product of one name.
 */
export interface PartsKernel extends KernelBase {
  readonly family: "parts";
  readonly parts: readonly SoloKernel[];
}

export type Kernel = SoloKernel | PartsKernel;

/** What lowering makes of the programs of a model. */
export interface KernelModule {
  readonly kernels: readonly Kernel[];
  readonly programs: readonly LaunchProgram[];
}
