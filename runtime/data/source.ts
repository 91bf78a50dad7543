/** What a training reads, as plain data: the `data` entry of a train section. */

interface Packing {
  /** Several documents share a sequence, whole ones where they fit; false: a document, or a cut of one, is a sequence. */
  readonly pack: boolean;
}

interface Infilling {
  /** The share of documents that are turned into prefix, suffix, middle (Bavarian et al. 2022; DeepSeek-V3 section 4.1). */
  readonly fim: number;
}

/** Files of plain text, a document each. `files` is a glob, relative to where the `.dsk` file lies. */
export interface TextSource extends Packing, Infilling {
  readonly kind: "text";
  readonly files: string;
}

/** Files with a JSON object on each line; `field` of it is a document. */
export interface LinesSource extends Packing, Infilling {
  readonly kind: "lines";
  readonly files: string;
  readonly field: string;
}

/** Conversations: `{"messages": [{"role": "user", "content": "..."}, ...]}` on each line. Only answers are targets. */
export interface ChatSource extends Packing {
  readonly kind: "chat";
  readonly files: string;
}

/** Files of token numbers: `.bin` (u16 or u32, little-endian), `.npy`. Documents end with the end-of-text token. */
export interface ShardsSource extends Packing, Infilling {
  readonly kind: "shards";
  readonly files: string;
}

export type CorpusSource = TextSource | LinesSource | ChatSource | ShardsSource;

/** Several corpora by their shares of the tokens; the shares add up to 1. */
export interface MixtureSource {
  readonly kind: "mixture";
  readonly parts: readonly { readonly share: number; readonly data: DataSource }[];
}

export type DataSource = CorpusSource | MixtureSource;

/** The corpora of a source with their shares of the tokens, in order; those without a share are left out. */
export function corporaOf(source: DataSource, share = 1): { readonly share: number; readonly corpus: CorpusSource }[] {
  if (source.kind !== "mixture") return share > 0 ? [{ share, corpus: source }] : [];
  return source.parts.flatMap((part) => corporaOf(part.data, share * part.share));
}
