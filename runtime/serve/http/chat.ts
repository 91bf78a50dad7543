import { randomUUID } from "node:crypto";
import type { Context } from "hono";
import type { Message } from "../../data/tokenizer/chat-template.ts";
import type { PieceToken } from "../text/answer.ts";
import { ApiError } from "./api-error.ts";
import { CHAT_REQUEST, type ChatRequest, parseBody } from "./fields.ts";
import { chatLogprobs } from "./logprobs.ts";
import { type Format, respond } from "./respond.ts";
import type { Service } from "./service.ts";
import { toRequests } from "./to-requests.ts";

/** `POST /v1/chat/completions` */
export async function chat(c: Context, service: Service): Promise<Response> {
  const body = parseBody(CHAT_REQUEST, await c.req.arrayBuffer());
  if (body.top_logprobs !== undefined && body.top_logprobs !== null && body.logprobs !== true) {
    const more = { code: "invalid_value", param: "top_logprobs" };
    throw new ApiError(400, "`top_logprobs` needs `logprobs: true`", more);
  }
  const maxTokens = body.max_completion_tokens ?? body.max_tokens ?? undefined;
  const alternatives = body.logprobs ? (body.top_logprobs ?? 0) : undefined;
  const wanted = toRequests(service, body, [promptOf(service, body)], { maxTokens, alternatives });
  return respond(c, service, body, wanted, chatFormat(service, body.logprobs === true));
}

/** The conversation by the chat template of the tokenizer, up to where the answer begins. */
function promptOf({ tokenizer, model }: Service, { messages, chat_template_kwargs: kwargs }: ChatRequest): number[] {
  if (tokenizer.chat === undefined) {
    throw new ApiError(400, `\`${model}\` has no chat template: use /v1/completions`, { code: "no_chat_template" });
  }
  const turns = messages.map(({ content, ...message }): Message => {
    const text = typeof content === "string" ? content : content.map((part) => part.text).join("");
    return { ...withoutNulls(message), role: message.role, content: text };
  });
  let text: string;
  try {
    text = tokenizer.chat.render(turns, { addGenerationPrompt: true, variables: kwargs ?? {} });
  } catch (error) {
    const message = `the chat template does not take these messages: ${(error as Error).message}`;
    throw new ApiError(400, message, { code: "invalid_value", param: "messages" });
  }
  return tokenizer.encodeWithSpecials(text);
}

function withoutNulls(message: object): object {
  return Object.fromEntries(Object.entries(message).filter(([, value]) => value !== null && value !== undefined));
}

function chatFormat({ model, tokenizer }: Service, withLogprobs: boolean): Format {
  const head = { id: `chatcmpl-${randomUUID()}`, created: Math.floor(Date.now() / 1000), model };
  const logprobs = (tokens: readonly PieceToken[]): object | null =>
    withLogprobs ? { content: chatLogprobs(tokenizer, tokens), refusal: null } : null;
  return {
    whole: { ...head, object: "chat.completion" },
    chunk: { ...head, object: "chat.completion.chunk" },
    begin: (index) => {
      const delta = { role: "assistant", content: "", refusal: null };
      return { index, delta, logprobs: null, finish_reason: null };
    },
    piece: (index, { text, tokens }) => {
      return { index, delta: { content: text }, logprobs: logprobs(tokens), finish_reason: null };
    },
    end: (index, reason) => ({ index, delta: {}, logprobs: null, finish_reason: reason }),
    choice: (index, text, tokens, reason) => {
      const message = { role: "assistant", content: text, refusal: null };
      return { index, message, logprobs: logprobs(tokens), finish_reason: reason };
    },
  };
}
