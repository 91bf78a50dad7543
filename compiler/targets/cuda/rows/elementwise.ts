/** Rows of one value each, as casts and optimizers have them: threads take neighbors, and several of these at a time. */
import { STORAGE_BYTES, type StorageType } from "../../../../runtime/program/launch.ts";
import { dtypeOf, walk } from "../../../kernel-ir/expr.ts";
import { isOfLists } from "../../../kernel-ir/lists.ts";
import type { RowsKernel, Stmt } from "../../../kernel-ir/types.ts";
import { extentsOf } from "../../simt/axes.ts";
import type { Dialect } from "../../simt/dialect.ts";
import { Frame } from "../../simt/frame.ts";
import { Statements } from "../../simt/statements.ts";
import { isScalar, isSmallFloat, placeKey, Vectors } from "./vectors.ts";

const THREADS = 256;
/** Bytes that a thread should ask for before it waits: 2048 threads of a multiprocessor have 40 KB under way and more. */
const UNDER_WAY = 64;
const MOST_TURNS = 4;

type Assign = Stmt & { kind: "assign" };

export function printElementwise(dialect: Dialect, kernel: RowsKernel): Frame | undefined {
  const [row, ...more] = kernel.rows;
  const body = kernel.body.filter((stmt): stmt is Assign => stmt.kind === "assign" && stmt.axes.length === 0);
  if (row === undefined || more.length > 0 || body.length < kernel.body.length) return undefined;
  if (kernel.locals.some(({ shape }) => shape.length > 0)) return undefined;
  const frame = new Frame(dialect, kernel, kernel.locals);
  const width = kernel.args.every(({ dtype, shape }) => shape.length === 0 || STORAGE_BYTES[dtype] <= 2) ? 8 : 4;
  const vectors = new Vectors(frame, width, row.name);
  const moved = movedBytes(frame, vectors, body);
  if (moved === undefined) return undefined;
  const turns = Math.min(MOST_TURNS, Math.ceil(UNDER_WAY / Math.max(1, moved.loaded)));
  const block = THREADS * turns * width;
  const statements = new Statements(frame, 1);
  const index = frame.names.axis(row.name);
  frame.main("main", THREADS, () => {
    const { lines } = frame;
    lines.add(`const int first = blockIdx.x * ${block};`);
    lines.block(`if (first + ${block} <= ${row.extent})`, () => {
      const turn = (): void => {
        lines.add(`const int ${index} = first + ${turns === 1 ? "lane" : `(turn * ${THREADS} + lane)`} * ${width};`);
        printNeighbors(frame, vectors, statements, body);
      };
      if (turns === 1) return turn();
      lines.add("#pragma unroll");
      lines.block(`for (int turn = 0; turn < ${turns}; turn++)`, turn);
    });
    lines.block("else", () =>
      lines.block(`for (int ${index} = first + lane; ${index} < ${row.extent}; ${index} += ${THREADS})`, () => {
        for (const { name, dtype } of kernel.locals) lines.add(dialect.variable(name, dtype));
        for (const stmt of body) statements.print(stmt);
      }),
    );
  });
  frame.entry("main", THREADS, [{ of: extentsOf(kernel.rows), by: block }]);
  frame.takesLists = isOfLists(kernel);
  return frame;
}

/** Bytes of a thread's vectors; undefined where something is not moved in vectors. */
function movedBytes(frame: Frame, vectors: Vectors, body: readonly Assign[]): { loaded: number } | undefined {
  const places = new Map<string, number>();
  const written = new Set<string>();
  let fits = true;
  const bytesOf = (name: string): number => vectors.width * STORAGE_BYTES[frame.names.store(name).dtype as StorageType];
  for (const { to, at, value } of body) {
    walk(value, (x) => {
      if (x.kind !== "load" || isScalar(frame.names.store(x.from))) return;
      const motion = vectors.motion(x.from, x.at);
      if (motion === "other") fits = false;
      const key = placeKey(x.from, x.at);
      if (motion === "neighbors" && !written.has(key)) places.set(key, bytesOf(x.from));
    });
    if (isScalar(frame.names.store(to))) continue;
    if (vectors.motion(to, at) !== "neighbors") fits = false;
    written.add(placeKey(to, at));
  }
  return fits ? { loaded: [...places.values()].reduce((a, b) => a + b, 0) } : undefined;
}

function printNeighbors(frame: Frame, vectors: Vectors, statements: Statements, body: readonly Assign[]): void {
  const { lines, names, dialect } = frame;
  vectors.held.clear();
  const stores: string[] = [];
  const declarations: string[] = [];
  const values = body.map(({ to, at, value }) => {
    const own = vectors.ofNeighbor(value);
    const store = names.store(to);
    if (isScalar(store)) return { target: to, value: own, store };
    const name = frame.temp(`${to}_`);
    declarations.push(vectors.declaration(name, store.dtype));
    vectors.held.set(placeKey(to, at), name);
    stores.push(`store_vector(${to}, ${vectors.offset(to, at)}, ${name});`);
    return { target: `${name}[j]`, value: own, store };
  });
  lines.add(...declarations);
  vectors.each(() => {
    for (const { name, dtype } of frame.kernel.family === "rows" ? frame.kernel.locals : [])
      lines.add(dialect.variable(name, dtype));
    for (const { target, value, store } of values) {
      const text = statements.scalars(value).print(value);
      const rounds = isSmallFloat(store.dtype) && target !== store.name && dtypeOf(value) !== store.dtype;
      lines.add(`${target} = ${rounds ? `float(${store.dtype}(${text}))` : text};`);
    }
  });
  lines.add(...stores);
}
