// Bundles the command line into dist/dskc.js, the runtime of packages into dist/runtime.js, and what they share into dist/commands
// (a few files start in a third of the time that 150 modules take, and a command loads its own alone), writes the types of the
// runtime to dist/types, the runtime for browsers to dist/browser, and builds the native addon.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { build } from "esbuild";
import { rolldown } from "rolldown";

const common = { bundle: true, platform: "node", format: "esm", target: "node20" };

const typescript = dirname(createRequire(import.meta.url).resolve("typescript/package.json"));
const types = spawn(process.execPath, [join(typescript, "bin", "tsc"), "-p", "scripts/tsconfig.types.json"], {
  stdio: "inherit",
});
const typed = once(types, "exit");

const { metafile } = await build({
  ...common,
  entryPoints: { dskc: "compiler/cli/main.ts", runtime: "runtime/index.ts" },
  outdir: "dist",
  splitting: true,
  // ts-morph is larger than all the rest together, and only `dskc build` needs it; webgpu is native, and may not be there.
  external: ["ts-morph", "webgpu"],
  chunkNames: "commands/[name]-[hash]",
  metafile: true,
  sourcemap: true,
  minifySyntax: true,
  banner: {
    js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
  },
});

// Files are named by their content: those of earlier builds stay behind.
removeOthers("dist/commands", metafile);

// For the browser: a page's side and a worker's side, by a bundler that makes less of them. Kinds of tokenizers that are rare are a
// part that is loaded when it is needed, bundled on its own: it shares the module of a library with the others, which need little of it.
const RARE = /\/library-tokenizer\.ts$/;
const rare = {
  name: "rare",
  resolveId: (id, from) => (from && RARE.test(id) ? { id: "./library-tokenizer.js", external: true } : null),
};
// Templates are rendered here and never formatted; a class takes all of its methods along.
const rendered = {
  name: "rendered",
  transform: (code, id) =>
    id.includes("@huggingface/jinja") ? code.replace(/^  format\(options\) \{.*?^  \}\n/ms, "") : null,
};
const sizes = { platform: "browser", treeshake: { moduleSideEffects: false } };
const output = { dir: "dist/browser", format: "esm", minify: true, comments: false };
const bundles = [
  { input: { index: "runtime/browser/index.ts", worker: "runtime/browser/worker.ts" }, plugins: [rare, rendered] },
  { input: { "library-tokenizer": "runtime/data/tokenizer/library-tokenizer.ts" }, plugins: [rendered] },
];
const outputs = {};
for (const bundle of bundles) {
  const made = await rolldown({ ...sizes, ...bundle });
  for (const { fileName } of (await made.write(output)).output) outputs[fileName] = true;
  await made.close();
}
removeOthers("dist/browser", { outputs });

await build({ ...common, entryPoints: ["scripts/build-native.ts"], outfile: "dist/build-native.js" });
await import(new URL("../dist/build-native.js", import.meta.url).href);

// What does not type-check is told, and built all the same.
await typed;

function removeOthers(folder, { outputs }) {
  const built = new Set(Object.keys(outputs).map((path) => basename(path)));
  for (const name of readdirSync(folder)) if (!built.has(name)) rmSync(`${folder}/${name}`);
}
