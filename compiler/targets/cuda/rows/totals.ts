/** Numbers of all elements of lists, as norms of gradients are made of: blocks have pieces of a list, threads take neighbors. */
import { STORAGE_BYTES } from "../../../../runtime/program/launch.ts";
import { dtypeOf } from "../../../kernel-ir/expr.ts";
import { ELEMENT, isOfLists } from "../../../kernel-ir/lists.ts";
import type { ColumnsKernel } from "../../../kernel-ir/types.ts";
import { startOf } from "../../scalars.ts";
import type { Dialect } from "../../simt/dialect.ts";
import { Frame } from "../../simt/frame.ts";
import { Statements } from "../../simt/statements.ts";
import { Vectors } from "./vectors.ts";

const THREADS = 256;
/** Elements of a block, whatever the GPU: sums have the same order everywhere. */
const PIECE = 16_384;

export function printTotals(dialect: Dialect, kernel: ColumnsKernel): Frame | undefined {
  const [sum, more] = kernel.sums;
  if (!isOfLists(kernel) || sum === undefined || more !== undefined) return undefined;
  if (kernel.args.some(({ dtype }) => dtype === "i4")) return undefined;
  const frame = new Frame(dialect, kernel);
  const { names, language } = frame;
  const dtype = dialect.wide(dtypeOf(sum.value)) as "f32" | "f64" | "i32";
  const width = kernel.args.every(({ dtype: own, shape }) => shape.length === 0 || STORAGE_BYTES[own] <= 2) ? 8 : 4;
  const parts = names.local("parts");
  frame.ownScratch(parts, dtype);
  const statements = new Statements(frame, THREADS);
  const take = (term: string): string => `sum = ${dialect.fold(sum.reduction, dtype, "sum", term)};`;
  const main = (name: string, terms: () => void, deliver: () => void): void =>
    frame.main(name, THREADS, () => {
      frame.lines.add(dialect.variable("sum", dtype, startOf(language, sum.reduction, dtype)));
      terms();
      frame.lines.add(language.named("all", dtype, statements.together(sum.reduction, dtype, "sum")));
      frame.lines.block("if (lane == 0)", deliver);
    });
  const piece = (): void => {
    const { lines } = frame;
    const i = names.axis(ELEMENT.name);
    const vectors = new Vectors(frame, width, ELEMENT.name);
    lines.add(
      `const int first = blockIdx.x * ${PIECE};`,
      `const int end = min(first + ${PIECE}, ${ELEMENT.extent});`,
      "#pragma unroll 4",
    );
    const step = THREADS * width;
    lines.block(`for (int ${i} = first + lane * ${width}; ${i} + ${width} <= end; ${i} += ${step})`, () => {
      const term = vectors.ofNeighbor(sum.value);
      vectors.each(() => lines.add(take(statements.scalars(term).print(term))));
    });
    lines.add("// The last elements of a list may be no whole vector.");
    lines.block(`for (int ${i} = end - end % ${width} + lane; ${i} < end; ${i} += ${THREADS})`, () =>
      lines.add(take(statements.scalars(sum.value).print(sum.value))),
    );
  };
  const write = (): void => statements.write(sum.to, sum.at, statements.scalars(...sum.at), "all");
  main("main", piece, write);
  main("parts", piece, () => frame.lines.add(`${parts}_of_all[blockIdx.x] = all;`));
  main(
    "fold",
    () => frame.lines.add(`for (int i = lane; i < items_before; i += ${THREADS}) ${take(`${parts}_of_all[i]`)}`),
    write,
  );
  // One that is alone and has one piece is done with it.
  frame.entry("main", THREADS, [], { upTo: { product: [ELEMENT.extent], most: PIECE } });
  const workgroups = [{ of: [ELEMENT.extent], by: PIECE }];
  frame.entry("fold", THREADS, [], { before: { name: "parts", workgroupSize: THREADS, workgroups } });
  frame.takesLists = true;
  return frame;
}
