/** The data of a training: from what a train section says to sequences of tokens. */
import { createHash } from "node:crypto";
import type { Sequence } from "./batch.ts";
import { DataError } from "./data-error.ts";
import { type Documents, shortenedDocuments } from "./documents.ts";
import { InfilledDocuments } from "./infill.ts";
import { PackedStream, type StreamPart } from "./packed-stream.ts";
import { prepareCorpus, type PrepareOptions } from "./prepare.ts";
import { corporaOf, type CorpusSource, type DataSource } from "./source.ts";
import { splitDocuments } from "./split.ts";
import type { StoredDocuments } from "./stored.ts";
import type { SequenceStream, StreamState } from "./stream.ts";
import type { Tokenizer } from "./tokenizer/tokenizer.ts";

export interface DataOptions extends PrepareOptions {
  /** Tokens that the model has: the tokenizer may not have more. */
  readonly vocabulary: number;
  /** Where order and infilling start. */
  readonly seed: number;
  /** The share of documents that are held out, by their hash: 0.01 when not given. */
  readonly valid?: number;
}

export interface Amounts {
  readonly documents: number;
  readonly tokens: number;
}

/** The tokenized data of a training. */
export interface Data {
  readonly train: Amounts;
  readonly valid: Amounts;
  /** Things that a user should know: conversations that were cut, empty files. */
  readonly remarks: readonly string[];
  /**
   * Training sequences.
   * @param lookAhead how many tokens ahead the model predicts beside the next one
   * @param epochs where the stream ends; without end when not given
   * @throws DataError when the state is of other data
   */
  stream(options: {
    readonly lookAhead: number;
    readonly epochs?: number;
    readonly state?: StreamState;
  }): SequenceStream;
  /** Held-out sequences, always the same ones in the same order: one pass, or the first ones with `tokens` tokens. */
  validation(options: { readonly lookAhead: number; readonly tokens?: number }): Sequence[];
  close(): void;
}

interface Corpus {
  readonly share: number;
  readonly source: CorpusSource;
  readonly key: string;
  readonly train: Documents;
  readonly valid: Documents;
}

/** The share of documents that are held out where nothing else is said. */
const HELD_OUT = 0.01;

/**
 * Opens the data of a source; files that were not tokenized before are tokenized now, into the cache.
 * @throws DataError with all files and places that cannot be used; the signal's reason when it is aborted
 */
export async function openData(source: DataSource, options: DataOptions): Promise<Data> {
  const { length, seed, tokenizer, vocabulary, valid: share = HELD_OUT } = options;
  if (tokenizer.size > vocabulary) {
    throw new DataError([`the tokenizer has ${tokenizer.size} tokens, the model only ${vocabulary}`]);
  }
  const remarks: string[] = [];
  const corpora: Corpus[] = [];
  const stored: StoredDocuments[] = [];
  for (const { share: part, corpus } of corporaOf(source)) {
    const { key, documents } = await prepareCorpus(corpus, options);
    stored.push(documents);
    remarks.push(...documents.remarks);
    const { train, valid } = splitDocuments(shortened(corpus, documents, length, remarks), share);
    if (valid.count === 0 && share > 0) remarks.push(`\`${corpus.files}\` is one document: nothing of it is held out`);
    corpora.push({ share: part, source: corpus, key, train: infilled(corpus, train, tokenizer, seed), valid });
  }
  const identity = hashOf([length, seed, share, corpora.map(({ share: part, source: of, key }) => [part, of, key])]);
  return {
    train: amounts(corpora.map(({ train }) => train)),
    valid: amounts(corpora.map(({ valid }) => valid)),
    remarks,
    stream: ({ lookAhead, epochs, state }) =>
      new PackedStream(identity, partsOf(corpora, "train", length, seed, lookAhead), epochs, state),
    validation: ({ lookAhead, tokens = Infinity }) => heldOut(corpora, length, lookAhead, tokens),
    close: () => stored.forEach((documents) => documents.close()),
  };
}

/** Conversations are not cut into pieces: an answer without its question teaches nothing. */
function shortened(corpus: CorpusSource, documents: Documents, length: number, remarks: string[]): Documents {
  if (corpus.kind !== "chat") return documents;
  let long = 0;
  for (let document = 0; document < documents.count; document++) if (documents.length(document) > length) long++;
  if (long === 0) return documents;
  remarks.push(
    `${long} of ${documents.count} conversations of \`${corpus.files}\` are longer than ${length} tokens: their ends are left out`,
  );
  return shortenedDocuments(documents, length);
}

function infilled(corpus: CorpusSource, documents: Documents, tokenizer: Tokenizer, seed: number): Documents {
  if (corpus.kind === "chat" || corpus.fim === 0) return documents;
  return new InfilledDocuments(documents, tokenizer, corpus.fim, seed);
}

function partsOf(
  corpora: readonly Corpus[],
  side: "train" | "valid",
  length: number,
  seed: number,
  lookAhead: number,
): StreamPart[] {
  return corpora.map(({ share, source, [side]: documents }, index) => ({
    share,
    documents,
    length,
    pack: source.pack,
    key: [seed, index],
    ahead: lookAhead + 1,
  }));
}

/** Held-out sequences in an order that does not depend on the training's seed. */
function heldOut(corpora: readonly Corpus[], length: number, lookAhead: number, tokens: number): Sequence[] {
  const parts = partsOf(corpora, "valid", length, 0, lookAhead).filter(({ documents }) => documents.count > 0);
  if (parts.length === 0) return [];
  const stream = new PackedStream("", parts, 1);
  const sequences: Sequence[] = [];
  for (let given = 0; given < tokens;) {
    const [sequence] = stream.next(1);
    if (sequence === undefined) break;
    sequences.push(sequence);
    for (const piece of sequence) given += piece.length;
  }
  return sequences;
}

function amounts(documents: readonly Documents[]): Amounts {
  return {
    documents: documents.reduce((sum, { count }) => sum + count, 0),
    tokens: documents.reduce((sum, { tokens }) => sum + tokens, 0),
  };
}

function hashOf(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 32);
}
