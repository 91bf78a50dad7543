/** The documents of a file as they stand there. */
import type { CorpusSource } from "../source.ts";
import type { Message } from "../tokenizer/chat-template.ts";
import { messagesOf } from "./chat.ts";
import { type JsonLine, readJsonLines } from "./lines.ts";
import { readText, type TextPart } from "./text.ts";

export interface Conversation {
  readonly messages: readonly Message[];
  /** `line 3 (byte 120)` */
  readonly place: string;
}

export type Document = TextPart | Conversation;

export type TextualSource = Exclude<CorpusSource, { readonly kind: "shards" }>;

/**
 * @param longest UTF-16 units that a text file may have before it is read in parts
 * @param problem told what is wrong with a document; the other ones are still read
 * @throws BadFile for files that are no text at all
 */
export function readDocuments(
  corpus: TextualSource,
  path: string,
  longest: number,
  problem: (text: string) => void,
): Generator<Document> {
  switch (corpus.kind) {
    case "text":
      return readText(path, longest);
    case "lines":
      return texts(path, corpus.field, problem);
    case "chat":
      return conversations(path, problem);
  }
}

function* texts(path: string, field: string, problem: (text: string) => void): Generator<TextPart> {
  for (const { value, place } of readJsonLines(path, problem)) {
    const text = value[field];
    if (typeof text !== "string") problem(`${place}: ${whyNoField(value, field)}`);
    else if (text !== "") yield { text, first: true, last: true };
  }
}

function whyNoField(value: JsonLine["value"], field: string): string {
  if (field in value) return `\`${field}\` is no text`;
  return `it has no \`${field}\`; its keys are ${Object.keys(value).join(", ")}`;
}

function* conversations(path: string, problem: (text: string) => void): Generator<Conversation> {
  for (const { value, place } of readJsonLines(path, problem)) {
    const messages = messagesOf(value);
    if (typeof messages === "string") problem(`${place}: ${messages}`);
    else yield { messages, place };
  }
}
