import type { DimTable } from "../../compiler/tensor-ir/types.ts";

/**
 * A nominal dim. Two dims are the same only if they are the same object; composites such as `N + R` are interned by
 * their terms, so that the same sum written twice is one dim.
 */
export interface Dim {
  /** Unique within a module; the label in the IR. Messages show it through `DimSpace.shown`. */
  readonly label: string;
  /** A number, null for run-time dims (`T`, `S`, `B`), undefined where a block is checked without an instance. */
  readonly size: number | null | undefined;
  /** Terms of a sum, for composites. */
  readonly terms?: readonly Term[];
}

export interface Term {
  readonly dim: Dim;
  readonly factor: number;
}

/** A linear combination of dims plus a constant: what a dim expression means. */
export interface Linear {
  readonly terms: readonly Term[];
  readonly constant: number;
}

/** Begins the labels of dims that are not known because of an error. No other text of a message has it before a name. */
const LOST = "?";

/** A dim's label in a text. */
const LABEL = /(?<![\w.`])[A-Za-z_]\w*(?:\.\d+)?(?![\w.`])/g;

/** Creates the dims of one module and keeps their labels unique. */
export class DimSpace {
  readonly table: DimTable = new Map();
  readonly #dims = new Map<string, Dim>();
  /** The block that declares a dim, by label. */
  readonly #owners = new Map<string, string>();
  readonly #helpers = new Map<string, Dim>();
  readonly #composites = new Map<string, Dim>();
  readonly tokens = this.atom("T", null);
  readonly positions = this.atom("S", null);
  readonly sequences = this.atom("B", null);

  /** The dim that has this label in the IR. */
  byLabel(label: string): Dim {
    const dim = this.#dims.get(label);
    if (dim === undefined) throw new Error(`no dim is labelled ${label}`);
    return dim;
  }

  /**
   * A new dim, different from every other one.
   * @param owner the block that declares it
   */
  atom(name: string, size: number | null | undefined, owner?: string): Dim {
    const label = this.#free(name);
    if (owner !== undefined) this.#owners.set(label, owner);
    this.table.set(label, size ?? null);
    const dim: Dim = { label, size };
    this.#dims.set(label, dim);
    return dim;
  }

  /** What stands for a dim that an error, which is told, keeps from being known. */
  lost(name: string): Dim {
    return this.atom(`${LOST}${name}`, undefined);
  }

  /** True for texts that name a lost dim: whatever they tell is a consequence. */
  static namesLost(texts: readonly string[]): boolean {
    return texts.some((text) => /\?[A-Za-z_]/.test(text));
  }

  /**
   * Texts with dims as the user calls them. Where two dims have one name, each is told with the block that declares it: `R of
   * Mla`.
   */
  shown(texts: readonly string[]): string[] {
    const labels = new Map<string, Set<string>>();
    for (const [label] of texts.join(" ").matchAll(LABEL)) {
      if (!this.table.has(label)) continue;
      const name = plain(label);
      labels.set(name, (labels.get(name) ?? new Set()).add(label));
    }
    return texts.map((text) =>
      text.replaceAll(LABEL, (label) => {
        if (!this.table.has(label)) return label;
        const owner = labels.get(plain(label))!.size > 1 ? this.#owners.get(label) : undefined;
        return owner === undefined ? plain(label) : `${plain(label)} of ${owner}`;
      }),
    );
  }

  /** The dim of a linear combination: the dim itself for a single one. */
  compose(linear: Linear): Dim {
    const { terms, constant } = linear;
    if (terms.length === 1 && terms[0]!.factor === 1 && constant === 0) return terms[0]!.dim;
    const key = [...terms.map((t) => `${t.factor}*${t.dim.label}`).toSorted(), `${constant}`].join("+");
    let dim = this.#composites.get(key);
    if (dim === undefined) {
      const size = sizeOf(linear);
      const label = this.#free(linearText(linear));
      this.table.set(label, size ?? null);
      dim = { label, size, terms };
      this.#composites.set(key, dim);
      this.#dims.set(label, dim);
    }
    return dim;
  }

  /** A dim that the language makes by itself, one per name and size: `pair`, `E/G`. */
  helper(name: string, size: number | undefined): Dim {
    const key = `${name} ${size}`;
    let dim = this.#helpers.get(key);
    if (dim === undefined) {
      dim = this.atom(name, size);
      this.#helpers.set(key, dim);
    }
    return dim;
  }

  #free(name: string): string {
    let label = name;
    for (let n = 2; this.table.has(label); n++) label = `${name}.${n}`;
    return label;
  }
}

export function linearOf(dim: Dim): Linear {
  return { terms: [{ dim, factor: 1 }], constant: 0 };
}

export function addLinear(a: Linear, b: Linear, sign: 1 | -1): Linear {
  const terms = a.terms.map((t) => ({ ...t }));
  for (const term of b.terms) {
    const same = terms.find((t) => t.dim === term.dim);
    if (same === undefined) terms.push({ dim: term.dim, factor: sign * term.factor });
    else same.factor += sign * term.factor;
  }
  return { terms: terms.filter((t) => t.factor !== 0), constant: a.constant + sign * b.constant };
}

/** The number of elements, undefined when a term's size is not known yet or only at run time. */
export function sizeOf(linear: Linear): number | undefined {
  let size = linear.constant;
  for (const { dim, factor } of linear.terms) {
    if (typeof dim.size !== "number") return undefined;
    size += factor * dim.size;
  }
  return size;
}

/** `N+R`, `I-R`, `2*D`: without spaces, as labels are written. */
export function linearText({ terms, constant }: Linear): string {
  let text = "";
  for (const { dim, factor } of terms) {
    const sign = factor < 0 ? "-" : text === "" ? "" : "+";
    text += `${sign}${Math.abs(factor) === 1 ? "" : `${Math.abs(factor)}*`}${dim.label}`;
  }
  if (constant !== 0 || text === "") text += `${constant < 0 || text === "" ? "" : "+"}${constant}`;
  return text;
}

/** The name as the text has it: labels of other dims of that name end in `.2`, `.3`. */
export function nameOf({ label }: Dim): string {
  return plain(label);
}

function plain(label: string): string {
  return label.replace(/\.\d+$/, "");
}

/** `T, H, N = 128`: how messages name dims. */
export function dimsText(dims: readonly Dim[]): string {
  return dims.length === 0 ? "no dims" : dims.map((d) => d.label).join(", ");
}

export function sized(dim: Dim): string {
  return typeof dim.size === "number" ? `${dim.label} = ${dim.size}` : dim.label;
}

export function sameSet(a: readonly Dim[], b: readonly Dim[]): boolean {
  return a.length === b.length && a.every((d) => b.includes(d));
}

/** The dims of both, in order of appearance. */
export function union(...lists: readonly (readonly Dim[])[]): Dim[] {
  return [...new Set(lists.flat())];
}
