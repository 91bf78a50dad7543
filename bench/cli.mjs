// How long commands take as whole processes, as users feel them: `node bench/cli.mjs [RUNS]`. Exits with 1 when a median misses
// its bar. Run `npm run build` first: what is measured is the bundle.
import { spawnSync } from "node:child_process";

const SPEC = "specs/deepseek-v3.dsk";

/** The arguments of node, and the bar in seconds. */
const CASES = [
  { args: ["-e", "0"], bar: undefined },
  { args: ["bin/dskc.js", "check", SPEC], bar: 0.5 },
  { args: ["bin/dskc.js", "inspect", SPEC], bar: 1 },
];

const runs = Number(process.argv[2] ?? 21);
if (!Number.isInteger(runs) || runs < 1) throw new Error(`${process.argv[2]} is no number of runs`);

function measure(args) {
  const started = performance.now();
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`node ${args.join(" ")} exits with ${status}:\n${stderr}`);
  return (performance.now() - started) / 1000;
}

const seconds = (time) => `${time.toFixed(3)} s`;

console.log(`${runs} runs each, node ${process.versions.node}\n`);
console.log("| command | fastest | median | slowest | bar |\n| --- | --- | --- | --- | --- |");
for (const { args, bar } of CASES) {
  const times = Array.from({ length: runs }, () => measure(args)).toSorted((a, b) => a - b);
  const median = times[Math.floor(runs / 2)];
  const cells = [times[0], median, times.at(-1)].map(seconds);
  console.log(`| \`node ${args.join(" ")}\` | ${cells.join(" | ")} | ${bar === undefined ? "" : seconds(bar)} |`);
  if (bar !== undefined && median > bar) process.exitCode = 1;
}
