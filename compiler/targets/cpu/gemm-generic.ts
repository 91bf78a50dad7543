import { dtypeOf } from "../../kernel-ir/expr.ts";
import type { Axis, GemmKernel } from "../../kernel-ir/types.ts";
import { Frame, product } from "./frame.ts";
import { Scalars } from "../scalars.ts";
import { CPP, literal, valueType } from "./cpp.ts";

/**
 * A product whose operands are any expressions: one row of results per item, row by row of B. Correct for every legal
 * kernel, and the way of those that the packed one does not take.
 */
export function printGenericGemm(kernel: GemmKernel): string {
  const frame = new Frame(kernel, [
    ...(kernel.prologue?.locals ?? []),
    ...kernel.products.map(({ name, a }) => ({ name, dtype: dtypeOf(a), shape: [] })),
  ]);
  const { body, names } = frame;
  const { batch, m, n, products, groups } = kernel;
  const columns = product(n.map(({ extent }) => String(extent)));
  const sums = products.map(({ a }) => frame.array("sums", valueType(dtypeOf(a)), columns));
  let temps = 0;
  const scalars = (): Scalars => new Scalars(CPP, names, body, () => `v${temps++}`);
  const loops = (axes: readonly Axis[], inner: () => void, simd = false): void => {
    const [first, ...rest] = axes;
    if (first === undefined) return inner();
    const i = names.axis(first.name);
    if (simd && rest.length === 0) body.add("#pragma omp simd");
    body.block(`for (int64_t ${i} = 0; ${i} < ${first.extent}; ${i}++)`, () => loops(rest, inner, simd));
  };
  const column = (): string =>
    n.reduce(
      (at, { name, extent }) => (at === "" ? names.axis(name) : `(${at}) * ${extent} + ${names.axis(name)}`),
      "",
    ) || "0";
  body.block("for (int64_t item = begin; item < end; item++)", () => {
    frame.unpack([...batch, ...m], "item");
    if (kernel.prologue !== undefined) {
      frame.scalars(kernel.prologue.locals);
      for (const stmt of kernel.prologue.body) frame.statements.print(stmt);
    }
    const overRows = groups?.over === "m";
    if (overRows) {
      const of = scalars();
      of.prepare(groups.of);
      body.add(`const int64_t ${names.axis(groups.group.name)} = ${of.print(groups.of)};`);
    }
    for (const [i, { k, a, b }] of products.entries()) {
      const type = valueType(dtypeOf(a));
      body.add(`for (int64_t c = 0; c < ${columns}; c++) ${sums[i]}[c] = ${literal(0, dtypeOf(a))};`);
      const sum = (): void =>
        loops(k, () => {
          const left = scalars();
          left.prepare(a);
          const term = (): void => {
            body.add(`const ${type} left = ${left.print(a)};`);
            loops(
              n,
              () => {
                const right = scalars();
                right.prepare(b);
                body.add(`${sums[i]}[${column()}] += left * ${right.print(b)};`);
              },
              true,
            );
          };
          if (groups?.over !== "k") return term();
          const of = scalars();
          of.prepare(groups.of);
          body.block(`if (${of.print(groups.of)} == ${names.axis(groups.group.name)})`, term);
        });
      if (overRows) body.block(`if (${names.axis(groups.group.name)} >= 0)`, sum);
      else sum();
    }
    loops(n, () => {
      for (const [i, { name, a }] of products.entries())
        body.add(`const ${valueType(dtypeOf(a))} ${name} = ${sums[i]}[${column()}];`);
      frame.statements.printTogether(kernel.epilogue);
    });
  });
  return frame.file(product([...batch, ...m].map(({ extent }) => String(extent))));
}
