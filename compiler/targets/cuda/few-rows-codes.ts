/** Weights of few rows that are codes: they are multiplied as they are, bf16 without loss, and sums of a group by its scale. */
import type { StorageType } from "../../../runtime/program/launch.ts";
import type { Lines } from "../../emit/lines.ts";
import type { Scales, Stream } from "./few-rows-plan.ts";

const BITS: Readonly<Partial<Record<StorageType, number>>> = { f32: 32, bf16: 16, i8: 8, i4: 4 };

/** Bits of an element of what is read once. */
export function bitsOf({ weights }: Stream): number {
  return BITS[weights.arg.dtype]!;
}

/** Whether terms from a multiple of their number on have whole groups, or are in one. */
export function haveGroups({ weights: { scales } }: Stream, terms: number): boolean {
  if (scales === undefined || scales.stride === 0) return true;
  return terms % scales.group === 0 || scales.group % terms === 0;
}

/** Groups that so many terms have. */
function groupsOf({ group, stride }: Scales, terms: number): number {
  return stride === 0 ? 1 : Math.max(1, terms / group);
}

/** Words of scales that a thread reads for so many terms. */
export function scaleWords({ weights: { scales } }: Stream, columns: number, terms: number): number {
  return scales === undefined ? 0 : (columns * groupsOf(scales, terms)) / 2;
}

/** How a block reads: what a thread has of columns, and of terms. */
export interface Way {
  /** Columns of a thread; where terms are neighbors, eight of the block lie between them. */
  readonly columns: number;
  readonly isNear: boolean;
  /** Terms that a warp multiplies at a time, and those that it reads before. */
  readonly step: number;
  readonly terms: number;
  /** How many columns there are, as text. */
  readonly size: string;
}

/** A turn of the loop over terms that were read is `j`, `first` the first of them. */
export class CodesPrinter {
  readonly #lines: Lines;
  readonly #stream: Stream;
  readonly #way: Way;
  readonly #scales: Scales;

  constructor(lines: Lines, stream: Stream, way: Way) {
    this.#lines = lines;
    this.#stream = stream;
    this.#way = way;
    this.#scales = stream.weights.scales!;
  }

  get #groups(): number {
    return groupsOf(this.#scales, this.#way.terms);
  }

  /** The group of turn `j` among those that were read. */
  get #group(): string {
    const { step } = this.#way;
    const { group } = this.#scales;
    return this.#groups === 1 ? "0" : step === group ? "j" : `j * ${step} / ${group}`;
  }

  /** In front of the loop: where the scales of a thread's columns begin, the first of all at `begin`. */
  pointers(begin: string): void {
    const { columns, isNear, size } = this.#way;
    const own = `of_scales${this.#stream.number}`;
    if (!isNear)
      return this.#lines.add(
        `const bf16* const ${own} = ${begin} + min(first_n + octet * ${columns}, ${size} - ${columns});`,
      );
    this.#lines.add(`const bf16* ${own}[${columns}];`, "#pragma unroll");
    this.#lines.add(
      `for (int i = 0; i < ${columns}; i++) ${own}[i] = ${begin} + (long long)min(first_n + i * 8 + octet, ${size} - 1) * ${this.#scales.outer};`,
    );
  }

  /** Scales of the terms from `first` on. */
  read(when?: string): void {
    const { columns, isNear } = this.#way;
    const { group, stride, together } = this.#scales;
    const [scales, own] = [`scales${this.#stream.number}`, `of_scales${this.#stream.number}`];
    const at = (s: string): string => {
      if (stride === 0) return "";
      const place = s === "0" ? `first / ${group}` : `(first / ${group} + ${s})`;
      return stride === 1 ? ` + ${place}` : ` + (long long)${place} * ${stride}`;
    };
    const [loop, body] = isNear
      ? [
          `for (int i = 0; i < ${columns}; i++)`,
          `read_scales<${Math.min(together, this.#groups)}>(${scales}[i], ${own}[i]${at("0")});`,
        ]
      : [
          `for (int s = 0; s < ${this.#groups}; s++)`,
          `read_scales<${columns}>(${scales}[s], ${own}${at(this.#groups === 1 ? "0" : "s")});`,
        ];
    this.#lines.add(`float ${scales}[${isNear ? columns : this.#groups}][${isNear ? this.#groups : columns}];`);
    this.#lines.add("#pragma unroll", `${loop}${when === undefined ? "" : ` if (${when})`} ${body}`);
  }

  /** Of turn `j`: codes as bf16. */
  decode(): void {
    const { number } = this.#stream;
    const { columns, isNear } = this.#way;
    this.#lines.add(`unsigned codes${number}[${columns}][${isNear ? 4 : 2}];`);
    this.#lines.add(
      `codes_of_${isNear ? "terms" : "columns"}<${bitsOf(this.#stream)}>(codes${number}, words${number}[j]);`,
    );
  }

  /** Adds the products with a line of a row's terms. */
  add(sums: string, line: string): void {
    const { number } = this.#stream;
    const [name, group] = this.#way.isNear
      ? ["add_scaled_terms", `, scales${number}, ${this.#group}`]
      : ["add_scaled_columns", `, scales${number}[${this.#group}]`];
    this.#lines.add(`${name}(${sums}, codes${number}, ${line}${group});`);
  }

  /** Of turn `j`: codes that were read as floats, times their scales. */
  scale(reads: number): void {
    const { number } = this.#stream;
    const factor = this.#way.isNear ? `scales${number}[i][${this.#group}]` : `scales${number}[${this.#group}][c]`;
    this.#lines.add("#pragma unroll");
    this.#lines.add(`for (int i = 0; i < ${reads}; i++)`, "#pragma unroll");
    this.#lines.add(`  for (int c = 0; c < 4; c++) words${number}[j][i][c] *= ${factor};`);
  }
}
