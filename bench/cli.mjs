// How long commands take as whole processes, as users feel them: `node bench/cli.mjs [RUNS]`. Exits with 1 when a median misses
// its bar. Run `npm run build` first: what is measured is the bundle.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";

const SPEC = "specs/deepseek-v3.dsk";

/** The arguments of node, and the bar in seconds. */
const CASES = [
  { args: ["-e", "0"], bar: undefined },
  { args: ["bin/dskc.js", "check", SPEC], bar: 0.5 },
  { args: ["bin/dskc.js", "inspect", SPEC], bar: 1 },
];

const runs = Number(process.argv[2] ?? 21);
if (!Number.isInteger(runs) || runs < 1) throw new Error(`${process.argv[2]} is no number of runs`);

/** Seconds of processor time of all children so far, from Linux; other processes on the machine do not count in it. */
function childrenTime() {
  try {
    const fields = readFileSync("/proc/self/stat", "utf8").split(") ")[1].split(" ");
    return (Number(fields[13]) + Number(fields[14])) / 100;
  } catch {
    return Number.NaN;
  }
}

function measure(args) {
  const [started, used] = [performance.now(), childrenTime()];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`node ${args.join(" ")} exits with ${status}:\n${stderr}`);
  return { wall: (performance.now() - started) / 1000, processor: childrenTime() - used };
}

function median(values) {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

const seconds = (time) => (Number.isNaN(time) ? "" : `${time.toFixed(2)} s`);

const load = loadavg()[0].toFixed(1);
console.log(
  `node ${process.versions.node}, ${cpus().length} x ${cpus()[0].model.trim()}, load ${load}, ${runs} runs each\n`,
);
console.log("| command | fastest | median | slowest | processor time | bar |\n| --- | --- | --- | --- | --- | --- |");
for (const { args, bar } of CASES) {
  const all = Array.from({ length: runs }, () => measure(args));
  const walls = all.map(({ wall }) => wall);
  const cells = [Math.min(...walls), median(walls), Math.max(...walls), median(all.map(({ processor }) => processor))];
  const last = bar === undefined ? "" : seconds(bar);
  console.log(`| \`node ${args.join(" ")}\` | ${[...cells.map(seconds), last].join(" | ")} |`);
  if (bar !== undefined && median(walls) > bar) process.exitCode = 1;
}
