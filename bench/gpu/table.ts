/** Measurements as a table in Markdown. */
import type { Case } from "./case.ts";
import type { Row } from "./measure.ts";

const HEAD = ["case", "us", "TFLOPS", "GB/s", "of limit", "peers: us, ours is times as fast", "gate, goal", "reached"];

export function tableHead(): string {
  return `${line(HEAD)}\n${line(HEAD.map(() => "---"))}`;
}

export function tableRow({ goal }: Case, row: Row): string {
  if (row.status !== "measured") return line([row.name, row.status, "", "", "", row.why ?? "", goalText(goal), ""]);
  const peers = Object.entries(row.peers).map(([name, { us, ratio }]) => `${name} ${number(us)}, ${ratio.toFixed(2)}`);
  return line([
    row.name,
    number(row.us!),
    row.flops === 0 ? "" : number(row.tflops!),
    number(row.gbps!),
    row.share === undefined ? "" : `${(100 * row.share).toFixed(0)} % (${row.limit})`,
    peers.length > 0 ? peers.join("; ") : typeof row.compared === "string" ? row.compared : "",
    goalText(goal),
    row.verdict === undefined ? "" : { below: "below the gate", gate: "gate", goal: "goal" }[row.verdict],
  ]);
}

/** By family: the geometric mean of times as fast as the best peer. */
export function summaries(rows: readonly Row[]): string[] {
  const families = new Map<string, number[]>();
  for (const { name, status, peers } of rows) {
    if (status !== "measured") continue;
    const [family] = name.split("/") as [string];
    const own = families.get(family) ?? families.set(family, []).get(family)!;
    const ratios = Object.values(peers).map(({ ratio }) => ratio);
    if (ratios.length > 0) own.push(Math.min(...ratios));
  }
  return [...families].flatMap(([family, ratios]) => {
    if (ratios.length === 0) return [];
    const mean = Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length);
    const worst = Math.min(...ratios).toFixed(2);
    return `${family}: ${mean.toFixed(2)} times as fast as the best peer in the geometric mean of ${ratios.length}, ${worst} at worst`;
  });
}

function goalText(goal: Case["goal"]): string {
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
