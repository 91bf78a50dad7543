/** Conversations as tokens, with what is given and what is answered. */
import type { ChatTemplate, Message } from "../tokenizer/chat-template.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { hashText, type TokenDocument } from "./document.ts";

/** The messages of a line, or what is wrong with it. */
export function messagesOf(value: Readonly<Record<string, unknown>>): readonly Message[] | string {
  const messages = value["messages"];
  if (!Array.isArray(messages)) return `it has no list \`messages\`; its keys are ${Object.keys(value).join(", ")}`;
  if (messages.length === 0) return "it has no messages";
  for (const [index, message] of (messages as unknown[]).entries()) {
    const { role, content } = (message ?? {}) as Record<string, unknown>;
    if (typeof role !== "string") return `message ${index + 1} has no \`role\``;
    if (typeof content !== "string") return `message ${index + 1} has no text \`content\``;
  }
  if (!(messages as Message[]).some(({ role }) => role === "assistant")) return "no message is an answer (`assistant`)";
  return messages as Message[];
}

/**
 * The tokens of a conversation as the model will see it: each answer is encoded apart from the prompt before it, as when it
 * is generated. Only answers count, and what ends them.
 * @throws Error when the template fails, or shows an answer in another way than it asks for it
 */
export function encodeChat(messages: readonly Message[], tokenizer: Tokenizer): TokenDocument {
  const { chat } = tokenizer;
  if (chat === undefined) throw new Error("the tokenizer has no chat template");
  const text = chat.render(messages);
  const tokens: number[] = [];
  const counted: number[] = [];
  let at = 0;
  const append = (end: number, counts: 0 | 1): void => {
    for (const token of tokenizer.encodeWithSpecials(text.slice(at, end))) {
      tokens.push(token);
      counted.push(counts);
    }
    at = end;
  };
  for (const { start, end } of answersIn(text, messages, chat)) {
    append(start, 0);
    append(end, 1);
  }
  append(text.length, 0);
  return { tokens, counted, hash: hashText(text) };
}

interface Span {
  readonly start: number;
  readonly end: number;
}

/**
 * Where answers stand in the text of a conversation: between what asks for them and what the template adds to it. Templates
 * of reasoning models shorten earlier answers: then only the last one is what the model will be asked for.
 */
function answersIn(text: string, messages: readonly Message[], chat: ChatTemplate): readonly Span[] {
  const spans = messages.flatMap(({ role }, index) => {
    if (role !== "assistant") return [];
    const before = chat.render(messages.slice(0, index), { addGenerationPrompt: true });
    const after = chat.render(messages.slice(0, index + 1));
    const there = after.startsWith(before) && text.startsWith(after);
    return [there ? { start: before.length, end: after.length } : undefined];
  });
  const all = spans.filter((span) => span !== undefined);
  if (all.length === spans.length) return all;
  const last = spans.at(-1);
  if (last !== undefined) return [last];
  throw new Error("the chat template shows the last answer in another way than it asks for it: its place is not known");
}
