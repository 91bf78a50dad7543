// Bundles the command line into dist/dskc.js and dist/commands (a few files start in a third of the time that 150 modules take,
// and a command loads its own alone) and builds the native addon.
import { readdirSync, rmSync } from "node:fs";
import { basename } from "node:path";
import { build } from "esbuild";

const common = { bundle: true, platform: "node", format: "esm", target: "node20" };

const { metafile } = await build({
  ...common,
  entryPoints: { dskc: "compiler/cli/main.ts" },
  outdir: "dist",
  splitting: true,
  chunkNames: "commands/[name]-[hash]",
  metafile: true,
  sourcemap: true,
  minifySyntax: true,
  banner: {
    js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
  },
});

// Files are named by their content: those of earlier builds stay behind.
const built = new Set(Object.keys(metafile.outputs).map((path) => basename(path)));
for (const name of readdirSync("dist/commands")) if (!built.has(name)) rmSync(`dist/commands/${name}`);

await build({ ...common, entryPoints: ["scripts/build-native.ts"], outfile: "dist/build-native.js" });
await import(new URL("../dist/build-native.js", import.meta.url).href);
