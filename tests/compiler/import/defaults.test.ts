import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import { DEFAULTS, literal } from "../../../compiler/import/text.ts";
import type * as ast from "../../../dsl/syntax/ast.ts";
import { parseFile } from "../../../dsl/syntax/parse.ts";

const root = resolve(import.meta.dirname, "../../..");

/** The texts of the defaults of all blocks of the library: arguments and dims. */
const library = new Map<string, ReadonlyMap<string, string>>(
  ["attention", "moe", "mtp", "nn", "rope"].flatMap((name) => {
    const path = `dsl/std/${name}.dsk`;
    const source = { path, text: readFileSync(resolve(root, path), "utf8") };
    const { file } = parseFile(source, new Diagnostics());
    return file.decls
      .filter((decl): decl is ast.BlockDecl => decl.kind === "block")
      .map((decl) => {
        const params = decl.params.map(({ name: { text }, value }) => [text, value] as const);
        const dims = decl.items.flatMap((item) => (item.kind === "dim" ? [[item.name.text, item.value] as const] : []));
        const texts = [...params, ...dims].flatMap(([key, value]) =>
          value === undefined ? [] : [[key, source.text.slice(value.span.start, value.span.end)] as const],
        );
        return [decl.name.text, new Map(texts)] as const;
      });
  }),
);

test.each(Object.entries(DEFAULTS))("%s has the defaults that the importer leaves out", (block, defaults) => {
  const own = library.get(block)!;
  for (const [name, value] of Object.entries(defaults)) {
    const text = own.get(name)!.replace(/^(\d+)Ki$/, (_, size: string) => literal(Number(size) * 1024));
    expect([name, text]).toEqual([name, literal(value)]);
  }
});

test("literals", () => {
  expect([0, 7, 999, 1000, 4096, 1e6, -12_345, 0.5, 1e-5, 2.5e-7, 0.707, 12_345.5, 1e21, true].map(literal)).toEqual([
    "0",
    "7",
    "999",
    "1_000",
    "4_096",
    "1_000_000",
    "-12_345",
    "0.5",
    "1e-5",
    "2.5e-7",
    "0.707",
    "12345.5",
    "1e21",
    "true",
  ]);
});
