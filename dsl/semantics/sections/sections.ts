/** Checks the sections of a file: data, train, layout, serve and target. */
import type { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import { didYouMean } from "../../../compiler/diagnostics/did-you-mean.ts";
import type * as ast from "../../syntax/ast.ts";
import { nameTables } from "../name-tables.ts";
import { withinStack } from "../too-deep.ts";
import { checkValue } from "./check-value.ts";
import type { Context, ModelFacts } from "./context.ts";
import { checkEntries, type Entries, meantEntry } from "./entries.ts";
import { checkFacts } from "./facts.ts";
import { checkLayout } from "./layout-rules.ts";
import { linkSections, type Linked } from "./links.ts";
import { loadSchemas, type Group, type Schemas } from "./schema.ts";
import { checkServe } from "./serve-rules.ts";
import { checkTrain, trainNeeds } from "./train-rules.ts";

export interface CheckedSection {
  readonly decl: ast.SectionDecl;
  readonly kind: ast.SectionKind;
  readonly name: string;
  /** The model that it is for, by itself or through a train section. */
  readonly model: string | undefined;
  /** The train section that a layout is for. */
  readonly train: string | undefined;
  /** Values by path (`rollout.count`), with those of the base and the defaults. */
  readonly entries: Entries;
  /** False where the base has no meaning, or the file syntax errors: then nothing is told to be missing. */
  readonly complete: boolean;
  /** Paths of entries that it or its base lacks, which is told. */
  readonly missing: ReadonlySet<string>;
}

export interface CheckedSections {
  /** In the order of the file. */
  readonly all: readonly CheckedSection[];
}

/** Tells of every entry that it is checked and that nothing executes it yet. */
export function noteUnexecuted({ all }: CheckedSections, diagnostics: Diagnostics): void {
  for (const { entries } of all) {
    for (const [name, { span, from }] of entries) if (from === "own") diagnostics.report("DSK6901", span, { name });
  }
}

/**
 * Checks the sections of a file. Whatever needs the model is left out for models that are not in `models`, because they
 * have errors.
 * @param std the folder of the standard library
 */
export function checkSections(
  file: ast.File,
  models: ReadonlyMap<string, ModelFacts>,
  std: string,
  diagnostics: Diagnostics,
): CheckedSections {
  const decls = file.decls.filter((decl) => decl.kind === "section");
  if (decls.length === 0) return { all: [] };
  const sections = unique(decls, diagnostics);
  const modelNames = file.decls.flatMap((decl) => (decl.kind === "model" ? [decl.name.text] : []));
  const all = withinStack(decls[0]!.name, diagnostics, () => {
    const linked = linkSections(sections, modelNames, file, diagnostics);
    const checker = new SectionChecker(std, linked, models, file.torn, diagnostics);
    return linked.flatMap((each) => checker.check(each) ?? []);
  });
  return { all: all ?? [] };
}

/** The first section of each kind and name. */
function unique(decls: readonly ast.SectionDecl[], diagnostics: Diagnostics): ast.SectionDecl[] {
  const first = new Map<string, ast.SectionDecl>();
  for (const decl of decls) {
    const { text: name, span } = decl.name;
    const other = first.get(`${decl.section} ${name}`);
    if (other === undefined) first.set(`${decl.section} ${name}`, decl);
    else {
      const secondary = [{ span: other.name.span, text: "first declared here" }];
      diagnostics.report("DSK6004", span, { section: decl.section, name }, { secondary });
    }
  }
  return [...first.values()];
}

class SectionChecker {
  readonly #schemas: Schemas;
  readonly #tables: readonly string[];
  readonly #linked: readonly Linked[];
  readonly #models: ReadonlyMap<string, ModelFacts>;
  /** Syntax errors may have swallowed entries and sections: then nothing is told to be missing. */
  readonly #torn: boolean;
  readonly #diagnostics: Diagnostics;
  readonly #done = new Map<ast.SectionDecl, CheckedSection | undefined>();

  constructor(
    std: string,
    linked: readonly Linked[],
    models: ReadonlyMap<string, ModelFacts>,
    torn: boolean,
    diagnostics: Diagnostics,
  ) {
    this.#schemas = loadSchemas(std);
    this.#tables = nameTables(std);
    this.#linked = linked;
    this.#models = models;
    this.#torn = torn;
    this.#diagnostics = diagnostics;
  }

  #of(decl: ast.SectionDecl | undefined): CheckedSection | undefined {
    const linked = this.#linked.find((each) => each.decl === decl);
    return linked === undefined ? undefined : this.check(linked);
  }

  /** Undefined for a section without a schema. */
  check(linked: Linked): CheckedSection | undefined {
    const { decl } = linked;
    if (this.#done.has(decl)) return this.#done.get(decl);
    const schema = this.#schema(decl);
    const section = schema === undefined ? undefined : this.#check(linked, schema);
    this.#done.set(decl, section);
    return section;
  }

  #check(linked: Linked, schema: Group): CheckedSection {
    const { decl, train, model } = linked;
    const base = this.#of(linked.base);
    const c: Context = {
      check: checkValue,
      schemas: this.#schemas,
      diagnostics: this.#diagnostics,
      model: model === undefined ? undefined : this.#models.get(model),
      sections: (kind) => this.#linked.filter((l) => l.decl.section === kind).map((l) => l.decl.name.text),
      tables: this.#tables,
      axes: axesOf(decl, schema, base?.entries ?? new Map()),
    };
    const complete = !this.#torn && (decl.from === undefined || base?.complete === true);
    const needs = decl.section === "train" ? trainNeeds : (): string[] => [];
    const missing = new Set(base?.missing);
    const entries = checkEntries(c, decl, schema, base?.entries ?? new Map(), complete ? needs : undefined, missing);
    const section: CheckedSection = {
      decl,
      kind: decl.section,
      name: decl.name.text,
      model,
      train: train?.name.text,
      entries,
      complete,
      missing,
    };
    checkFacts(c, decl);
    if (decl.section === "train") checkTrain(c, section);
    else if (decl.section === "layout") checkLayout(c, section, this.#of(train));
    else if (decl.section === "serve") checkServe(c, section);
    return section;
  }

  /** Targets have a schema each, named as the target. */
  #schema({ section, name }: ast.SectionDecl): Group | undefined {
    if (section !== "target") return this.#schemas.sections.get(section);
    const kinds: readonly string[] = ["data", "train", "layout", "serve"] satisfies ast.SectionKind[];
    const targets = [...this.#schemas.sections.keys()].filter((key) => !kinds.includes(key));
    if (targets.includes(name.text)) return this.#schemas.sections.get(name.text);
    const help = didYouMean(name.text, targets) ?? `the targets are ${targets.join(", ")}`;
    this.#diagnostics.report("DSK6006", name.span, { section, name: name.text }, { help });
    return undefined;
  }
}

/** The axes that a layout declares or inherits, with those that misspelt ones mean. */
function axesOf({ body }: ast.SectionDecl, schema: Group, base: Entries): string[] {
  const group = schema.fields.get("axes");
  if (group?.kind !== "group") return [];
  const own = body.entries.flatMap((entry) =>
    entry.kind === "group" && (meantEntry(entry.name.text, schema) ?? entry.name.text) === "axes"
      ? entry.body.entries.flatMap((axis) =>
          axis.kind === "expect" ? [] : [axis.name.text, meantEntry(axis.name.text, group) ?? axis.name.text],
        )
      : [],
  );
  const inherited = [...base.keys()].flatMap((path) => /^axes\.(.*)$/.exec(path)?.[1] ?? []);
  return [...new Set([...own, ...inherited])];
}
