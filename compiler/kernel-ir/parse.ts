/** Reads the text form of kernels and launch programs: see docs/kernel-ir.md. Notes of launches are kept. */
import type { Blocks, BufferKind, BufferSpec, Launch, LaunchProgram, Together } from "../../runtime/program/launch.ts";
import type { TextCursor } from "../tensor-ir/text-cursor.ts";
import { TextLines } from "../tensor-ir/text-lines.ts";
import { extentOf, extentsOf, STORAGE_TYPES, StmtParser } from "./parse-stmt.ts";
import { partName, together } from "./parts.ts";
import type { Arg, Axis, Kernel, KernelModule, Local, Product, SoloKernel, Stmt } from "./types.ts";

const SOLO = ["rows", "gemm", "columns", "plane", "serial"] as const satisfies readonly SoloKernel["family"][];
const KINDS = ["input", "param", "state", "cache", "output", "temp"] as const satisfies readonly BufferKind[];

/**
 * The inverse of `printKernels`. Checks the form only; whether the module is sound is for `verifyKernels`.
 * @throws Error with line and column when the text is malformed
 */
export function parseKernels(text: string): KernelModule {
  const lines = new TextLines(text);
  const kernels: Kernel[] = [];
  const programs: LaunchProgram[] = [];
  return lines.read(() => {
    while (!lines.done) {
      const cursor = lines.cursor("a kernel or a program");
      if (cursor.take("program @")) programs.push(parseLaunches(cursor, lines));
      else {
        cursor.expect("kernel @");
        kernels.push(parseKernel(cursor, lines));
      }
    }
    return { kernels, programs };
  });
}

function parseKernel(head: TextCursor, lines: TextLines): Kernel {
  const name = head.word("the name of a kernel");
  if (!head.take("parts ")) return parseSolo(name, head, lines);
  const extents = parseExtents(head);
  const parts: SoloKernel[] = [];
  let cursor = lines.cursor("`}`");
  for (; cursor.take("part "); cursor = lines.cursor("`}`"))
    parts.push(parseSolo(partName(parts.length), cursor, lines));
  cursor.expect("}");
  cursor.end();
  return { name, from: [], ...together(parts), extents };
}

function parseExtents(head: TextCursor): string[] {
  head.expect("extents");
  head.expect("[");
  const extents = head.list("]", () => head.word("an extent"));
  opened(head);
  return extents;
}

function parseSolo(name: string, head: TextCursor, lines: TextLines): SoloKernel {
  const family = head.oneOf(SOLO, "a family");
  const extents = parseExtents(head);
  const args: Arg[] = [];
  const locals: Local[] = [];
  const parser = new StmtParser();
  let cursor = lines.cursor("`}`");
  const endLine = (): void => {
    cursor.end();
    cursor = lines.cursor("`}`");
  };
  for (; ; endLine()) {
    const access = (["read", "write", "update"] as const).find((word) => cursor.take(`${word} `));
    if (access !== undefined) args.push({ ...parser.argument(cursor), access });
    else if (cursor.take("local ")) locals.push(parser.local(cursor));
    else break;
  }
  const common = { name, from: [], args, extents };
  const axes = (word: string): Axis[] => {
    cursor.expect(word);
    return parser.axes(cursor);
  };
  /** Lines up to the closing one. */
  const rest = <T>(read: (line: TextCursor) => T): T[] => {
    const items: T[] = [];
    for (; !cursor.take("}"); endLine()) items.push(read(cursor));
    cursor.end();
    return items;
  };
  const body = (): Stmt[] => rest((line) => parser.stmt(line));
  if (locals.length > 0 && (family === "gemm" || family === "columns"))
    throw new Error(`a ${family} kernel has no locals`);
  switch (family) {
    case "rows": {
      const rows = axes("rows");
      endLine();
      return { ...common, family, rows, locals, body: body() };
    }
    case "serial":
      return { ...common, family, locals, body: body() };
    case "columns": {
      const space = { columns: axes("columns"), over: axes("over") };
      endLine();
      return { ...common, family, ...space, sums: rest((line) => parser.sum(line)) };
    }
    case "gemm": {
      const space = { batch: axes("batch"), m: axes("m"), n: axes("n") };
      endLine();
      const groups = cursor.take("group ") ? { groups: parser.groups(cursor) } : {};
      if (groups.groups !== undefined) endLine();
      const own: Local[] = [];
      for (; cursor.take("row local "); endLine()) own.push(parser.local(cursor));
      const body: Stmt[] = [];
      for (; cursor.take("row "); endLine()) body.push(parser.stmt(cursor));
      const prologue = own.length === 0 ? {} : { prologue: { locals: own, body } };
      const products: Product[] = [];
      for (; cursor.take("product "); endLine()) products.push(parser.product(cursor));
      return {
        ...common,
        family,
        ...space,
        ...groups,
        ...prologue,
        products,
        epilogue: rest((line) => parser.stmt(line)),
      };
    }
    case "plane": {
      const [batch, rows] = [axes("batch"), axes("rows")];
      cursor.expect("column");
      const column = parser.axis(cursor);
      endLine();
      const span = cursor.take("span ") ? { span: parser.span(cursor) } : {};
      if (span.span !== undefined) endLine();
      return { ...common, family, batch, rows, column, ...span, locals, body: rest((line) => parser.planeStmt(line)) };
    }
  }
}

function parseLaunches(head: TextCursor, lines: TextLines): LaunchProgram {
  const name = head.word("the name of a program");
  head.expect("dims");
  head.expect("[");
  const dims = head.list("]", () => head.word("a run-time dim"));
  opened(head);
  const buffers: BufferSpec[] = [];
  const launches: Launch[] = [];
  const blocks: Blocks[] = [];
  const together: Together[] = [];
  let inside: Omit<Blocks, "count"> | Omit<Together, "count"> | undefined;
  for (;;) {
    const cursor = lines.cursor("`}`");
    if (cursor.take("}")) {
      cursor.end();
      if (inside === undefined) {
        const groups = {
          ...(blocks.length === 0 ? {} : { blocks }),
          ...(together.length === 0 ? {} : { together }),
        };
        return { name, dims, buffers, launches, ...groups };
      }
      const count = launches.length - inside.first;
      if ("dim" in inside) blocks.push({ ...inside, count });
      else together.push({ ...inside, count });
      inside = undefined;
      continue;
    }
    if (inside === undefined && cursor.take("together")) {
      inside = { first: launches.length };
      opened(cursor);
      continue;
    }
    if (inside === undefined && cursor.take("blocks ")) {
      const rows = cursor.number("the rows of a block");
      cursor.expect("of");
      inside = { dim: cursor.word("a run-time dim"), rows, first: launches.length };
      opened(cursor);
      continue;
    }
    if (cursor.take("#")) {
      if (cursor.number("the number of a buffer") !== buffers.length) cursor.fail(`expected buffer ${buffers.length}`);
      buffers.push(parseBuffer(cursor));
      cursor.end();
    } else launches.push(parseLaunch(cursor));
  }
}

function parseBuffer(cursor: TextCursor): BufferSpec {
  const kind = cursor.oneOf(KINDS, "a kind of buffer");
  const name = cursor.string();
  cursor.expect(":");
  const dtype = cursor.oneOf(STORAGE_TYPES, "a dtype");
  cursor.expect("[");
  let block: number | undefined;
  const shape = cursor.list("]", () => {
    const size = extentOf(cursor);
    if (block !== undefined || typeof size === "string" || !cursor.take("of ")) return size;
    block = size;
    return cursor.word("a run-time dim");
  });
  const store = { kind, name, dtype, shape, ...(block === undefined ? {} : { block }) };
  if (!cursor.take("scales ")) return store;
  const scales = cursor.string();
  cursor.expect("dim");
  const dim = cursor.number("a dim");
  cursor.expect("group");
  return { ...store, quantized: { scales, dim, group: cursor.number("the elements of a group") } };
}

function parseLaunch(cursor: TextCursor): Launch {
  cursor.expect("@");
  const kernel = cursor.word("the name of a kernel");
  cursor.expect("(");
  const args = cursor.list(")", () => {
    cursor.expect("#");
    return cursor.number("the number of a buffer");
  });
  const extents = cursor.take("[") ? extentsOf(cursor) : [];
  const note = cursor.take("// ") ? cursor.rest() : undefined;
  cursor.end();
  return { kernel, args, extents, ...(note === undefined ? {} : { note }) };
}

function opened(cursor: TextCursor): void {
  cursor.expect("{");
  cursor.end();
}
