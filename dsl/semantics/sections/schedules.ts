/** Checks `schedule by CLOCK { ..BOUNDARY => VALUE }`. */
import { didYouMean } from "../../../compiler/diagnostics/did-you-mean.ts";
import type { Span } from "../../../compiler/diagnostics/source.ts";
import type * as ast from "../../syntax/ast.ts";
import type { Context } from "./context.ts";
import { CLOCKS, type Clock, type Piece, type Shape, type Type, type Value } from "./types.ts";
import type { UnitKind } from "../../syntax/units.ts";
import { isWhole } from "./numbers.ts";
import { amountOf, measureText } from "./units.ts";

const SHAPES = ["ramp", "cosine", "exponential"] as const;

/** True for a call of a shape: `ramp(0, 1)`. */
export function isShape(expr: ast.Expr): expr is ast.Expr & { readonly kind: "call" } {
  return (
    expr.kind === "call" && expr.callee.kind === "name" && (SHAPES as readonly string[]).includes(expr.callee.name)
  );
}

type ScheduleExpr = ast.Expr & { readonly kind: "schedule" };

/** The schedule of an expression whose pieces have a type. */
export function checkSchedule(c: Context, expr: ScheduleExpr, type: Type): Value {
  const { by, pieces, span } = expr;
  const clock = CLOCKS.find((name) => name === by.text);
  if (clock === undefined) {
    const help = didYouMean(by.text, CLOCKS) ?? `a schedule runs by ${CLOCKS.join(", ")}`;
    c.diagnostics.report("DSK6104", by.span, { name: by.text }, { help });
    return { kind: "error", span };
  }
  const shapes = pieces.map((piece) => checkShape(c, piece.value, type));
  const untils = pieces.map((piece) => (piece.until === undefined ? undefined : checkBoundary(c, piece.until, clock)));
  const sound = [checkEnd(c, expr), checkOrder(c, pieces, untils)];
  if (sound.includes(false) || shapes.includes(undefined) || untils.includes("error")) return { kind: "error", span };
  const measure = checkUnits(c, pieces, shapes as Measured[]);
  if (measure === "error") return { kind: "error", span };
  const checked = pieces.map((_, i): Piece => ({ until: untils[i] as Piece["until"], shape: shapes[i]!.shape }));
  return {
    kind: "schedule",
    schedule: { by: clock, pieces: checked },
    ...(measure === undefined ? {} : { measure }),
    span,
  };
}

interface Measured {
  readonly shape: Shape;
  readonly measures: readonly (UnitKind | undefined)[];
}

/** What all values of a schedule measure: a batch may be in sequences or in tokens, but not now this and now that. */
function checkUnits(
  c: Context,
  pieces: readonly ast.SchedulePiece[],
  all: readonly Measured[],
): UnitKind | undefined | "error" {
  const [first] = all[0]!.measures;
  const odd = all.findIndex(({ measures }) => measures.some((measure) => measure !== first));
  if (odd < 0) return first;
  const text = (measure: UnitKind | undefined): string =>
    measure === undefined ? "a bare number" : measureText(measure);
  const found = all[odd]!.measures.find((measure) => measure !== first);
  c.diagnostics.report(
    "DSK6011",
    pieces[odd]!.value.span,
    { expected: text(first), found: text(found) },
    odd === 0 ? {} : { secondary: [{ span: pieces[0]!.value.span, text: `${text(first)}` }] },
  );
  return "error";
}

/** A value that stays, or a shape between two. */
function checkShape(c: Context, expr: ast.Expr, type: Type): Measured | undefined {
  if (!isShape(expr)) {
    const value = c.check(c, expr, type);
    if (value.kind !== "number") return undefined;
    return { shape: { kind: "constant", from: value.value, to: value.value }, measures: [value.measure] };
  }
  const kind = SHAPES.find((name) => expr.callee.kind === "name" && name === expr.callee.name)!;
  if (expr.args.length !== 2 || expr.args.some((arg) => arg.name !== undefined)) {
    c.diagnostics.report("DSK6014", expr.span, { callee: kind, why: "takes two values: from and to" });
    return undefined;
  }
  const [from, to] = expr.args.map((arg) => c.check(c, arg.value, type));
  if (from?.kind !== "number" || to?.kind !== "number") return undefined;
  if (kind === "exponential" && (from.value <= 0 || to.value <= 0)) {
    c.diagnostics.report("DSK6014", expr.span, { callee: kind, why: "runs between positive values" });
    return undefined;
  }
  return { shape: { kind, from: from.value, to: to.value }, measures: [from.measure, to.measure] };
}

/** Where a piece ends. A bare number counts what the schedule runs by; steps may stand in a schedule by something else. */
function checkBoundary(c: Context, until: ast.Quantity, by: Clock): Piece["until"] | "error" {
  const { measure, value } = amountOf(until);
  const isProgress = by === "progress" && (measure === undefined || measure === "ratio");
  if (value <= 0 || (isProgress ? value > 1 : !isWhole(value))) {
    const { file, start, end } = until.span;
    const expected = isProgress ? "a share of the training" : "a whole number from 1 on";
    c.diagnostics.report("DSK6012", until.span, { value: `\`${file.text.slice(start, end)}\``, expected });
    return "error";
  }
  if (measure === undefined || measure === by) return { value, clock: by };
  if (by === "progress" && measure === "ratio") return { value, clock: by };
  if (measure === "steps") return { value, clock: "steps" };
  const help =
    by === "steps"
      ? undefined
      : `boundaries are in ${by === "progress" ? "percent" : by}, or in steps at the beginning`;
  c.diagnostics.report("DSK6103", until.span, { by, found: measureText(measure) }, help === undefined ? {} : { help });
  return "error";
}

function checkEnd(c: Context, { pieces, span }: ScheduleExpr): boolean {
  const early = pieces.slice(0, -1).find((piece) => piece.until === undefined);
  if (early !== undefined) {
    c.diagnostics.report("DSK6102", early.span, { what: "and only there" });
    return false;
  }
  if (pieces.at(-1)?.until === undefined && pieces.length > 0) return true;
  c.diagnostics.report("DSK6102", pieces.at(-1)?.span ?? span, { what: "so that every step has a value" });
  return false;
}

/** Boundaries increase. Those in steps come first: where they lie among others, only the run can tell. */
function checkOrder(
  c: Context,
  pieces: readonly ast.SchedulePiece[],
  untils: readonly (Piece["until"] | "error")[],
): boolean {
  const written = ({ start, end, file }: Span): string => `\`..${file.text.slice(start, end)}\``;
  let sound = true;
  untils.forEach((until, index) => {
    const before = untils[index - 1];
    if (index === 0 || until === undefined || until === "error" || before === undefined || before === "error") return;
    const mixed = until.clock !== before.clock;
    if (mixed ? until.clock !== "steps" : until.value > before.value) return;
    sound = false;
    const [a, b] = [pieces[index - 1]!.until!, pieces[index]!.until!];
    const help = mixed ? { help: "boundaries in steps come first" } : {};
    c.diagnostics.report(
      "DSK6101",
      b.span,
      { before: written(a.span), after: written(b.span) },
      { secondary: [{ span: a.span, text: "the boundary before" }], ...help },
    );
  });
  return sound;
}
