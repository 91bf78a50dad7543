import { resolve } from "node:path";
import { build } from "esbuild";

const root = resolve(import.meta.dirname, "../..");

/** Bundles a TypeScript file of this folder for a plain `node`; gives the path of the bundle. */
export async function bundle(name: string): Promise<string> {
  const outfile = resolve(root, `dist/${name}.mjs`);
  await build({
    entryPoints: [resolve(root, `tests/support/${name}.ts`)],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    banner: {
      js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
    },
  });
  return outfile;
}
