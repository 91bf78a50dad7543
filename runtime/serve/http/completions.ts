import { randomUUID } from "node:crypto";
import type { Context } from "hono";
import type { PieceToken } from "../text/answer.ts";
import { ApiError } from "./api-error.ts";
import { COMPLETION_REQUEST, type CompletionRequest, parseBody } from "./fields.ts";
import { completionLogprobs } from "./logprobs.ts";
import { type Format, respond } from "./respond.ts";
import type { Service } from "./service.ts";
import { toRequests } from "./to-requests.ts";

/** Tokens that are generated when a request does not say how many: as with OpenAI. */
const DEFAULT_TOKENS = 16;

/** `POST /v1/completions` */
export async function completions(c: Context, service: Service): Promise<Response> {
  const body = parseBody(COMPLETION_REQUEST, await c.req.arrayBuffer());
  const alternatives = body.logprobs ?? undefined;
  if (body.echo && alternatives !== undefined) {
    throw new ApiError(400, "`echo` with `logprobs` is not supported", { code: "unsupported", param: "echo" });
  }
  const prompts = promptsOf(service, body.prompt);
  const maxTokens = body.max_tokens ?? DEFAULT_TOKENS;
  const wanted = toRequests(service, body, prompts, { maxTokens, alternatives });
  const echoes = body.echo ? wanted.map(({ prompt }) => service.tokenizer.decode(prompt)) : undefined;
  return respond(c, service, body, wanted, completionFormat(service, alternatives !== undefined, echoes));
}

/** Texts begin as documents do; tokens are taken as they are. */
function promptsOf({ tokenizer }: Service, prompt: CompletionRequest["prompt"]): number[][] {
  const encode = (text: string): number[] => [
    ...(tokenizer.bos === undefined ? [] : [tokenizer.bos]),
    ...tokenizer.encode(text),
  ];
  if (typeof prompt === "string") return [encode(prompt)];
  if (typeof prompt[0] === "number") return [prompt as number[]];
  return (prompt as (string | number[])[]).map((one) => (typeof one === "string" ? encode(one) : one));
}

function completionFormat(
  { model, tokenizer }: Service,
  withLogprobs: boolean,
  echoes: readonly string[] | undefined,
): Format {
  const head = { id: `cmpl-${randomUUID()}`, object: "text_completion", created: Math.floor(Date.now() / 1000), model };
  const logprobs = (tokens: readonly PieceToken[]): object | null =>
    withLogprobs ? completionLogprobs(tokenizer, tokens) : null;
  const plain = (index: number, text: string, reason: string | null): object => {
    return { index, text, logprobs: null, finish_reason: reason };
  };
  return {
    whole: head,
    chunk: head,
    ...(echoes === undefined ? {} : { begin: (index: number) => plain(index, echoes[index]!, null) }),
    piece: (index, { text, tokens }) => ({ index, text, logprobs: logprobs(tokens), finish_reason: null }),
    end: (index, reason) => plain(index, "", reason),
    choice: (index, text, tokens, reason) => {
      return { index, text: (echoes?.[index] ?? "") + text, logprobs: logprobs(tokens), finish_reason: reason };
    },
  };
}
