/** `top_k` and `rank` without comparing all pairs: few of a short row by a warp, of a long one digit by digit by a block. */
import { dtypeOf, index } from "../../../kernel-ir/expr.ts";
import type { Kernel, Stmt } from "../../../kernel-ir/types.ts";
import { isFloatType } from "../../scalars.ts";
import { knownSize } from "../../simt/axes.ts";
import type { Frame } from "../../simt/frame.ts";
import type { Statements } from "../../simt/statements.ts";

/** What a warp has in registers: values of a row, and of the largest. */
const SHORT = 1024;
const FEW = 32;
/** Indices of the largest that are sorted in shared memory. */
const MANY = 2048;
const WARP = 32;

type Order = Stmt & { kind: "top_k" | "rank" };

/** Prints the statement if there is a better way than to compare all pairs. */
export function printOrder(frame: Frame, statements: Statements, stmt: Order): boolean {
  const { threads } = statements;
  const wide = frame.dialect.wide(dtypeOf(stmt.value));
  if (threads % WARP !== 0 || !statements.isWholeGroup || wide === "f64") return false;
  if (stmt.kind === "top_k" && isShort(stmt) && isFloatType(wide)) printByWarps(frame, statements, stmt);
  else {
    const wanted = wantedOf(frame.kernel, stmt);
    if (wanted === undefined) return false;
    printByBlock(frame, statements, stmt, wanted, isFloatType(wide) ? "f32" : "i32");
  }
  return true;
}

function isShort(stmt: Order & { kind: "top_k" }): boolean {
  const { extent } = stmt.over;
  const few = typeof stmt.counter.extent === "number" && stmt.counter.extent <= FEW;
  return few && typeof extent === "number" && extent <= SHORT && knownSize(stmt.axes) !== undefined;
}

/** How many of the first ones somebody wants to know: all places of a `rank` that are compared are compared with this number. */
function wantedOf(kernel: Kernel, stmt: Order): number | undefined {
  const { extent } = stmt.over;
  if (typeof extent === "number" && extent <= SHORT) return undefined;
  if (stmt.kind === "top_k") {
    const wanted = stmt.counter.extent;
    return typeof wanted === "number" && wanted <= MANY ? wanted : undefined;
  }
  const isLocal = kernel.family === "rows" && kernel.locals.some(({ name }) => name === stmt.to);
  if (!isLocal) return undefined;
  const limits = new Set<number>();
  let [loads, compared] = [0, 0];
  const visit = (x: unknown): void => {
    if (typeof x !== "object" || x === null) return;
    const node = x as { kind?: string; op?: string; from?: string; operands?: readonly Record<string, unknown>[] };
    const isLoad = (y: unknown): boolean => (y as { from?: string } | undefined)?.from === stmt.to;
    if (isLoad(node)) loads++;
    const [a, b] = node.operands ?? [];
    if (node.op === "lt" && isLoad(a) && b?.["kind"] === "const") {
      compared++;
      limits.add(Number(b["value"]));
    }
    for (const inner of Object.values(x)) visit(inner);
  };
  visit(kernel.body);
  const [limit] = limits;
  return loads === compared && limits.size === 1 ? limit : undefined;
}

function printByWarps(frame: Frame, statements: Statements, stmt: Order & { kind: "top_k" }): void {
  const { lines, names } = frame;
  const { axes, over, counter, to, at, value } = stmt;
  const [row, place] = [names.axis(over.name), names.axis(counter.name)];
  statements.settle(statements.reads(value, ...at), [to]);
  const warp = (): void => {
    frame.unpack(axes, "team");
    const result = (): void => lines.add(`return ${statements.scalars(value).print(value)};`);
    lines.block(`const auto value_at = [&](int ${row})`, result, "};");
    const take = (): void => statements.write(to, at, statements.scalars(...at), row);
    lines.block(`const auto take = [&](int ${place}, int ${row})`, take, "};");
    lines.add(`largest_of_warp<${over.extent}, ${counter.extent}>(value_at, take);`);
  };
  const warps = statements.threads / WARP;
  const rows = knownSize(axes)!;
  if (rows === 1) return lines.block(`if (lane < ${WARP})`, warp);
  lines.block(`for (int team = lane / ${WARP}; team < ${rows}; team += ${warps})`, warp);
}

function printByBlock(frame: Frame, statements: Statements, stmt: Order, wanted: number, dtype: "f32" | "i32"): void {
  const { lines, names } = frame;
  const { axes, over, to, at, value } = stmt;
  const { threads } = statements;
  const row = names.axis(over.name);
  const stored = rowOf(frame, stmt);
  const values = stored ?? frame.temp("values");
  if (stored === undefined) {
    names.declare([{ name: values, dtype, shape: [over.extent] }]);
    frame.array(values, dtype, [over.extent]);
  }
  const of = (i: string): string => `${stored === undefined ? values : `(${values})`}[${i}]`;
  const size = 2 ** Math.ceil(Math.log2(Math.max(2, wanted)));
  if (stmt.kind === "top_k") frame.share("sorted", `__shared__ unsigned long long sorted[${size}];`);
  statements.settle(statements.reads(value, ...at), [to]);
  statements.loops(axes, () => {
    if (stored === undefined) {
      statements.barrier();
      statements.each([over], () => statements.store(values, [{ kind: "axis", axis: over.name }], value));
      statements.barrier();
    }
    lines.block("", () => {
      lines.add(`const auto least = least_of_largest<${threads}>(${values}, ${over.extent}, ${wanted});`);
      if (stmt.kind === "rank") {
        lines.add(`// Only whether a place is below ${wanted} is asked for.`);
        return statements.each([over], () => {
          const own = dtype === "f32" ? `float(${of(row)})` : of(row);
          const text = `key_and_index(${own}, ${row}) >= least ? 0 : ${wanted}`;
          statements.write(to, at, statements.scalars(...at), `(${text})`);
        });
      }
      lines.add(`sort_largest<${threads}, ${size}>(sorted, ${values}, ${over.extent}, least);`);
      const place = names.axis(stmt.counter.name);
      lines.block(`for (int ${place} = lane; ${place} < ${wanted}; ${place} += ${threads})`, () => {
        lines.block(`if (sorted[${place}] != 0ull)`, () => {
          lines.add(`const int ${row} = index_in(sorted[${place}]);`);
          statements.write(to, at, statements.scalars(...at), row);
        });
      });
    });
  });
  if (stored === undefined) statements.settle([], [to]);
}

/** Where the values begin, if they lie in memory as they are. */
function rowOf({ kernel, names }: Frame, { value, over }: Order): string | undefined {
  if (value.kind !== "load" || !/^(f32|bf16|f16|f8e4m3|i32)$/.test(value.dtype)) return undefined;
  if (!kernel.args.some(({ name }) => name === value.from)) return undefined;
  const [last, ...outer] = value.at.toReversed();
  const isRow = last?.kind === "axis" && last.axis === over.name && outer.every((x) => x.kind === "axis");
  if (!isRow || outer.some((x) => x.kind === "axis" && x.axis === over.name)) return undefined;
  const at = [...value.at.slice(0, -1), index(0)];
  const offset = names.offset(value.from, at, (x) => (x.kind === "axis" ? names.axis(x.axis) : "0"));
  return offset === "0" ? value.from : `${value.from} + ${offset}`;
}

/** Whether a kernel has a row that is ordered by a block: it takes more of the memory that threads share. */
export function ordersByBlock(kernel: Kernel): boolean {
  const body = "body" in kernel ? (kernel.body as readonly { readonly kind: string }[]) : [];
  return body.some((stmt) => {
    const own = (stmt.kind === "row" ? (stmt as unknown as { stmt: Stmt }).stmt : stmt) as Stmt;
    if (own.kind !== "top_k" && own.kind !== "rank") return false;
    return typeof own.over.extent !== "number" || own.over.extent > SHORT;
  });
}
