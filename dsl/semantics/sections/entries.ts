/** Checks the entries of one section against its schema. */
import { didYouMean } from "../../../compiler/diagnostics/did-you-mean.ts";
import type { Span } from "../../../compiler/diagnostics/source.ts";
import type * as ast from "../../syntax/ast.ts";
import { checkValue, partOf } from "./check-value.ts";
import type { Context } from "./context.ts";
import type { Field, Group } from "./schema.ts";
import { NUMBERS, type Type, type Value } from "./types.ts";

/** An entry of a section under its path, such as `rollout.count`. */
export interface CheckedEntry {
  readonly value: Value;
  /** The name in the text; of a default the name of the section. */
  readonly span: Span;
  readonly from: "own" | "base" | "default";
}

export type Entries = ReadonlyMap<string, CheckedEntry>;

/** Values that a model reads and the schema does not have: `train.my_rate`. */
const RATE: Type = { kind: "scheduled", of: NUMBERS.find((type) => type.name === "number")! };

interface Place {
  readonly c: Context;
  /** How messages name the section or group. */
  readonly title: string;
  readonly path: string;
  readonly out: Map<string, CheckedEntry>;
  /** Groups that stand in the text. */
  readonly groups: Map<string, Span>;
  /** Names that the schema does not have and that may be set. */
  readonly extra: ReadonlySet<string>;
}

/**
 * The entries of a section: its own ones, those of its base that it does not set, and the defaults of the rest.
 * @param at what is marked when an entry is missing
 */
export function checkEntries(
  c: Context,
  decl: ast.SectionDecl,
  schema: Group,
  base: Entries,
  complete: boolean,
): Entries {
  const out = new Map<string, CheckedEntry>();
  const groups = new Map<string, Span>();
  const title = decl.section === "target" ? `target \`${schema.name}\`` : `${decl.section} \`${decl.name.text}\``;
  const extra = new Set(decl.section === "train" ? c.model?.trainNames.keys() : []);
  checkGroup({ c, title, path: "", out, groups, extra }, decl.body, schema);
  for (const [path, entry] of base)
    if (!out.has(path) && entry.from !== "default") out.set(path, { ...entry, from: "base" });
  fill({ c, title, path: "", out, groups, extra }, schema, decl.name.span, complete);
  return out;
}

function checkGroup(place: Place, section: ast.Section, group: Group): void {
  const seen = new Map<string, Span>();
  for (const entry of section.entries) {
    if (entry.kind === "expect") continue;
    const { text: name, span } = entry.name;
    const first = seen.get(name);
    if (first !== undefined) {
      place.c.diagnostics.report("DSK6003", span, { name }, { secondary: [{ span: first, text: "first set here" }] });
      continue;
    }
    seen.set(name, span);
    checkEntry(place, entry, group);
  }
}

function checkEntry(place: Place, entry: Exclude<ast.Entry, ast.Expect>, group: Group): void {
  const { c, out } = place;
  const { text: name, span } = entry.name;
  const path = `${place.path}${name}`;
  const field = group.fields.get(name);
  if (field === undefined) {
    const type = place.extra.has(name) ? RATE : group.others;
    if (type === undefined || entry.kind === "group") unknownEntry(place, entry.name, group);
    else {
      if (!place.extra.has(name)) partOf(c, [entry.name]);
      out.set(path, { value: checkValue(c, entry.value, type), span, from: "own" });
    }
  } else if (field.kind === "group") {
    if (entry.kind === "set") {
      c.diagnostics.report("DSK6009", span, { name, is: "a group of entries" }, { help: `\`${name} { ... }\`` });
      return;
    }
    place.groups.set(path, span);
    checkGroup({ ...place, title: `\`${path}\``, path: `${path}.`, extra: new Set() }, entry.body, field);
  } else if (entry.kind === "group") {
    c.diagnostics.report("DSK6009", span, { name, is: "no group" }, { help: `\`${name} = ...\`` });
  } else out.set(path, { value: checkValue(c, entry.value, field.type), span, from: "own" });
}

function unknownEntry({ c, title, path, extra }: Place, { text: name, span }: ast.Name, group: Group): void {
  const names = [...group.fields.keys(), ...extra];
  const elsewhere =
    path === ""
      ? [...group.fields.values()].find((field) => field.kind === "group" && field.fields.has(name))
      : undefined;
  const help =
    didYouMean(name, names) ??
    (elsewhere === undefined ? `it has ${names.join(", ")}` : `\`${elsewhere.name} { ${name} = ... }\``);
  c.diagnostics.report("DSK6001", span, { section: title, name }, { help });
}

/** Puts defaults where nothing is set, and reports what must be set. A group that is left out needs nothing. */
function fill(place: Place, group: Group, at: Span, complete: boolean): void {
  for (const field of group.fields.values()) {
    const path = `${place.path}${field.name}`;
    if (field.kind === "group") {
      const prefix = `${path}.`;
      const used = place.groups.get(path) ?? [...place.out].find(([name]) => name.startsWith(prefix))?.[1].span;
      if (used === undefined) continue;
      fill({ ...place, title: `\`${path}\``, path: prefix }, field, place.groups.get(path) ?? at, complete);
    } else if (!place.out.has(path)) fillField(place, field, path, at, complete);
  }
}

function fillField({ c, title, out }: Place, field: Field, path: string, at: Span, complete: boolean): void {
  if (field.value !== undefined)
    out.set(path, { value: checkValue(c, field.value, field.type), span: at, from: "default" });
  else if (field.required && complete) {
    const details = field.doc === undefined ? {} : { notes: [`\`${field.name}\`: ${firstSentence(field.doc)}`] };
    c.diagnostics.report("DSK6002", at, { section: title, name: field.name }, details);
  }
}

function firstSentence(doc: string): string {
  return doc.replaceAll(/\s+/g, " ").trim();
}
