import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import { parseFile } from "../../dsl/syntax/parse.ts";
import type { BlockDecl, Expr, Param } from "../../dsl/syntax/ast.ts";

/** `docs/std.md` describes every block of the standard library with its dims and arguments, in order, and nothing else. */
const root = resolve(import.meta.dirname, "../..");
const page = readFileSync(join(root, "docs/std.md"), "utf8");
const files = readdirSync(join(root, "dsl/std"))
  .filter((name) => name.endsWith(".dsk"))
  .map((name) => name.slice(0, -".dsk".length))
  .toSorted();

/** The part of a page below a heading, up to the next one of its level. */
function below(text: string, heading: string): string {
  const level = heading.slice(0, heading.indexOf(" ") + 1);
  const [, rest] = `${text}\n`.split(`\n${heading}\n`);
  return rest?.split(`\n${level}`)[0] ?? "";
}

function blocksOf(name: string): BlockDecl[] {
  const diagnostics = new Diagnostics();
  const text = readFileSync(join(root, "dsl/std", `${name}.dsk`), "utf8");
  const { file } = parseFile({ path: `std/${name}.dsk`, text }, diagnostics);
  expect(diagnostics.all).toEqual([]);
  return file.decls.filter((decl) => decl.kind === "block");
}

function textOf({ span }: Expr): string {
  return span.file.text.slice(span.start, span.end).replaceAll(/\s+/g, " ");
}

function paramText({ name, type, value }: Param): string {
  const base = type.kind === "tensor" ? (type.base?.text ?? "") : "";
  return `${name.text}: ${base}${value === undefined ? "" : ` = ${textOf(value)}`}`;
}

/** `Rope[R](theta: Number = 10_000, half: Bool = false)` */
function signatureOf({ name, dims, params }: BlockDecl): string {
  const formals = dims.map((dim) => (dim.kind === "rest" ? ".." : dim.name.text)).join(", ");
  const args = params.map(paramText).join(", ");
  return `${name.text}${formals === "" ? "" : `[${formals}]`}${args === "" ? "" : `(${args})`}`;
}

test("the page has a section for each file", () => {
  const sections = [...page.matchAll(/^## std\/(\S+)$/gm)].map((m) => m[1]!);
  expect(sections.toSorted()).toEqual(files);
});

describe.each(files)("std/%s", (name) => {
  const section = below(page, `## std/${name}`);
  const blocks = blocksOf(name);

  test("every block has its place, in order", () => {
    const headings = [...section.matchAll(/^### (\S+)$/gm)].map((m) => m[1]);
    expect(blocks.length).toBeGreaterThan(0);
    expect(headings).toEqual(blocks.map((block) => block.name.text));
  });

  test.each(blocks.map((block) => [block.name.text, block] as const))("%s", (title, block) => {
    const text = below(section, `### ${title}`);
    expect(text.trimStart().split("\n")[0]).toBe(`\`${signatureOf(block)}\``);
    const dims = block.items.filter((item) => item.kind === "dim").map((d) => `${d.name.text} = ${textOf(d.value)}`);
    const [, described = ""] = text.split("*Dims*:");
    expect([...described.matchAll(/`(\w+ = [^`]+)`/g)].map((m) => m[1])).toEqual(dims);
    expect(block.doc, "a `///` comment").toBeDefined();
  });
});
