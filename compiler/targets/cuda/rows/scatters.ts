/**
 * Scatters over more than one row, `to[at] += value`, without one thread that adds everything: sums of those terms that belong to a
 * place where there are few places, else chains of the terms of a place, which the block of the first one goes along. Both ways
 * terms are added in a fixed order.
 */
import { axis, constant, dtypeOf, loadedBy, op, substitute, toIndex } from "../../../kernel-ir/expr.ts";
import type { Axis, ColumnsKernel, Expr, SerialKernel, Stmt } from "../../../kernel-ir/types.ts";
import { extentsOf, knownSize, sizeText } from "../../simt/axes.ts";
import { printColumns } from "../../simt/columns.ts";
import type { Dialect } from "../../simt/dialect.ts";
import { Frame } from "../../simt/frame.ts";
import { Statements } from "../../simt/statements.ts";

/** Places up to which each one looks at all terms. */
const FEW_PLACES = 1024;
/** Threads that zero and find chains, and most of their blocks; threads that go along one. */
const SCOUTS = 128;
const MOST_SCOUTING = 1056;
const ADDERS = 256;

export function printScatter(dialect: Dialect, kernel: SerialKernel): Frame | undefined {
  const [scatter, more] = kernel.body;
  if (scatter?.kind !== "scatter" || more !== undefined || kernel.locals.length > 0) return undefined;
  const found = placesOf(scatter);
  if (found === undefined) return undefined;
  const places = knownSize(found.places);
  return places === undefined || places <= FEW_PLACES
    ? printColumns(dialect, columnsOf(kernel, scatter, found))
    : printChains(dialect, kernel, scatter, found);
}

type Scatter = Stmt & { kind: "scatter" };

interface Places {
  /** Axes of the target whose index depends on data, each with that index; and axes that terms have, too. */
  readonly places: readonly Axis[];
  readonly indices: readonly Expr[];
  readonly along: readonly Axis[];
  /** The axes of terms that are added up. */
  readonly terms: readonly Axis[];
}

/** Where each index of the target is an axis of its zeros, and either that of a term or depends on data. */
function placesOf({ zeroed, zeroedAt, axes, at, to, value, when }: Scatter): Places | undefined {
  const places: Axis[] = [];
  const indices: Expr[] = [];
  const along: Axis[] = [];
  for (const [i, zero] of zeroedAt.entries()) {
    const own = zero.kind === "axis" ? zeroed.find(({ name }) => name === zero.axis) : undefined;
    const index = at[i]!;
    if (own === undefined || loadedBy(index).includes(to)) return undefined;
    if (index.kind === "axis" && index.axis === own.name) along.push(own);
    else {
      places.push(own);
      indices.push(index);
    }
  }
  const isAlong = (name: string): boolean => along.some((other) => other.name === name);
  const terms = axes.filter(({ name }) => !isAlong(name));
  const whole = zeroed.length === places.length + along.length && axes.length === terms.length + along.length;
  if (
    !whole ||
    places.length === 0 ||
    terms.length === 0 ||
    loadedBy(value).includes(to) ||
    loadedBy(when).includes(to)
  )
    return undefined;
  return { places, indices, along, terms };
}

/** The same as sums over all terms, of which most are not of the place. */
function columnsOf(kernel: SerialKernel, { zeroed, zeroedAt, to, value, when }: Scatter, found: Places): ColumnsKernel {
  const taken = new Set(found.terms.map(({ name }) => name));
  const renamed = new Map(
    found.places.flatMap(({ name }) => (taken.has(name) ? [[name, axis(`${name} target`)] as const] : [])),
  );
  const own = (x: Axis): Axis => (renamed.has(x.name) ? { ...x, name: `${x.name} target` } : x);
  const isHere = found.indices.map((index, i) => op("eq", [toIndex(index), axis(own(found.places[i]!).name)], "bool"));
  const isTerm = isHere.reduce((a, b) => op("and", [a, b], "bool"), when);
  const dtype = dtypeOf(value);
  return {
    ...kernel,
    family: "columns",
    columns: zeroed.map(own),
    over: found.terms,
    sums: [
      {
        reduction: "sum",
        to,
        at: zeroedAt.map((x) => substitute(x, renamed, () => undefined)),
        value: op("select", [isTerm, value, constant(0, dtype)], dtype),
      },
    ],
  };
}

/** Each term finds the next one of its place, and whether it is the first; those that are go along the others. */
function printChains(dialect: Dialect, kernel: SerialKernel, scatter: Scatter, found: Places): Frame {
  const frame = new Frame(dialect, kernel);
  const { lines: _, names, language } = frame;
  const { places, indices, along, terms } = found;
  const { to, at, value, when, zeroed } = scatter;
  const count = sizeText(terms);
  frame.shareScratch("next", "i32", extentsOf(terms));
  frame.shareScratch("is_first", "i32", extentsOf(terms));
  frame.func("place_of", [["term", "index"]], "i32", () => {
    frame.unpack(terms, "term");
    const scalars = new Statements(frame, 1).scalars(when, ...indices);
    const place = indices
      .map((index) => scalars.print(index))
      .reduce((a, b, i) => `(${a} * ${places[i]!.extent} + ${b})`);
    frame.lines.add(`return ${scalars.print(when)} ? ${place} : -1;`);
  });
  frame.main("chains", SCOUTS, () => {
    const { lines } = frame;
    lines.add(`zero_all(${to}, (long long)${sizeText(zeroed)}, blockIdx.x * ${SCOUTS} + lane, gridDim.x * ${SCOUTS});`);
    lines.block(
      `for (int term = blockIdx.x * ${SCOUTS} + lane; term < ${count}; term += gridDim.x * ${SCOUTS})`,
      () => {
        lines.add("const int place = place_of(term);", "bool first = place >= 0;", "int other = term - 1;");
        lines.add("while (first && other >= 0) first = place_of(other--) != place;");
        lines.add("is_first[term] = first;", "other = term + 1;");
        lines.add(`while (place >= 0 && other < ${count} && place_of(other) != place) other++;`);
        lines.add(`next[term] = place >= 0 && other < ${count} ? other : -1;`);
      },
    );
  });
  frame.main("main", ADDERS, () => {
    const { lines } = frame;
    lines.add("const int start = blockIdx.x;", "if (is_first[start] == 0) return;");
    const statements = new Statements(frame, ADDERS);
    const dtype = dialect.wide(dtypeOf(value));
    statements.each(along, () => {
      lines.add(dialect.variable("sum", dtype, language.literal(0, dtype)));
      lines.block("for (int term = start; term >= 0; term = next[term])", () => {
        frame.unpack(terms, "term");
        lines.add(`sum += ${statements.scalars(value).print(value)};`);
      });
      frame.unpack(terms, "start");
      const scalars = statements.scalars(...at);
      lines.add(
        dialect.store(
          names.store(to),
          names.offset(to, at, (x) => scalars.print(x)),
          "sum",
        ),
      );
    });
  });
  const scouting = [{ of: extentsOf(zeroed), by: SCOUTS * 64 }];
  const before = { name: "chains", workgroupSize: SCOUTS, workgroups: scouting, most: MOST_SCOUTING };
  frame.entry("main", ADDERS, [{ of: extentsOf(terms) }], { before });
  return frame;
}
