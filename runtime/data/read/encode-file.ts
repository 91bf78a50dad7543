/** The documents of a file as tokens. */
import type { CorpusSource } from "../source.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { encodeChat, messagesOf } from "./chat.ts";
import { hashText, type TokenDocument } from "./document.ts";
import { type JsonLine, readJsonLines } from "./lines.ts";
import { readText } from "./text.ts";

export interface EncodeOptions {
  readonly tokenizer: Tokenizer;
  /** UTF-16 units that a text file may have before it is read in parts. */
  readonly longest: number;
  /** Told what is wrong with a document; the other ones are still read. */
  readonly problem: (text: string) => void;
}

type TextualSource = Exclude<CorpusSource, { readonly kind: "shards" }>;

/**
 * Texts stand between the tokens that begin and end a document, as far as the tokenizer has them and the file was not cut
 * there; conversations are what the chat template makes of them.
 * @throws BadFile for files that are no text at all
 */
export function encodeFile(corpus: TextualSource, path: string, options: EncodeOptions): Generator<TokenDocument> {
  switch (corpus.kind) {
    case "text":
      return textDocuments(path, options);
    case "lines":
      return lineDocuments(path, corpus.field, options);
    case "chat":
      return chatDocuments(path, options);
  }
}

function* textDocuments(path: string, { tokenizer, longest }: EncodeOptions): Generator<TokenDocument> {
  for (const { text, first, last } of readText(path, longest)) yield between(tokenizer, text, first, last);
}

function* lineDocuments(path: string, field: string, { tokenizer, problem }: EncodeOptions): Generator<TokenDocument> {
  for (const { value, place } of readJsonLines(path, problem)) {
    const text = value[field];
    if (typeof text !== "string") problem(`${place}: ${whyNoField(value, field)}`);
    else if (text !== "") yield between(tokenizer, text, true, true);
  }
}

function whyNoField(value: JsonLine["value"], field: string): string {
  if (field in value) return `\`${field}\` is no text`;
  return `it has no \`${field}\`; its keys are ${Object.keys(value).join(", ")}`;
}

function* chatDocuments(path: string, { tokenizer, problem }: EncodeOptions): Generator<TokenDocument> {
  for (const { value, place } of readJsonLines(path, problem)) {
    const messages = messagesOf(value);
    if (typeof messages === "string") {
      problem(`${place}: ${messages}`);
      continue;
    }
    let document: TokenDocument;
    try {
      document = encodeChat(messages, tokenizer);
    } catch (error) {
      problem(`${place}: ${(error as Error).message}`);
      continue;
    }
    yield document;
  }
}

function between(tokenizer: Tokenizer, text: string, first: boolean, last: boolean): TokenDocument {
  const { bos, eos } = tokenizer;
  const tokens = tokenizer.encode(text);
  if (first && bos !== undefined) tokens.unshift(bos);
  if (last && eos !== undefined) tokens.push(eos);
  return { tokens, hash: hashText(text) };
}
