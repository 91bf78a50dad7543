/** Kernels between tokens and positions: blocks of rows, one after the other (templates/cpu/plane.h says how planes lie). */
import type { Expr, PlaneKernel } from "../../kernel-ir/types.ts";
import { product } from "./frame.ts";
import { PlaneBlock } from "./plane-block.ts";
import { PlaneProducts } from "./plane-products.ts";
import { PlaneRows } from "./plane-rows.ts";

export function printPlane(kernel: PlaneKernel): string {
  const block = new PlaneBlock(kernel);
  const { frame, inner, id } = block;
  const { batch, rows, body, column, span } = kernel;
  const lines = frame.body;
  const tokens = String(rows[0]!.extent);
  const all = product([tokens, inner]);
  const products = new PlaneProducts(block);
  const statements = new PlaneRows(block);
  const bounds = [bound(block, id.from, span?.from, "0"), bound(block, id.to, span?.to, String(column.extent))];
  const runs = `const dsk_plane_runs ${id.runs}(${tokens}, ${column.extent}, ${id.from}, ${id.to});`;
  // Sums over the tokens of a run belong to one item; otherwise rows are independent.
  const sumsTokens = body.some(({ kind }) => kind === "leave_columns");
  const behind = `${id.part} * ${id.chunk} + ${id.chunk}`;
  const [first, end] = sumsTokens
    ? [`${id.runs}.token[${id.part}]`, `${id.runs}.token[${id.part} + 1]`].map((token) => product([token, inner]))
    : [`${id.part} * ${id.chunk}`, `${behind} < ${all} ? ${behind} : ${all}`];
  if (!sumsTokens) frame.prelude(`const int64_t ${id.chunk} = dsk_rows_of_item(${all}, ${inner});`);
  const parts = sumsTokens ? `${id.runs}.count` : `((${all} + ${id.chunk} - 1) / ${id.chunk})`;
  const perPart = product(batch.map(({ extent }) => String(extent)));
  lines.add(...bounds, ...(sumsTokens ? [runs] : []));
  lines.block(`for (int64_t ${id.item} = begin; ${id.item} < end; ${id.item}++)`, () => {
    // Tokens first: what a thread has in its cache of other kernels is tokens, all of their heads.
    lines.add(`const int64_t ${id.part} = ${perPart === "1" ? id.item : `${id.item} / (${perPart})`};`);
    frame.unpack(batch, perPart === "1" ? "0" : `${id.item} % (${perPart})`);
    const sums = body.filter((stmt) => stmt.kind === "leave_columns");
    const columns = [`${id.runs}.column[${id.part}]`, `${id.runs}.column[${id.part} + 1]`] as const;
    for (const stmt of sums) products.zero(stmt, ...columns);
    lines.add(`const int64_t ${id.limit} = ${end};`);
    lines.block(`for (int64_t ${id.row} = ${first}; ${id.row} < ${id.limit};)`, () => {
      lines.add(
        `const dsk_plane_block ${id.block} = dsk_next_block(${id.row}, ${id.limit}, ${inner}, ${id.from}, ${id.to});`,
      );
      for (let i = 0; i < body.length;) {
        const stmt = body[i]!;
        if (stmt.kind !== "row") {
          products.print(stmt);
          i++;
          continue;
        }
        // Statements of rows that follow each other share loops.
        const next = body.findIndex((other, at) => at > i && other.kind !== "row");
        const end = next < 0 ? body.length : next;
        const run = body.slice(i, end).flatMap((each) => (each.kind === "row" ? [each.stmt] : []));
        statements.print(run);
        for (const { to } of run) products.changed(to);
        i = end;
      }
      lines.add(`${id.row} += ${id.block}.rows;`);
    });
    for (const stmt of sums) products.finish(stmt, ...columns);
  });
  return frame.file(product([parts, perPart]), sumsTokens ? { counting: [...bounds, runs] } : {});
}

/** `from(token)`: the first column that a token sees, or the end. */
function bound(block: PlaneBlock, name: string, expr: Expr | undefined, otherwise: string): string {
  const token = block.frame.names.axis(block.kernel.rows[0]!.name);
  const text = expr === undefined ? otherwise : block.value(expr);
  return `const auto ${name} = [&]([[maybe_unused]] int64_t ${token}) { return int64_t(${text}); };`;
}
