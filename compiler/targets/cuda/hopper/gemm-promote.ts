/** Sums of codes in eight bits: a block's go to f32 times the scale of its row and that of its columns. */
import type { Lines } from "../../../emit/lines.ts";
import type { Axis } from "../../../kernel-ir/types.ts";
import { blockOf } from "./gemm-operands.ts";
import { columnsOfScale, type GemmPlan } from "./gemm-plan.ts";
import type { Printing } from "./gemm-printing.ts";
import { scalesOf } from "./gemm-shape.ts";
import type { Scale } from "./scales.ts";

/** In front of the loop over blocks: where the scales of this thread's rows and of the tile's columns begin, and no sums. */
export function printClear(plan: GemmPlan, printing: Printing, name: string): void {
  const loop = loopOf(plan, name);
  const { lines } = printing;
  const { kernel, tile, loops, shape } = plan;
  const { a, b } = loops[loop]!;
  // Of codes whose rows belong to groups, the batch is the group of B.
  const batch = kernel.groups === undefined ? kernel.batch : [];
  const place = (name: string, argument: string, { arg, at }: Scale, axes: readonly Axis[], outer: readonly Axis[]) =>
    lines.block(
      `const auto ${name} = [&](int ${argument})`,
      () => {
        printing.unpack(axes, axes === batch ? "at.batch" : "min(at.batch, GROUPS - 1)", at);
        printing.unpack(outer, argument, at);
        lines.add(`return ${arg.name} + (${printing.offset(arg.name, at)});`);
      },
      "};",
    );
  place(`rows_${loop}`, "m", a.scale!, batch, kernel.m);
  lines.add(`const float *const low_${loop} = rows_${loop}(m_low), *const high_${loop} = rows_${loop}(m_high);`);
  for (const [j, { matrix }] of b.entries()) {
    if (shape.scaleBytes !== undefined) continue;
    const axes = kernel.groups === undefined ? batch : [kernel.groups.group];
    place(`columns${j}_${loop}`, "n", matrix.scale!, axes, kernel.n);
    const places = Array.from({ length: shape.columnScales! }, (_, c) =>
      c === 0
        ? `columns${j}_${loop}(at.n)`
        : `columns${j}_${loop}(min(at.n + ${c * columnsOfScale(tile.tileN)}, n_end - 1))`,
    );
    lines.add(`const float* const of_b${j}_${loop}[${places.length}] = {${places.join(", ")}};`);
  }
  lines.add("#pragma unroll");
  const sums = b.map((_, j) => `sums${firstSum(plan, loop) + j}[i] = 0.0f;`);
  lines.add(`for (int i = 0; i < TILE_N / 2; i++) ${sums.length === 1 ? sums[0] : `{ ${sums.join(" ")} }`}`);
}

/** The scales of a block: of both rows, then of the columns of each product. */
export function printScales(plan: GemmPlan, { lines }: Printing, name: string): void {
  const loop = loopOf(plan, name);
  const { loops, kernel } = plan;
  const { a, b } = loops[loop]!;
  const at = (place: string, { block }: Scale): string =>
    `${place}[${block === 0 ? "0" : `${blockOf(plan)}${block === 1 ? "" : ` * ${block}`}`}]`;
  // Rows without a group, or tiles that a group has none of, have no scale: what lies there may be anything.
  const { groups } = kernel;
  const exists = groups === undefined ? undefined : groups.over === "k" ? "block >= 0" : "at.batch < GROUPS";
  const row = (place: string): string =>
    exists === undefined ? at(place, a.scale!) : `${exists} ? ${at(place, a.scale!)} : 0.0f`;
  lines.add(`scales[0] = ${row(`low_${loop}`)}, scales[1] = ${row(`high_${loop}`)};`);
  if (plan.shape.scaleBytes !== undefined) return;
  const count = plan.shape.columnScales!;
  const columns = b.flatMap(({ matrix }, j) =>
    Array.from(
      { length: count },
      (_, c) => `scales[${2 + j * count + c}] = ${at(`of_b${j}_${loop}[${c}]`, matrix.scale!)}`,
    ),
  );
  lines.add(`${columns.join(", ")};`);
}

/** Adds the sums of a block to those in f32. */
export function printPromote(plan: GemmPlan, { lines }: Printing, name: string): void {
  const sum = sumOf(name);
  if (plan.shape.scaleBytes !== undefined) return promoteEach(plan, lines, name);
  const count = plan.shape.columnScales!;
  const first = 2 + (sum - firstSum(plan, loopOf(plan, name))) * count;
  const column = count === 1 ? String(first) : `${first} + i / ${columnsOfScale(plan.tile.tileN) / 2}`;
  lines.add("#pragma unroll");
  lines.add(
    `for (int i = 0; i < TILE_N / 2; i++) sums${sum}[i] += partial[i] * (scales[i / 2 % 2] * scales[${column}]);`,
  );
}

/** The same with a scale for each column: two neighbors have those of both rows. */
function promoteEach(plan: GemmPlan, lines: Lines, name: string): void {
  const sum = sumOf(name);
  const from = `shared.${scalesOf(sum - firstSum(plan, loopOf(plan, name)))}[stage]`;
  lines.block("", () => {
    lines.add(
      `const float2* const of_columns = reinterpret_cast<const float2*>(${from}) + lane % 4;`,
      "#pragma unroll",
    );
    lines.block("for (int i = 0; i < TILE_N / 2; i += 4)", () => {
      lines.add("const float2 of_pair = of_columns[i];");
      for (const [c, column] of ["x", "y"].entries())
        for (const r of [0, 1])
          lines.add(`sums${sum}[i + ${2 * r + c}] += partial[i + ${2 * r + c}] * (scales[${r}] * of_pair.${column});`);
    });
  });
}

/** The number of the sums that a step names first. */
function sumOf(step: string): number {
  return Number(/sums(\d+)/.exec(step)![1]);
}

/** The number of the loop that makes them. */
function loopOf(plan: GemmPlan, step: string): number {
  const sum = sumOf(step);
  return plan.loops.findIndex((_, i) => sum < firstSum(plan, i + 1));
}

/** The number of a loop's first sums. */
function firstSum({ loops }: GemmPlan, loop: number): number {
  return loops.slice(0, loop).reduce((n, { b }) => n + b.length, 0);
}
