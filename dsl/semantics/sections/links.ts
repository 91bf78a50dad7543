/** How sections hang together: what each is for, and what each is based on. */
import { didYouMean, thereAre } from "../../../compiler/diagnostics/did-you-mean.ts";
import type { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import type * as ast from "../../syntax/ast.ts";

/** A section with what its head refers to. Undefined links were reported, or are not there to make. */
export interface Linked {
  readonly decl: ast.SectionDecl;
  readonly base: ast.SectionDecl | undefined;
  /** The train section that a layout is for. */
  readonly train: ast.SectionDecl | undefined;
  /** The name of the model that it is for, by itself or through others. */
  readonly model: string | undefined;
}

/** What the head of a section of a kind names behind `for`. */
const FOR: Readonly<Record<ast.SectionKind, "model" | "train" | undefined>> = {
  data: undefined,
  train: "model",
  layout: "train",
  serve: "model",
  target: undefined,
};

const FEW = 6;

/** The nearest names, or all of a few. */
function meant(name: string, names: readonly string[]): string | undefined {
  return didYouMean(name, names) ?? (names.length > FEW ? undefined : thereAre(names));
}

class Linker {
  readonly #sections: readonly ast.SectionDecl[];
  readonly #models: readonly string[];
  readonly #torn: boolean;
  readonly #broken: ReadonlySet<string>;
  readonly #diagnostics: Diagnostics;
  readonly #done = new Map<ast.SectionDecl, Linked>();
  readonly #open: ast.SectionDecl[] = [];

  constructor(
    sections: readonly ast.SectionDecl[],
    models: readonly string[],
    { torn, broken }: Pick<ast.File, "torn" | "broken">,
    diagnostics: Diagnostics,
  ) {
    this.#sections = sections;
    this.#models = models;
    this.#torn = torn;
    this.#broken = new Set(broken.map((name) => name.text));
    this.#diagnostics = diagnostics;
  }

  link(decl: ast.SectionDecl): Linked {
    const known = this.#done.get(decl);
    if (known !== undefined) return known;
    this.#open.push(decl);
    const base = this.#base(decl);
    this.#open.pop();
    const linked = { decl, base: base?.decl, ...this.#target(decl, base) };
    this.#done.set(decl, linked);
    return linked;
  }

  /** True for a name that a syntax error may have swallowed. */
  #isLost(name: string): boolean {
    return this.#torn || this.#broken.has(name);
  }

  #find(section: ast.SectionKind, name: string): ast.SectionDecl | undefined {
    return this.#sections.find((other) => other.section === section && other.name.text === name);
  }

  #names(section: ast.SectionKind): string[] {
    return this.#sections.filter((other) => other.section === section).map((other) => other.name.text);
  }

  #base(decl: ast.SectionDecl): Linked | undefined {
    if (decl.from === undefined) return undefined;
    const { text, span } = decl.from;
    const base = this.#find(decl.section, text);
    if (base === undefined) {
      if (this.#isLost(text)) return undefined;
      const other = this.#sections.find((section) => section.name.text === text);
      if (other !== undefined) {
        this.#diagnostics.report("DSK6007", span, { name: text, why: `it is a ${other.section} section` });
        return undefined;
      }
      const help = meant(
        text,
        this.#names(decl.section).filter((name) => name !== decl.name.text),
      );
      this.#diagnostics.report(
        "DSK6006",
        span,
        { section: decl.section, name: text },
        help === undefined ? {} : { help },
      );
      return undefined;
    }
    const start = this.#open.indexOf(base);
    if (start >= 0) {
      const chain = [...this.#open.slice(start), base].map((section) => section.name.text).join(" -> ");
      // Each section of the cycle sees it; the first one tells.
      if (this.#open.at(-1) === decl) this.#diagnostics.report("DSK6008", span, { chain });
      return undefined;
    }
    return this.link(base);
  }

  #target(decl: ast.SectionDecl, base: Linked | undefined): Pick<Linked, "train" | "model"> {
    const of = FOR[decl.section];
    const none = { train: undefined, model: undefined };
    if (of === undefined) {
      if (decl.for !== undefined) this.#diagnostics.report("DSK6017", decl.for.span, { section: decl.section });
      return none;
    }
    if (decl.for === undefined) {
      // Without `for` it is for what its base is for.
      if (base !== undefined) return { train: base.train, model: base.model };
      if (decl.from === undefined) {
        const { text: name, span } = decl.name;
        const names = of === "model" ? this.#models : this.#names("train");
        const help = names.length === 1 ? { help: `write \`${decl.section} ${name} for ${names[0]!}\`` } : {};
        this.#diagnostics.report("DSK6005", span, { section: decl.section, name, of }, help);
      }
      return none;
    }
    const { text, span } = decl.for;
    const other = this.#sections.find((section) => section.name.text === text);
    const kind = other === undefined ? undefined : `\`${text}\` is a ${other.section} section`;
    if (of === "model") {
      if (this.#models.includes(text)) return this.#sameAsBase(decl, base, { train: undefined, model: text });
      if (this.#isLost(text)) return none;
      const help = kind ?? meant(text, this.#models);
      const about = { about: `model ${text}` };
      this.#diagnostics.report("DSK2002", span, { name: text }, help === undefined ? about : { help, ...about });
      return none;
    }
    const train = this.#find("train", text);
    if (train !== undefined) return { train, model: this.link(train).model };
    if (this.#isLost(text)) return none;
    const help = kind ?? meant(text, this.#names("train"));
    this.#diagnostics.report("DSK6006", span, { section: "train", name: text }, help === undefined ? {} : { help });
    return none;
  }

  /** A base brings losses and values of its model along, so it must be for the same one. */
  #sameAsBase(
    decl: ast.SectionDecl,
    base: Linked | undefined,
    target: Pick<Linked, "train" | "model">,
  ): Pick<Linked, "train" | "model"> {
    if (decl.section === "train" && base?.model !== undefined && base.model !== target.model) {
      const why = `it is for \`${base.model}\`, not for \`${target.model!}\``;
      this.#diagnostics.report("DSK6007", decl.from!.span, { name: base.decl.name.text, why });
    }
    return target;
  }
}

/**
 * Resolves `for` and `from` of all sections of a file.
 * @param file tells what syntax errors may have swallowed: that is not told to be unknown
 */
export function linkSections(
  sections: readonly ast.SectionDecl[],
  models: readonly string[],
  file: Pick<ast.File, "torn" | "broken">,
  diagnostics: Diagnostics,
): Linked[] {
  const linker = new Linker(sections, models, file, diagnostics);
  return sections.map((decl) => linker.link(decl));
}
