/**
 * Codes in eight bits of a matrix and the largest numbers of its tiles, 128 x 128 elements of a block: as weights of products have them, and
 * tokens that gradients of weights sum.
 */
import { dtypeOf, index, load, loadedBy, mergedIndices, substitute, walk } from "../../../kernel-ir/expr.ts";
import type { Axis, ColumnsKernel, Expr, RowsKernel, Stmt } from "../../../kernel-ir/types.ts";
import { linear } from "../../operands.ts";
import { startOf } from "../../scalars.ts";
import { extentsOf, knownSize } from "../../simt/axes.ts";
import type { Dialect } from "../../simt/dialect.ts";
import { Frame } from "../../simt/frame.ts";
import { Statements } from "../../simt/statements.ts";

/** Rows and columns of a tile. */
const TILE = 128;
const THREADS = 256;
/** Elements that a thread asks for before it waits: a division has branches, which loads do not pass. */
const UNDER_WAY = 8;
/** Bytes of a row of codes in shared memory: neither neighbors of a row nor of a column are in one bank. */
const PITCH = TILE + 4;

/** Codes whose neighbors in memory may be any of the neighbors of what they are made of. */
export function printCodes(dialect: Dialect, kernel: RowsKernel): Frame | undefined {
  const [stmt, more] = kernel.body;
  if (kernel.locals.length > 0 || more !== undefined || stmt?.kind !== "assign") return undefined;
  const [column, another] = stmt.axes;
  if (column?.extent !== TILE || another !== undefined || !isCodes(kernel, stmt, column)) return undefined;
  const row = rowOf(kernel, stmt.value, column);
  if (row === undefined) return undefined;
  const turned = !strides(kernel, stmt.value, column).some(({ stride }) => stride === 1);
  const near = strides(kernel, stmt.value, turned ? row : column).find(({ stride }) => stride === 1)!.load;
  const element = whereThere(stmt.value, near) ?? near;
  const frame = new Frame(dialect, kernel);
  const statements = new Statements(frame, 1);
  const { names } = frame;
  const [tile, codes, elements, begin] = ["tile", "codes_of_tile", "elements", "first_of_tile"].map((name) =>
    names.local(name),
  ) as [string, string, string, string];
  // Of the tile, and of all rows: blocks have 128 of these.
  const size = Number(row.extent);
  const blocks = Math.ceil(size / TILE);
  const isWhole = size % TILE === 0;
  const [r, c] = [blocks === 1 && isWhole ? names.axis(row.name) : names.local("r"), names.axis(column.name)];
  const declareRow = (): void => {
    if (r === names.axis(row.name)) return;
    const at = blocks === 1 ? r : `${begin} + ${r}`;
    frame.lines.add(`const int ${names.axis(row.name)} = ${isWhole ? at : `min(${at}, ${size - 1})`};`);
  };
  frame.share(tile, `__shared__ unsigned ${tile}[${TILE} * ${PITCH / 4}];`);
  const tiles = kernel.rows.filter(({ name }) => name !== row.name);
  frame.main("main", THREADS, () => {
    const { lines } = frame;
    frame.item("item");
    frame.unpack(tiles, blocks === 1 ? "item" : `(item / ${blocks})`);
    if (blocks > 1) lines.add(`const int ${begin} = item % ${blocks} * ${TILE};`);
    lines.add(`unsigned char* const ${codes} = reinterpret_cast<unsigned char*>(${tile});`);
    lines.add("// Threads read neighbors, whichever way they lie, and several of these before they divide.");
    lines.block(`for (int first = lane; first < ${TILE * TILE}; first += ${THREADS * UNDER_WAY})`, () => {
      const turns = (body: () => void): void => {
        lines.add("#pragma unroll");
        lines.block(`for (int turn = 0; turn < ${UNDER_WAY}; turn++)`, () => {
          const [fast, slow] = turned ? [r, c] : [c, r];
          lines.add(
            `const int ${fast} = first % ${TILE};`,
            `const int ${slow} = first / ${TILE} + turn * ${THREADS / TILE};`,
          );
          declareRow();
          body();
        });
      };
      const dtype = dialect.wide(dtypeOf(element));
      lines.add(dialect.array(elements, dtype, UNDER_WAY));
      turns(() => lines.add(`${elements}[turn] = ${statements.scalars(element).print(element)};`));
      names.declare([{ name: `${elements}[turn]`, dtype, shape: [] }]);
      const value = replaced(stmt.value, element, load(`${elements}[turn]`, [], dtypeOf(element)));
      turns(() =>
        lines.add(`${codes}[${r} * ${PITCH} + ${c}] = f8e4m3(${statements.scalars(value).print(value)}).bits;`),
      );
    });
    lines.add("__syncthreads();", "#pragma unroll");
    lines.block(`for (int i = lane; i < ${(TILE * TILE) / 16}; i += ${THREADS})`, () => {
      lines.add(`const int ${r} = i / ${TILE / 16}, ${c} = i % ${TILE / 16} * 16;`);
      if (!isWhole) lines.add(`if (${blocks === 1 ? r : `${begin} + ${r}`} >= ${size}) continue;`);
      declareRow();
      lines.add(`const unsigned* const from = ${tile} + ${r} * ${PITCH / 4} + ${c} / 4;`);
      const scalars = statements.scalars(...stmt.at);
      const offset = names.offset(stmt.to, stmt.at, (x) => scalars.print(x));
      lines.add(`uint4* const to = reinterpret_cast<uint4*>(${stmt.to} + (${offset}));`);
      lines.add("*to = uint4{from[0], from[1], from[2], from[3]};");
    });
  });
  frame.entry("main", THREADS, [{ of: extentsOf(tiles) }, ...(blocks === 1 ? [] : [{ of: [size], by: TILE }])]);
  return frame;
}

/** Whether codes are what is stored, and the axis is that of neighbors: 16 of them are a line of 16 bytes. */
function isCodes({ args }: RowsKernel, { to, at }: Stmt & { kind: "assign" }, column: Axis): boolean {
  const { dtype, shape } = args.find(({ name }) => name === to)!;
  const last = at.at(-1);
  return dtype === "f8e4m3" && shape.at(-1) === TILE && last?.kind === "axis" && last.axis === column.name;
}

/**
 * The other axis of a tile: that of neighbors of what is read, or where that is the axis of codes, any of as many. Neighbors may be
 * more than those of a tile, or fewer.
 */
function rowOf(kernel: RowsKernel, value: Expr, column: Axis): Axis | undefined {
  const areNear = (axis: Axis): boolean => strides(kernel, value, axis).some(({ stride }) => stride === 1);
  if (areNear(column)) return kernel.rows.find(({ extent }) => extent === TILE);
  return kernel.rows.find((axis) => Number(axis.extent) >= TILE / 2 && areNear(axis));
}

/**
 * How far apart the elements of each load are along an axis, in its array; undefined where that is not the same everywhere. Indices that
 * are loaded say where elements lie, and are none.
 */
function strides(
  { args, rows }: Pick<RowsKernel, "args" | "rows">,
  value: Expr,
  along: Axis,
): { readonly load: Expr; readonly stride: number | undefined }[] {
  const found: { readonly load: Expr; readonly stride: number | undefined }[] = [];
  walk(value, (x) => {
    const arg = x.kind === "load" ? args.find(({ name }) => name === x.from) : undefined;
    if (x.kind !== "load" || arg === undefined || arg.dtype === "i32") return;
    const axes = new Set<string>(rows.map(({ name }) => name));
    for (const one of x.at) walk(one, (part) => part.kind === "axis" && axes.add(part.axis));
    axes.delete(along.name);
    const zero = new Map([...axes].map((name) => [name, { kind: "const", dtype: "index", value: 0 } as Expr]));
    const at = mergedIndices(x.at, arg.shape).map((one) =>
      uses(one, along) ? substitute(one, zero, () => undefined) : index(0),
    );
    found.push({ load: x, stride: linear([along], at, arg.shape) });
  });
  return found;
}

function uses(expr: Expr, { name }: Axis): boolean {
  let found = false;
  walk(expr, (part) => (found ||= part.kind === "axis" && part.axis === name));
  return found;
}

/** The choice between a load and another value by what is loaded: a row that may not be there is not read for nothing. */
function whereThere(expr: Expr, element: Expr): Expr | undefined {
  if (expr.kind !== "op" || !JSON.stringify(expr).includes(JSON.stringify(element))) return undefined;
  if (expr.op === "select" && loadedBy(expr.operands[0]!).length > 0) return expr;
  return expr.operands.map((x) => whereThere(x, element)).find((x) => x !== undefined);
}

/** An expression with another one in the place of a load. */
function replaced(expr: Expr, what: Expr, by: Expr): Expr {
  if (JSON.stringify(expr) === JSON.stringify(what)) return by;
  return expr.kind === "op" ? { ...expr, operands: expr.operands.map((x) => replaced(x, what, by)) } : expr;
}

/** Numbers of tiles whose rows are neighbors: a block has a tile. */
export function printTiles(dialect: Dialect, kernel: ColumnsKernel): Frame | undefined {
  const [sum, more] = kernel.sums;
  const inner = kernel.over.at(-1);
  const size = knownSize(kernel.over);
  if (sum === undefined || more !== undefined || kernel.columns.length === 0 || inner === undefined) return undefined;
  if (size === undefined || size < 4 * THREADS || size > TILE * TILE || Number(inner.extent) % 32 !== 0)
    return undefined;
  const near = strides({ args: kernel.args, rows: kernel.columns }, sum.value, inner).map(({ stride }) => stride);
  if (!near.includes(1) || near.includes(undefined)) return undefined;
  const frame = new Frame(dialect, kernel);
  const statements = new Statements(frame, THREADS);
  const dtype = dialect.wide(dtypeOf(sum.value));
  frame.main("main", THREADS, () => {
    const { lines, language } = frame;
    frame.item("item");
    frame.unpack(kernel.columns, "item");
    lines.add(dialect.variable("sum", dtype, startOf(language, sum.reduction, dtype)), "#pragma unroll 8");
    lines.block(`for (int i = lane; i < ${size}; i += ${THREADS})`, () => {
      frame.unpack(kernel.over, "i");
      const term = statements.scalars(sum.value).print(sum.value);
      lines.add(`sum = ${dialect.fold(sum.reduction, dtype, "sum", term)};`);
    });
    lines.add(language.named("all", dtype, statements.together(sum.reduction, dtype, "sum")));
    lines.block("if (lane == 0)", () => statements.write(sum.to, sum.at, statements.scalars(...sum.at), "all"));
  });
  frame.entry("main", THREADS, [{ of: extentsOf(kernel.columns) }]);
  return frame;
}
