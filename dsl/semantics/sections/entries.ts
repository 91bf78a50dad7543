/** Checks the entries of one section against its schema. */
import { closest, didYouMean } from "../../../compiler/diagnostics/did-you-mean.ts";
import type { Span } from "../../../compiler/diagnostics/source.ts";
import type * as ast from "../../syntax/ast.ts";
import { checkValue, partOf } from "./check-value.ts";
import type { Context } from "./context.ts";
import type { Group } from "./schema.ts";
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
  /** Paths of what is told to be missing, of the base too. */
  readonly missing: Set<string>;
  /** Paths of groups in which an entry could not be parsed: it may have swallowed others. */
  readonly torn: Set<string>;
}

/**
 * The entries of a section: its own ones, those of its base that it does not set, and the defaults of the rest.
 * @param missing paths that the base lacks, which is told; takes those that this section lacks
 * @param needs what must be set beside the fields without a default; undefined where nothing is told to be missing
 */
export function checkEntries(
  c: Context,
  decl: ast.SectionDecl,
  schema: Group,
  base: Entries,
  needs: ((entries: Entries) => readonly string[]) | undefined,
  missing: Set<string>,
): Entries {
  const out = new Map<string, CheckedEntry>();
  const groups = new Map<string, Span>();
  const torn = new Set<string>();
  const title = decl.section === "target" ? `target \`${schema.name}\`` : `${decl.section} \`${decl.name.text}\``;
  const extra = new Set(decl.section === "train" ? c.model?.trainNames.keys() : []);
  checkGroup({ c, title, path: "", out, groups, extra, missing, torn }, decl.body, schema);
  for (const [path, entry] of base)
    if (!out.has(path) && (entry.from !== "default" || entry.value.kind === "error"))
      out.set(path, { ...entry, from: "base" });
  fill({ c, title, path: "", out, groups, extra, missing, torn }, schema, decl.name.span, needs?.(out));
  return out;
}

function checkGroup(place: Place, section: ast.Section, group: Group): void {
  const seen = new Map<string, Span>();
  if (section.entries.some((entry) => entry.kind === "set" && entry.value.kind === "error")) place.torn.add(place.path);
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
  // What misspelt entries mean counts as given, where nothing else gives it.
  for (const entry of section.entries) {
    if (entry.kind === "expect" || isKnown(place, entry, group)) continue;
    const meant = meantEntry(entry.name.text, group, place.extra);
    if (meant === undefined || seen.has(meant)) continue;
    seen.set(meant, entry.name.span);
    const isGroup = group.fields.get(meant)?.kind === "group";
    if ((entry.kind === "group") === isGroup)
      checkEntry(place, { ...entry, name: { ...entry.name, text: meant } }, group);
    else place.out.set(`${place.path}${meant}`, lost(entry.name.span));
  }
}

/** The one name that a misspelt one means, if that is clear. */
export function meantEntry(name: string, { fields }: Group, extra: Iterable<string> = []): string | undefined {
  if (fields.has(name)) return undefined;
  const [meant, second] = closest(name, [...fields.keys(), ...extra]);
  return second === undefined ? meant : undefined;
}

function isKnown({ extra }: Place, { kind, name: { text } }: ast.Entry & { name: ast.Name }, group: Group): boolean {
  return group.fields.has(text) || extra.has(text) || (group.others !== undefined && kind === "set");
}

function lost(span: Span): CheckedEntry {
  return { value: { kind: "error", span }, span, from: "own" };
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
      const help = `\`${name} { ... }\``;
      if (entry.value.kind !== "error")
        c.diagnostics.report("DSK6009", span, { name, is: "a group of entries" }, { help });
      out.set(path, lost(span));
      return;
    }
    place.groups.set(path, span);
    checkGroup({ ...place, title: `\`${path}\``, path: `${path}.`, extra: new Set() }, entry.body, field);
  } else if (entry.kind === "group") {
    c.diagnostics.report("DSK6009", span, { name, is: "no group" }, { help: `\`${name} = ...\`` });
    out.set(path, lost(span));
  } else out.set(path, { value: checkValue(c, entry.value, field.type), span, from: "own" });
}

function unknownEntry({ c, title, extra }: Place, { text: name, span }: ast.Name, group: Group): void {
  const names = [...group.fields.keys(), ...extra];
  const inside = [...group.fields.values()].find((field) => field.kind === "group" && field.fields.has(name));
  const help = didYouMean(name, names) ?? (inside === undefined ? undefined : `\`${inside.name} { ${name} = ... }\``);
  // A model with errors may read any value of its train section.
  if (help === undefined && group.name === "train" && c.model === undefined) return;
  c.diagnostics.report("DSK6001", span, { section: title, name }, { help: help ?? `it has ${names.join(", ")}` });
}

/**
 * Puts defaults where nothing is set, and tells what must be set: fields without a default, and what `needs` says. A group
 * that is left out needs nothing.
 */
function fill(place: Place, group: Group, at: Span, needs: readonly string[] | undefined): void {
  const { c, out, title } = place;
  const missing: string[] = [];
  for (const field of group.fields.values()) {
    const path = `${place.path}${field.name}`;
    if (out.has(path)) continue;
    if (field.kind === "group") {
      const used = place.groups.has(path) || [...out.keys()].some((name) => name.startsWith(`${path}.`));
      const nested = { ...place, title: `\`${path}\``, path: `${path}.` };
      if (used) fill(nested, field, place.groups.get(path) ?? at, needs && []);
      else if (needs?.includes(path) && !place.missing.has(path)) missing.push(field.name);
    } else if (field.value !== undefined) {
      const isLost = place.torn.has(place.path);
      const value: Value = isLost ? { kind: "error", span: at } : checkValue(c, field.value, field.type);
      out.set(path, { value, span: at, from: "default" });
    } else if ((field.required || needs?.includes(path)) && !place.missing.has(path)) missing.push(field.name);
  }
  if (needs !== undefined) for (const name of missing) place.missing.add(`${place.path}${name}`);
  if (needs !== undefined && missing.length > 0)
    c.diagnostics.report("DSK6002", at, { section: title, names: missing });
}
