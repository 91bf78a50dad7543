/** From the files of a corpus to tokenized documents, once: the result is kept under a hash of all that it depends on. */
import { createHash } from "node:crypto";
import { statSync } from "node:fs";
import { join } from "node:path";
import { breathing } from "./breathe.ts";
import { DataError, Problems } from "./data-error.ts";
import { findFiles, hashFile, nameIn } from "./files.ts";
import { encodeDocument } from "./read/encode-document.ts";
import { indexShard } from "./read/index-shard.ts";
import { readDocuments } from "./read/read-file.ts";
import { BadFile } from "./read/text.ts";
import type { CorpusSource } from "./source.ts";
import { type Region, StoredDocuments, StoreWriter } from "./stored.ts";
import type { Tokenizer } from "./tokenizer/tokenizer.ts";

/** Part of every key: raised when documents are made in another way. */
const FORMAT = 1;

/**
 * Documents with more characters (of token files: tokens) become several: the validation split needs more than one, and no
 * string can be endless. Sixteen for each token of a sequence at least, so that long contexts are not lost.
 */
const LONGEST = 1 << 16;

export interface PrepareOptions {
  /** What globs are relative to. */
  readonly root: string;
  /** The folder of tokenized documents. */
  readonly cache: string;
  readonly tokenizer: Tokenizer;
  /** Tokens of a sequence. */
  readonly length: number;
  readonly progress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

export interface Progress {
  readonly file: string;
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface PreparedCorpus {
  /** The hash of all that the documents depend on. */
  readonly key: string;
  readonly documents: StoredDocuments;
}

/**
 * The documents of a corpus, from the cache where it has them.
 * @throws DataError with all files and places that cannot be used; the signal's reason when it is aborted
 */
export async function prepareCorpus(corpus: CorpusSource, options: PrepareOptions): Promise<PreparedCorpus> {
  const { root, cache, tokenizer, length } = options;
  if (corpus.kind === "chat" && tokenizer.chat === undefined) {
    throw new DataError([`\`${corpus.files}\` holds conversations, but the tokenizer has no chat template`]);
  }
  const paths = findFiles(corpus.files, root);
  const longest = Math.max(LONGEST, 16 * length);
  const key = keyOf(corpus, paths, tokenizer, longest);
  const folder = join(cache, key);
  const known = StoredDocuments.open(folder);
  if (known !== undefined) return { key, documents: known };
  const writer = new StoreWriter(folder, tokenizer.size);
  try {
    await writeDocuments(corpus, paths, longest, options, writer);
  } catch (error) {
    writer.discard();
    throw error;
  }
  return { key, documents: StoredDocuments.open(folder)! };
}

function keyOf(corpus: CorpusSource, paths: readonly string[], tokenizer: Tokenizer, longest: number): string {
  const how: unknown[] = [FORMAT, corpus.kind];
  // Shards are read where they lie, so their paths matter.
  if (corpus.kind === "shards") how.push(tokenizer.size, tokenizer.eos ?? null, longest, paths);
  else how.push(tokenizer.fingerprint);
  if (corpus.kind === "text") how.push(longest);
  if (corpus.kind === "lines") how.push(corpus.field);
  return createHash("sha256")
    .update(JSON.stringify([...how, paths.map(hashFile)]))
    .digest("hex")
    .slice(0, 32);
}

async function writeDocuments(
  corpus: CorpusSource,
  paths: readonly string[],
  longest: number,
  { root, tokenizer, progress, signal }: PrepareOptions,
  writer: StoreWriter,
): Promise<void> {
  const problems = new Problems();
  const remarks: string[] = [];
  const regions: Region[] = [];
  const breathe = breathing(signal);
  const sizes = paths.map((path) => statSync(path).size);
  const totalBytes = sizes.reduce((a, b) => a + b, 0);
  let doneBytes = 0;
  let documents = 0;
  for (const [index, path] of paths.entries()) {
    const name = nameIn(root, path);
    const before = documents;
    progress?.({ file: name, doneBytes, totalBytes });
    try {
      if (corpus.kind === "shards") {
        const search = indexShard(path, tokenizer, longest, (length, hash) => {
          writer.describe(length, hash);
          documents++;
        });
        let step = search.next();
        for (; step.done !== true; step = search.next()) await breathe();
        regions.push(step.value);
      } else {
        const problem = (text: string): void => problems.add(`${name}: ${text}`);
        for (const document of readDocuments(corpus, path, longest, problem)) {
          const encoded = encodeDocument(document, tokenizer, problem);
          if (encoded !== undefined) {
            writer.add(encoded);
            documents++;
          }
          await breathe();
        }
      }
    } catch (error) {
      if (!(error instanceof BadFile)) throw error;
      problems.add(`${name}: ${error.message}`);
    }
    if (documents === before) remarks.push(`${name} has no document`);
    if (problems.many) break;
    doneBytes += sizes[index]!;
  }
  problems.report();
  if (documents === 0) throw new DataError([`\`${corpus.files}\` is empty: no file has a document`]);
  writer.finish(remarks, corpus.kind === "shards" ? regions : undefined);
}
