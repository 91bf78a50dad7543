// Runs a benchmark: node bench/run.mjs launch-overhead
import { mkdirSync, rmSync } from "node:fs";
import { resolve } from "node:path";
import { build, stop } from "esbuild";

const [name] = process.argv.slice(2);
if (name === undefined) throw new Error("usage: node bench/run.mjs NAME");
// Below dist/, so that packages and the native addon are found.
const outfile = resolve(`dist/bench/${name}-${process.pid}.js`);
mkdirSync("dist/bench", { recursive: true });
await build({
  entryPoints: [`bench/${name}.ts`],
  outfile,
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  packages: "external",
});
// Nothing else runs while a benchmark does.
await stop();
try {
  await import(outfile);
} finally {
  rmSync(outfile, { force: true });
}
