import type { ColumnsKernel } from "../../kernel-ir/types.ts";
import { Frame, product } from "./frame.ts";
import { Scalars, startOf } from "../scalars.ts";
import { CPP, foldInto, valueType } from "./cpp.ts";
import { dtypeOf } from "../../kernel-ir/expr.ts";

/** Columns that one item sums together: a few cache lines. */
const BLOCK = 64;
/** Terms of a short sum, where an axis may be long. */
const PIECE = 4096;

export function printColumns(kernel: ColumnsKernel): string {
  return kernel.columns.length === 0 ? printTotals(kernel) : printBlocks(kernel);
}

/** All of it into one number: short sums in the value's own type, their total in double. */
function printTotals(kernel: ColumnsKernel): string {
  const frame = new Frame(kernel, []);
  const { body, names } = frame;
  let temps = 0;
  for (const [i, { reduction, value, to, at }] of kernel.sums.entries()) {
    const dtype = dtypeOf(value);
    const start = startOf(CPP, reduction, dtype);
    const type = valueType(dtype);
    const isFloat = type === "float" || type === "double";
    const total = isFloat && reduction === "sum" ? "double" : type;
    body.add(`${total} total${i} = ${start};`);
    const last = kernel.over.at(-1);
    const term = (): void => {
      const scalars = new Scalars(CPP, names, body, () => `v${temps++}`);
      scalars.prepare(value);
      const text = scalars.print(value);
      body.add(foldInto(`part${i}`, reduction, type, text));
    };
    const short = (terms: () => void): void => {
      body.add(`${type} part${i} = ${start};`);
      terms();
      body.add(foldInto(`total${i}`, reduction, type, `part${i}`));
    };
    const along = (name: string, from: string, to: string): void => {
      if (reduction === "sum" && isFloat) body.add(`#pragma omp simd reduction(+ : part${i})`);
      body.block(`for (int64_t ${name} = ${from}; ${name} < ${to}; ${name}++)`, term);
    };
    const loops = (depth: number): void => {
      const axis = kernel.over[depth];
      if (axis === undefined) return short(term);
      const [name, extent] = [names.axis(axis.name), axis.extent];
      if (axis !== last)
        body.block(`for (int64_t ${name} = 0; ${name} < ${extent}; ${name}++)`, () => loops(depth + 1));
      else if (typeof extent === "number") short(() => along(name, "0", String(extent)));
      else {
        body.block(`for (int64_t first = 0; first < ${extent}; first += ${PIECE})`, () => {
          body.add(`const int64_t limit = first + ${PIECE} < ${extent} ? first + ${PIECE} : ${extent};`);
          short(() => along(name, "first", "limit"));
        });
      }
    };
    body.block("", () => loops(0));
    body.add(`dsk_put(${to}[${names.offset(to, at, () => "0")}], ${type}(total${i}));`);
  }
  return frame.file("1");
}

/** Blocks of neighboring columns: one row after the other is added. */
function printBlocks(kernel: ColumnsKernel): string {
  const frame = new Frame(kernel, []);
  const { body, names } = frame;
  const outer = kernel.columns.slice(0, -1);
  const last = kernel.columns.at(-1)!;
  const blocks =
    typeof last.extent === "number"
      ? String(Math.ceil(last.extent / BLOCK))
      : `((${last.extent} + ${BLOCK - 1}) / ${BLOCK})`;
  const column = names.axis(last.name);
  let temps = 0;
  body.block("for (int64_t item = begin; item < end; item++)", () => {
    frame.unpack([...outer, { name: "block", extent: blocks }], "item");
    const from = names.axis("block");
    body.add(
      `const int64_t first = ${from} * ${BLOCK}, limit = first + ${BLOCK} < ${last.extent} ? first + ${BLOCK} : ${last.extent};`,
    );
    for (const [i, { reduction, value, to, at }] of kernel.sums.entries()) {
      const dtype = dtypeOf(value);
      const type = valueType(dtype);
      const start = startOf(CPP, reduction, dtype);
      body.add(`${type} sum${i}[${BLOCK}];`, `for (int64_t c = 0; c < ${BLOCK}; c++) sum${i}[c] = ${start};`);
      const loops = (depth: number): void => {
        const axis = kernel.over[depth];
        if (axis !== undefined) {
          const name = names.axis(axis.name);
          return body.block(`for (int64_t ${name} = 0; ${name} < ${axis.extent}; ${name}++)`, () => loops(depth + 1));
        }
        body.add("#pragma omp simd");
        body.block(`for (int64_t ${column} = first; ${column} < limit; ${column}++)`, () => {
          const scalars = new Scalars(CPP, names, body, () => `v${temps++}`);
          scalars.prepare(value);
          const text = scalars.print(value);
          body.add(foldInto(`sum${i}[${column} - first]`, reduction, type, text));
        });
      };
      loops(0);
      body.block(`for (int64_t ${column} = first; ${column} < limit; ${column}++)`, () => {
        const scalars = new Scalars(CPP, names, body, () => `v${temps++}`);
        scalars.prepare(...at);
        body.add(`dsk_put(${to}[${names.offset(to, at, (x) => scalars.print(x))}], sum${i}[${column} - first]);`);
      });
    }
  });
  return frame.file(product([...outer.map(({ extent }) => String(extent)), blocks]));
}
