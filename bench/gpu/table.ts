/** Measurements as a table in Markdown. */
import type { Goal } from "./goals.ts";
import { ratioOf, type Row } from "./measure.ts";

const HEAD = ["case", "us", "TFLOPS", "GB/s", "of limit", "peers: us, ours is times as fast", "gate, goal", "reached"];

export function tableHead(): string {
  return `${line(HEAD)}\n${line(HEAD.map(() => "---"))}`;
}

export function tableRow(goal: Goal | undefined, row: Row): string {
  if (row.status !== "measured") return line([row.name, row.status, "", "", "", row.why ?? "", goalText(goal), ""]);
  return line([
    row.name,
    number(row.us!),
    row.flops === 0 ? "" : number(row.tflops!),
    number(row.gbps!),
    row.share === undefined ? "" : `${(100 * row.share).toFixed(0)} % (${row.limit})`,
    besides(row),
    goalText(goal),
    row.verdict === undefined ? "" : { below: "below the gate", gate: "gate", goal: "goal" }[row.verdict],
  ]);
}

/** What the peers took; of a whole model how large it was and how fast it is. */
function besides({ peers, compared, whole }: Row): string {
  if (whole !== undefined) return `${whole.layers} layers, ${number(whole.tokensPerSecond)} tokens/s`;
  const told = Object.entries(peers).map(
    ([name, { us, ratio, same }]) =>
      `${name} ${number(us)}, ${ratio.toFixed(2)}${same ? "" : " (not the same product)"}`,
  );
  return told.length > 0 ? told.join("; ") : typeof compared === "string" ? compared : "";
}

/** Of whole models: kernels that take longest. */
export function wholeLines({ name, us = 0, whole }: Row, most = 12): string[] {
  if (whole === undefined) return [];
  const all = whole.times.reduce((sum, time) => sum + time.us, 0);
  const kernels = whole.times
    .slice(0, most)
    .map(
      (time) =>
        `  ${time.kernel} x ${time.launches}: ${number(time.us)} us, ${((100 * time.us) / all).toFixed(1)} % of all kernels`,
    );
  const head = `${name}: kernels take ${number(all)} of ${number(us)} us`;
  return [...whole.refused.map((why) => `${name}: ${why}`), head, ...kernels];
}

/** By family: the geometric mean of times as fast as the best peer, and what that reaches where it is what the family has to reach. */
export function summaries(rows: readonly Row[], goals: ReadonlyMap<string, Goal>): string[] {
  const families = new Map<string, Row[]>();
  for (const row of rows) {
    const [family] = row.name.split("/") as [string];
    if (row.status === "measured" && ratioOf(row.peers) !== undefined)
      families.set(family, [...(families.get(family) ?? []), row]);
  }
  return [...families].map(([family, own]) => {
    const ratios = own.map(({ peers }) => ratioOf(peers)!);
    const mean = Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length);
    const goal = goals.get(own[0]!.name);
    const reached =
      goal?.unit === "x peer"
        ? `: ${mean >= goal.goal ? "the goal" : mean >= goal.gate ? "the gate" : "below the gate"}`
        : "";
    const worst = Math.min(...ratios).toFixed(2);
    return `${family}: ${mean.toFixed(2)} times as fast as the best peer in the geometric mean of ${ratios.length}, ${worst} at worst${reached}`;
  });
}

function goalText(goal: Goal | undefined): string {
  if (goal === undefined) return "";
  const { unit, gate, goal: wanted } = goal;
  const text = (value: number): string => (unit === "of limit" ? `${(100 * value).toFixed(0)} %` : String(value));
  return `${text(gate)}, ${text(wanted)} ${unit}`;
}

function number(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function line(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}
