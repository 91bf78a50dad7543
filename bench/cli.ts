/**
 * How long commands take as whole processes, as users feel them: `node bench/run.mjs cli`. Exits with 1 when a median misses
 * its bar. Run `npm run build` first: what is measured is the bundle.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { median } from "../compiler/cli/bench/statistics.ts";

const SPEC = "specs/deepseek-v3.dsk";
const RUNS = 21;

/** The arguments of node, and the bar in seconds. */
const CASES = [
  { args: ["-e", "0"], bar: undefined },
  { args: ["bin/dskc.js", "check", SPEC], bar: 0.5 },
  { args: ["bin/dskc.js", "inspect", SPEC], bar: 1 },
];

/** Seconds of processor time of all children so far, from Linux; other processes on the machine do not count in it. */
function childrenTime(): number {
  try {
    const fields = readFileSync("/proc/self/stat", "utf8").split(") ")[1]!.split(" ");
    return (Number(fields[13]) + Number(fields[14])) / 100;
  } catch {
    return Number.NaN;
  }
}

function measure(args: readonly string[]): { readonly wall: number; readonly processor: number } {
  const [started, used] = [performance.now(), childrenTime()];
  const { status, stderr } = spawnSync(process.execPath, [...args], { encoding: "utf8" });
  if (status !== 0) throw new Error(`node ${args.join(" ")} exits with ${status}:\n${stderr}`);
  return { wall: (performance.now() - started) / 1000, processor: childrenTime() - used };
}

const seconds = (time: number): string => (Number.isNaN(time) ? "" : `${time.toFixed(2)} s`);

const load = loadavg()[0]!.toFixed(1);
const processor = `${cpus().length} x ${cpus()[0]!.model.trim()}`;
console.log(`node ${process.versions.node}, ${processor}, load ${load}, ${RUNS} runs each\n`);
console.log("| command | fastest | median | slowest | processor time | bar |\n| --- | --- | --- | --- | --- | --- |");
for (const { args, bar } of CASES) {
  const all = Array.from({ length: RUNS }, () => measure(args));
  const walls = all.map(({ wall }) => wall);
  const cells = [Math.min(...walls), median(walls), Math.max(...walls), median(all.map((each) => each.processor))];
  const last = bar === undefined ? "" : seconds(bar);
  console.log(`| \`node ${args.join(" ")}\` | ${[...cells.map(seconds), last].join(" | ")} |`);
  if (bar !== undefined && median(walls) > bar) process.exitCode = 1;
}
