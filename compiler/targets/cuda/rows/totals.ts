/** One number of all elements of arrays that lie alike, as norms of gradients are: threads take neighbors, blocks take turns. */
import { dtypeOf, walk } from "../../../kernel-ir/expr.ts";
import type { ColumnsKernel, Expr } from "../../../kernel-ir/types.ts";
import { knownSize } from "../../simt/axes.ts";
import type { Dialect } from "../../simt/dialect.ts";
import { Frame } from "../../simt/frame.ts";
import { Statements } from "../../simt/statements.ts";
import { startOf } from "../../scalars.ts";
import { isScalar, Vectors } from "./vectors.ts";

const THREADS = 256;
const WIDTH = 4;
/** Blocks at most: eight for each multiprocessor of a large GPU. */
const BLOCKS = 1056;
/** Elements of a block, at least. */
const LEAST = THREADS * WIDTH * 4;

export function printTotals(dialect: Dialect, kernel: ColumnsKernel): Frame | undefined {
  const [sum, more] = kernel.sums;
  const size = knownSize(kernel.over);
  if (kernel.columns.length > 0 || sum === undefined || more !== undefined) return undefined;
  if (size === undefined || size % WIDTH !== 0 || size < 2 * LEAST) return undefined;
  const flat = flattened(kernel, sum.value);
  if (flat === undefined) return undefined;
  const frame = new Frame(dialect, kernel);
  const { names, language } = frame;
  const dtype = dialect.wide(dtypeOf(sum.value)) as "f32" | "f64" | "i32";
  names.declare(kernel.args.map((arg) => (flat.names.has(arg.name) ? { ...arg, shape: [size] } : arg)));
  const blocks = Math.min(BLOCKS, Math.ceil(size / LEAST));
  frame.shareScratch("parts", dtype, [blocks]);
  const statements = new Statements(frame, THREADS);
  const together = (): string => statements.together(sum.reduction, dtype, "sum");
  const take = (term: string): string => `sum = ${dialect.fold(sum.reduction, dtype, "sum", term)};`;
  frame.main("parts", THREADS, () => {
    const { lines } = frame;
    const vectors = new Vectors(frame, WIDTH, "element");
    const i = names.axis("element");
    lines.add(dialect.variable("sum", dtype, startOf(language, sum.reduction, dtype)), "#pragma unroll 4");
    const [from, step] = [`(blockIdx.x * ${THREADS} + lane) * ${WIDTH}`, `gridDim.x * ${THREADS * WIDTH}`];
    // The last step of a thread goes beyond the end.
    const isNear = size + BLOCKS * THREADS * WIDTH < 2 ** 31;
    lines.block(`for (${isNear ? "int" : "long long"} ${i} = ${from}; ${i} < ${size}; ${i} += ${step})`, () => {
      const term = vectors.ofNeighbor(flat.value);
      vectors.each(() => lines.add(take(statements.scalars(term).print(term))));
    });
    lines.add(language.named("all", dtype, together()), "if (lane == 0) parts[blockIdx.x] = all;");
  });
  frame.main("fold", THREADS, () => {
    const { lines } = frame;
    lines.add(dialect.variable("sum", dtype, startOf(language, sum.reduction, dtype)));
    lines.add(`for (int i = lane; i < ${blocks}; i += ${THREADS}) ${take("parts[i]")}`);
    lines.add(language.named("all", dtype, together()));
    lines.block("if (lane == 0)", () => statements.write(sum.to, sum.at, statements.scalars(...sum.at), "all"));
  });
  const workgroups = [{ of: [blocks] }];
  frame.entry("fold", THREADS, [], { before: { name: "parts", workgroupSize: THREADS, workgroups } });
  return frame;
}

/** The value of element `element` of arrays whose dims are the axes, in their order; undefined where it takes anything else. */
function flattened(kernel: ColumnsKernel, value: Expr): { value: Expr; names: Set<string> } | undefined {
  const names = new Set<string>();
  const axes = kernel.over.map(({ name }) => name).join();
  let fits = true;
  walk(value, (x) => {
    if (x.kind === "random" || (x.kind === "extent" && typeof x.extent === "string")) fits = false;
    if (x.kind !== "load") return;
    const arg = kernel.args.find(({ name }) => name === x.from);
    const isWhole = x.at.map((i) => (i.kind === "axis" ? i.axis : "")).join() === axes;
    const isAlike = arg?.shape.every((extent, i) => extent === kernel.over[i]!.extent) === true;
    if (arg === undefined || isScalar(arg) || arg.dtype === "i4" || !isWhole || !isAlike) fits = false;
    names.add(x.from);
  });
  const replaced = (x: Expr): Expr => {
    if (x.kind === "load") return { ...x, at: [{ kind: "axis", axis: "element" }] };
    if (x.kind === "op") return { ...x, operands: x.operands.map(replaced) };
    if (x.kind === "axis") fits = false;
    return x;
  };
  const own = replaced(value);
  return fits && names.size > 0 ? { value: own, names } : undefined;
}
