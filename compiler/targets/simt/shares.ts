/**
 * Products with so few results that tiles of them would leave most of a device idle: several workgroups share the terms of a tile, and
 * others add up what these have found, in the order of the terms.
 */
import type { Grid } from "../../../runtime/program/grids.ts";
import type { GemmKernel, ScalarType } from "../../kernel-ir/types.ts";
import { extentsOf, knownSize, sizeText } from "./axes.ts";
import type { Frame } from "./frame.ts";
import { TILE } from "./tiles.ts";

/** Threads of a workgroup that adds up: each has a result. */
export const ADDERS = 256;
/** Rows, or columns, that an axis of run-time size is taken for. */
const TOKENS = 4096;
/** Terms that are worth a workgroup of their own, and the most that share a tile. */
const TERMS = 128;
const MOST = 16;

/**
 * How many workgroups share the terms of a tile; undefined where one has them all.
 * @param enough workgroups that keep a device busy
 */
export function sharesOf(
  { batch, m, n, products, groups }: GemmKernel,
  enough: number | undefined,
): number | undefined {
  if (enough === undefined || groups !== undefined) return undefined;
  const tiles = [m, n].map((axes) => Math.ceil((knownSize(axes) ?? TOKENS) / TILE));
  const terms = Math.min(...products.map(({ k }) => knownSize(k) ?? Infinity));
  const wanted = enough / ((knownSize(batch) ?? TOKENS) * tiles[0]! * tiles[1]!);
  const shares = Math.floor(Math.min(MOST, wanted, terms / TERMS));
  return shares > 1 ? shares : undefined;
}

/** Declares where shares of sums are kept, and `keep(share, batch, m, n, ...sums)`. */
export function printKeep(frame: Frame, kernel: GemmKernel, shares: number, dtype: ScalarType): void {
  const { batch, m, n, products } = kernel;
  frame.shareScratch("found", dtype === "f64" ? "f64" : "f32", [
    shares * products.length,
    ...extentsOf([...batch, ...m, ...n]),
  ]);
  const sums = products.map(({ name }) => [name, dtype] as const);
  const indices = ["share", "batch", "m", "n"].map((name) => [name, "index"] as const);
  const store = frame.names.store("found");
  frame.func("keep", [...indices, ...sums], undefined, () =>
    frame.lines.block(`if ((m < ${sizeText(m)}) & (n < ${sizeText(n)}))`, () => {
      for (const [i, [name]] of sums.entries())
        frame.lines.add(frame.dialect.store(store, placeOf(kernel, i, "share"), name));
    }),
  );
}

/** Prints the entry point `name`, which adds up what the one before has found: a thread for each result. */
export function printAdder(
  frame: Frame,
  name: string,
  kernel: GemmKernel,
  shares: number,
  dtype: ScalarType,
  before: Grid,
): void {
  const { batch, m, n, products } = kernel;
  const { dialect, language } = frame;
  frame.main(name, ADDERS, () => {
    const { lines } = frame;
    frame.item("item");
    frame.index("columns", `(${sizeText(n)} + ${ADDERS - 1}) / ${ADDERS}`);
    frame.index("n", `item % columns * ${ADDERS} + lane`);
    frame.index("m", `item / columns % ${parenthesized(sizeText(m))}`);
    frame.index("batch", `item / columns / ${parenthesized(sizeText(m))}`);
    lines.block(`if (n >= ${sizeText(n)})`, () => lines.add("return;"));
    const sums = products.map(() => frame.temp("sum"));
    for (const sum of sums) lines.add(dialect.variable(sum, dtype, language.literal(0, dtype)));
    lines.block(dialect.loop("share", "0", String(shares)), () => {
      for (const [i, sum] of sums.entries())
        lines.add(`${sum} += ${language.load(frame.names.store("found"), placeOf(kernel, i, "share"))};`);
    });
    lines.add(`finish(batch, m, n, ${sums.join(", ")});`);
  });
  frame.entry(name, ADDERS, [{ of: extentsOf(batch) }, { of: extentsOf(m) }, { of: extentsOf(n), by: ADDERS }], {
    before,
  });
}

function placeOf({ batch, m, n, products }: GemmKernel, product: number, share: string): string {
  const of = products.length === 1 ? share : `(${share} * ${products.length} + ${product})`;
  const rows = batch.length === 0 ? of : `(${of} * ${parenthesized(sizeText(batch))} + batch)`;
  return `(${rows} * ${parenthesized(sizeText(m))} + m) * ${parenthesized(sizeText(n))} + n`;
}

function parenthesized(text: string): string {
  return text.includes(" ") ? `(${text})` : text;
}
