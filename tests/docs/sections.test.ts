import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { type Field, type Group, loadSchemas, type Signature } from "../../dsl/semantics/sections/schema.ts";
import { typeText } from "../../dsl/semantics/sections/types.ts";
import type { Expr } from "../../dsl/syntax/ast.ts";

/** `docs/sections.md` is written from the declarations in `dsl/std/sections`; `npm run golden` writes it anew. */
const root = resolve(import.meta.dirname, "../..");
const page = resolve(root, "docs/sections.md");

const HEAD = `# Sections

Everything that may stand in a section, and every function that may be called there. This page is made from the declarations in
[dsl/std/sections](../dsl/std/sections); [language.md](language.md#sections) says how sections are read. An entry without a default
that is not optional must be set, by the section or by what it is \`from\`. The entries of a group that is left out need nothing.
`;

const TARGETS = new Set(["cpu", "webgpu", "cuda"]);

function textOf({ span }: Expr): string {
  return span.file.text.slice(span.start, span.end).replaceAll(/\s+/g, " ");
}

function oneLine(doc: string | undefined): string {
  return (doc ?? "").replaceAll(/\s+/g, " ").replaceAll("|", "\\|");
}

function fieldRow(path: string, { type, required, value, doc }: Field): string {
  const start = value === undefined ? (required ? "must be set" : "optional") : `\`${textOf(value)}\``;
  return `| \`${path}\` | ${typeText(type)} | ${start} | ${oneLine(doc)} |`;
}

function rows(group: Group, prefix = ""): string[] {
  const own = [...group.fields.values()].flatMap((field) => {
    const path = `${prefix}${field.name}`;
    if (field.kind === "field") return [fieldRow(path, field)];
    return [`| \`${path} { }\` | a group | | ${oneLine(field.doc)} |`, ...rows(field, `${path}.`)];
  });
  if (group.others === undefined) return own;
  return [...own, `| \`${prefix}...\` | ${typeText(group.others)} | optional | by the name of a part of the model |`];
}

function signatureText({ name, params }: Signature): string {
  const list = params.map((param) => {
    const value = param.value === undefined ? "" : ` = ${textOf(param.value)}`;
    const mark = param.required || value !== "" ? "" : param.each ? "..." : "?";
    return `${param.name}${mark}: ${typeText(param.type).replaceAll("`", "")}${value}`;
  });
  return `${name}(${list.join(", ")})`;
}

function render(): string {
  const { sections, functions } = loadSchemas(resolve(root, "dsl/std"));
  const order = ["data", "train", "layout", "serve", ...TARGETS];
  const tables = [...sections.values()]
    .toSorted((a, b) => order.indexOf(a.name) - order.indexOf(b.name))
    .map((group) =>
      [
        `## ${TARGETS.has(group.name) ? `target ${group.name}` : group.name}`,
        "",
        oneLine(group.doc),
        "",
        "| entry | is | default | |",
        "| --- | --- | --- | --- |",
        ...rows(group),
        "",
      ].join("\n"),
    );
  const all = [...functions.values()].flat();
  const results = [...new Set(all.map(({ result }) => result))].toSorted();
  const lists = results.map((result) => {
    const items = all.filter((each) => each.result === result);
    return [`### ${result}`, "", ...items.map((each) => `- \`${signatureText(each)}\`: ${oneLine(each.doc)}`), ""].join(
      "\n",
    );
  });
  return [
    HEAD,
    ...tables,
    "## Functions\n\nBy what they give. `?` marks what may be left out, `...` what may be repeated.\n",
    ...lists,
  ].join("\n");
}

test("the page is what the declarations say", () => {
  const text = render();
  if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(page, text);
  expect(readFileSync(page, "utf8")).toBe(text);
});
