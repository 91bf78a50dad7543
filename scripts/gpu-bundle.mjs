// Bundles what runs on a machine with a GPU to one file in .gpu/, so that a bare machine needs Node, this folder and dist/dskc.node, but
// no node_modules.
import { readFileSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import { build } from "esbuild";

// Files find others, fixtures and headers of the stand-in, from where they lie.
const places = {
  name: "places",
  setup: ({ onLoad }) =>
    onLoad({ filter: /[\\/]tests[\\/].*\.ts$/ }, ({ path }) => {
      const folder = JSON.stringify(`../${relative(".", dirname(path))}`);
      const text = readFileSync(path, "utf8");
      return {
        contents: text.replaceAll("import.meta.dirname", `new URL(${folder}, import.meta.url).pathname`),
        loader: "ts",
      };
    }),
};

export async function bundle({ entry, outfile, plugins = [], banner = [] }) {
  await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    // Other devices and the command line: nothing here calls them.
    external: ["ts-morph", "webgpu", "esbuild"],
    plugins: [...plugins, places],
    banner: {
      js: [
        'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
        ...banner,
      ].join("\n"),
    },
  });
  return resolve(outfile);
}
