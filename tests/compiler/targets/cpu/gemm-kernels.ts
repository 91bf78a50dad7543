/** Matrix products of all kinds, by name, with symbolic extents: one compilation serves all sizes. */
import { axis, constant, index, load, op } from "../../../../compiler/kernel-ir/expr.ts";
import type { Arg, Axis, Expr, GemmKernel, Product, Stmt } from "../../../../compiler/kernel-ir/types.ts";
import type { Extent, StorageType } from "../../../../runtime/program/launch.ts";

export const axes = (...names: readonly string[]): Axis[] =>
  names.map((name) => ({ name, extent: Number(name.match(/\d+$/)?.[0] ?? NaN) || name }));

/** An argument whose dims are axes: its element where these are. */
function tensor(name: string, dtype: StorageType, dims: readonly string[]): { arg: Arg; at: Expr[]; value: Expr } {
  const at = dims.map(axis);
  const shape: Extent[] = axes(...dims).map(({ extent }) => extent);
  return { arg: { name, dtype, shape, access: "read" }, at, value: load(name, at, dtype) };
}

interface Spaces {
  readonly batch?: readonly string[];
  readonly m: readonly string[];
  readonly n: readonly string[];
  readonly k: readonly string[];
}

/** out = A B, or what the epilogue makes of the products. */
function gemm(
  name: string,
  { batch = [], m, n, k }: Spaces,
  parts: {
    readonly args: readonly Arg[];
    readonly products: readonly Omit<Product, "k">[];
    readonly out: { readonly arg: Arg; readonly at: readonly Expr[] };
    readonly value: Expr;
    readonly groups?: GemmKernel["groups"];
  },
): GemmKernel {
  const epilogue: Stmt[] = [{ kind: "assign", axes: [], to: parts.out.arg.name, at: parts.out.at, value: parts.value }];
  const all = axes(...batch, ...m, ...n, ...k).map(({ extent }) => extent);
  const args = [...parts.args, { ...parts.out.arg, access: "write" as const }];
  const shapes = args.flatMap(({ shape }) => shape);
  return {
    family: "gemm",
    name,
    from: [],
    args,
    extents: [...new Set([...all, ...shapes])].filter((x): x is string => typeof x === "string"),
    batch: axes(...batch),
    m: axes(...m),
    n: axes(...n),
    products: parts.products.map((product) => ({ ...product, k: axes(...k) })),
    epilogue,
    ...(parts.groups === undefined ? {} : { groups: parts.groups }),
  };
}

const PRODUCT = load("product", [], "f32");

/** One product of two tensors by their dims. */
function plain(
  name: string,
  spaces: Spaces,
  aDims: readonly string[],
  bDims: readonly string[],
  dtypes: readonly [StorageType, StorageType, StorageType] = ["f32", "f32", "f32"],
): GemmKernel {
  const [a, b] = [tensor("a", dtypes[0], aDims), tensor("b", dtypes[1], bDims)];
  const out = tensor("out", dtypes[2], [...spaces.m, ...(spaces.batch ?? []), ...spaces.n]);
  return gemm(name, spaces, {
    args: [a.arg, b.arg],
    products: [{ name: "product", dtype: dtypes[2], a: a.value, b: b.value }],
    out,
    value: load("product", [], dtypes[2]),
  });
}

const MNK: Spaces = { m: ["M"], n: ["N"], k: ["K"] };

/** Experts of rows (t, s): `E4` of them. */
const CHOSEN = tensor("chosen", "i32", ["T", "S3"]);

/** x of a token, 0 where it has no expert: what dispatch means. */
function dispatched(x: Expr): Expr {
  return op("select", [op("lt", [CHOSEN.value, constant(0, "i32")], "bool"), constant(0, "f32"), x], "f32");
}

function experts(name: string, bDims: readonly string[], scaled: boolean): GemmKernel {
  const [x, w, s] = [tensor("x", "f32", ["T", "K"]), tensor("w", "f32", bDims), tensor("scale", "f32", ["T", "S3"])];
  const a = scaled ? op("mul", [dispatched(x.value), s.value], "f32") : dispatched(x.value);
  return gemm(
    name,
    { m: ["T", "S3"], n: ["N"], k: ["K"] },
    {
      args: [CHOSEN.arg, x.arg, w.arg, ...(scaled ? [s.arg] : [])],
      products: [{ name: "product", dtype: "f32", a, b: w.value }],
      out: tensor("out", "f32", ["T", "S3", "N"]),
      value: PRODUCT,
      groups: { over: "m", group: { name: "E4", extent: 4 }, of: CHOSEN.value },
    },
  );
}

function expertGradient(name: string, scaled: boolean): GemmKernel {
  const [x, d, s] = [
    tensor("x", "f32", ["T", "M"]),
    tensor("d", "f32", ["T", "S3", "N"]),
    tensor("scale", "f32", ["T", "S3"]),
  ];
  return gemm(
    name,
    { batch: ["E4"], m: ["M"], n: ["N"], k: ["T", "S3"] },
    {
      args: [CHOSEN.arg, x.arg, d.arg, ...(scaled ? [s.arg] : [])],
      products: [
        {
          name: "product",
          dtype: "f32",
          a: dispatched(x.value),
          b: scaled ? op("mul", [d.value, s.value], "f32") : d.value,
        },
      ],
      out: tensor("out", "f32", ["E4", "M", "N"]),
      value: PRODUCT,
      groups: { over: "k", group: { name: "E4", extent: 4 }, of: CHOSEN.value },
    },
  );
}

/** silu(x gate) * (x up) + residual */
function gated(): GemmKernel {
  const [x, gate, up] = [
    tensor("x", "f32", ["M", "K"]),
    tensor("gate", "f32", ["K", "N"]),
    tensor("up", "f32", ["N", "K"]),
  ];
  const residual = tensor("residual", "f32", ["M", "N"]);
  const value = op(
    "add",
    [op("mul", [op("silu", [load("g", [], "f32")], "f32"), load("u", [], "f32")], "f32"), residual.value],
    "f32",
  );
  return gemm("gated", MNK, {
    args: [x.arg, gate.arg, up.arg, residual.arg],
    products: [
      { name: "g", dtype: "f32", a: x.value, b: gate.value },
      { name: "u", dtype: "f32", a: x.value, b: up.value },
    ],
    out: tensor("out", "f32", ["M", "N"]),
    value,
  });
}

/** Both operands are expressions: x scaled by row and by term, B from two tensors. */
function computed(): GemmKernel {
  const [x, r, s] = [tensor("x", "f32", ["M", "K"]), tensor("r", "f32", ["M"]), tensor("s", "f32", ["K"])];
  const [b, c] = [tensor("b", "f32", ["K", "N"]), tensor("c", "f32", ["K", "N"])];
  return gemm("computed", MNK, {
    args: [x.arg, r.arg, s.arg, b.arg, c.arg],
    products: [
      {
        name: "product",
        dtype: "f32",
        a: op("mul", [op("mul", [x.value, r.value], "f32"), s.value], "f32"),
        b: op("sub", [b.value, c.value], "f32"),
      },
    ],
    out: tensor("out", "f32", ["M", "N"]),
    value: PRODUCT,
  });
}

/** Rows of A wherever a table says. */
function gathered(): GemmKernel {
  const [table, b] = [tensor("rows", "i32", ["M"]), tensor("b", "f32", ["K", "N"])];
  const a = load("a", [op("cast", [table.value], "index"), axis("K")], "f32");
  return gemm("gathered", MNK, {
    args: [table.arg, { name: "a", dtype: "f32", shape: [5, "K"], access: "read" }, b.arg],
    products: [{ name: "product", dtype: "f32", a, b: b.value }],
    out: tensor("out", "f32", ["M", "N"]),
    value: PRODUCT,
  });
}

/** A slice of what is there: columns from 3 on, of twice as many. */
function sliced(): GemmKernel {
  const a = tensor("a", "f32", ["M", "K"]);
  const at = [axis("K"), axis("H2"), op("add", [axis("N"), index(3)], "index")];
  return gemm(
    "sliced",
    { m: ["M"], n: ["H2", "N"], k: ["K"] },
    {
      args: [a.arg, { name: "b", dtype: "f32", shape: ["K", 2, 100], access: "read" }],
      products: [{ name: "product", dtype: "f32", a: a.value, b: load("b", at, "f32") }],
      out: tensor("out", "f32", ["M", "H2", "N"]),
      value: PRODUCT,
    },
  );
}

/** B as codes with a scale for each group along K or N; the extent `G` counts groups. */
export const GROUPS: Readonly<Record<string, { readonly along: "K" | "N"; readonly group: number }>> = {
  codes8_kn: { along: "K", group: 16 },
  codes8_nk: { along: "K", group: 16 },
  codes8_kn_across: { along: "N", group: 16 },
  codes8_nk_uneven: { along: "K", group: 7 },
  codes4_kn: { along: "K", group: 8 },
  codes4_nk: { along: "K", group: 8 },
  codes4_kn_uneven: { along: "K", group: 5 },
  codes4_nk_across: { along: "N", group: 3 },
  codes8_experts: { along: "K", group: 16 },
  codes4_experts_turned: { along: "K", group: 32 },
};

function codesOf(name: string, dims: readonly string[]): { readonly args: readonly Arg[]; readonly value: Expr } {
  const { along, group } = GROUPS[name]!;
  const codes = tensor("b", name.startsWith("codes4") ? "i4" : "i8", dims);
  const at = codes.at.map((x, i) => (dims[i] === along ? op("div", [x, index(group)], "index") : x));
  const shape = codes.arg.shape.map((extent) => (extent === along ? "G" : extent));
  const scales: Arg = { name: "scales", dtype: "bf16", shape, access: "read" };
  const factor = op("cast", [load("scales", at, "bf16")], "f32");
  return { args: [codes.arg, scales], value: op("mul", [op("cast", [codes.value], "f32"), factor], "f32") };
}

function coded(name: string, dims: readonly string[]): GemmKernel {
  const [a, b, out] = [tensor("a", "f32", ["M", "K"]), codesOf(name, dims), tensor("out", "f32", ["M", "N"])];
  const products = [{ name: "product", dtype: "f32" as const, a: a.value, b: b.value }];
  return gemm(name, MNK, { args: [a.arg, ...b.args], products, out, value: PRODUCT });
}

function codedExperts(name: string, dims: readonly string[]): GemmKernel {
  const [x, b] = [tensor("x", "f32", ["T", "K"]), codesOf(name, dims)];
  return gemm(
    name,
    { m: ["T", "S3"], n: ["N"], k: ["K"] },
    {
      args: [CHOSEN.arg, x.arg, ...b.args],
      products: [{ name: "product", dtype: "f32", a: dispatched(x.value), b: b.value }],
      out: tensor("out", "f32", ["T", "S3", "N"]),
      value: PRODUCT,
      groups: { over: "m", group: { name: "E4", extent: 4 }, of: CHOSEN.value },
    },
  );
}

export const KERNELS: readonly GemmKernel[] = [
  plain("mk_kn", MNK, ["M", "K"], ["K", "N"]),
  plain("mk_nk", MNK, ["M", "K"], ["N", "K"]),
  plain("km_kn", MNK, ["K", "M"], ["K", "N"]),
  plain("km_nk", MNK, ["K", "M"], ["N", "K"]),
  plain("bf16_kn", MNK, ["M", "K"], ["K", "N"], ["bf16", "bf16", "bf16"]),
  plain("bf16_nk", MNK, ["M", "K"], ["N", "K"], ["f32", "bf16", "f32"]),
  plain("f16_kn", MNK, ["M", "K"], ["K", "N"], ["f32", "f16", "f16"]),
  plain("f16_nk", MNK, ["M", "K"], ["N", "K"], ["f16", "f16", "f32"]),
  plain("batched", { ...MNK, batch: ["H2"] }, ["M", "H2", "K"], ["N", "H2", "K"]),
  plain(
    "many_axes",
    { m: ["M", "G2"], n: ["H3", "N"], k: ["J2", "K"] },
    ["M", "J2", "G2", "K"],
    ["K", "H3", "J2", "N"],
  ),
  plain(
    "merged_axes",
    { m: ["M", "G2"], n: ["H3", "N5"], k: ["J2", "K7"] },
    ["M", "G2", "J2", "K7"],
    ["J2", "K7", "H3", "N5"],
  ),
  plain("vector", { m: [], n: ["N"], k: ["K"] }, ["K"], ["N", "K"]),
  plain("column", { m: ["M"], n: [], k: ["K"] }, ["M", "K"], ["K"]),
  plain("outer", { m: ["M"], n: ["N"], k: [] }, ["M"], ["N"]),
  gated(),
  computed(),
  gathered(),
  sliced(),
  experts("experts", ["E4", "K", "N"], false),
  experts("experts_turned", ["E4", "N", "K"], true),
  expertGradient("expert_gradient", false),
  expertGradient("expert_gradient_scaled", true),
  ...Object.keys(GROUPS)
    .filter((name) => !name.includes("experts"))
    .map((name) => coded(name, name.includes("kn") ? ["K", "N"] : ["N", "K"])),
  codedExperts("codes8_experts", ["E4", "K", "N"]),
  codedExperts("codes4_experts_turned", ["E4", "N", "K"]),
];
