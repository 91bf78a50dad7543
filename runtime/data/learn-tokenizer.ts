/** A tokenizer for a training, learned from its own data. */
import { statSync } from "node:fs";
import { breathing } from "./breathe.ts";
import { DataError, Problems } from "./data-error.ts";
import { findFiles, nameIn } from "./files.ts";
import type { Progress } from "./prepare.ts";
import { hashText, mix } from "./read/document.ts";
import { readDocuments } from "./read/read-file.ts";
import { BadFile } from "./read/text.ts";
import { corporaOf, type CorpusSource, type DataSource } from "./source.ts";
import { type TokenizerFiles, trainTokenizer } from "./tokenizer/new-tokenizer.ts";

export interface LearnOptions {
  /** What globs are relative to. */
  readonly root: string;
  /** Tokens of the vocabulary: the model's. It becomes smaller where the data have fewer pairs that occur twice. */
  readonly size: number;
  /** Bytes that are learned from, about; a sample of larger data. 8 MiB when not given. */
  readonly sample?: number;
  readonly progress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

/** Long files are sampled in parts. */
const PART = 1 << 16;

/**
 * Learns a tokenizer from a sample of the data, from each corpus by its share. The sample depends on the content only:
 * equal files give equal tokenizers.
 * @throws DataError for files that cannot be used, and for token files, which need the tokenizer that they were made with
 */
export async function learnTokenizer(source: DataSource, options: LearnOptions): Promise<TokenizerFiles> {
  const texts: string[] = [];
  const problems = new Problems();
  for (const { corpus, share } of corporaOf(source)) {
    await sample(corpus, share * (options.sample ?? 8 << 20), options, problems, texts);
  }
  problems.report();
  if (texts.length === 0) throw new DataError(["there is no text to learn a tokenizer from"]);
  return trainTokenizer(texts, options.size);
}

async function sample(
  corpus: CorpusSource,
  bytes: number,
  { root, progress, signal }: LearnOptions,
  problems: Problems,
  texts: string[],
): Promise<void> {
  if (corpus.kind === "shards") {
    throw new DataError([`\`${corpus.files}\` holds tokens: give the tokenizer that they were made with`]);
  }
  const breathe = breathing(signal);
  const files = findFiles(corpus.files, root).map((path) => ({ path, size: statSync(path).size }));
  const totalBytes = files.reduce((sum, { size }) => sum + size, 0);
  const rate = bytes / totalBytes;
  let doneBytes = 0;
  for (const { path, size } of files) {
    const name = nameIn(root, path);
    progress?.({ file: name, doneBytes, totalBytes });
    try {
      for (const document of readDocuments(corpus, path, PART, (text) => problems.add(`${name}: ${text}`))) {
        const parts = "messages" in document ? document.messages.map(({ content }) => content) : [document.text];
        // Another number than the one that the validation split looks at.
        if (mix(hashText(parts.join("\n")) ^ 0x9e3779b9) / 2 ** 32 < rate) texts.push(...parts);
        await breathe();
      }
    } catch (error) {
      if (!(error instanceof BadFile)) throw error;
      problems.add(`${name}: ${error.message}`);
    }
    doneBytes += size;
    if (problems.many) return;
  }
}
