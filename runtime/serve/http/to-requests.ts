import { randomInt } from "node:crypto";
import type { Sampling } from "../sampling/sampling.ts";
import type { TextRequest } from "../text/generate.ts";
import { ApiError } from "./api-error.ts";
import type { CommonRequest } from "./fields.ts";
import type { Service } from "./service.ts";

export type Wanted = Omit<TextRequest, "onPiece" | "onToken" | "signal">;

export interface Limits {
  /** undefined for as much as the context holds. */
  readonly maxTokens: number | undefined;
  /** How many alternatives are told with each token; undefined for no log-probabilities. */
  readonly alternatives: number | undefined;
}

/** The requests of one HTTP request: `n` answers to each prompt, those of the first prompt first. @throws ApiError */
export function toRequests(
  service: Service,
  body: CommonRequest,
  prompts: readonly (readonly number[])[],
  { maxTokens, alternatives }: Limits,
): Wanted[] {
  if (body.model !== service.model) {
    const message = `there is no model \`${body.model}\`; this server has \`${service.model}\``;
    throw new ApiError(404, message, { code: "model_not_found", param: "model" });
  }
  for (const prompt of prompts) checkPrompt(service, prompt, maxTokens);
  checkCount(service, prompts.length * (body.n ?? 1));
  const { tokenizer, defaults, timeout } = service;
  const seed = body.seed ?? randomInt(2 ** 47);
  const sampling: Sampling = {
    temperature: body.temperature ?? defaults.temperature,
    topP: body.top_p ?? defaults.topP,
    topK: Math.max(0, body.top_k ?? defaults.topK),
    minP: body.min_p ?? 0,
    frequencyPenalty: body.frequency_penalty ?? 0,
    presencePenalty: body.presence_penalty ?? 0,
    repetitionPenalty: body.repetition_penalty ?? 1,
    logitBias: new Map(Object.entries(body.logit_bias ?? {}).map(([token, bias]) => [tokenOf(service, token), bias])),
    seed: seed < 0 ? 2 ** 53 + seed : seed,
    choice: 0,
    ...(alternatives === undefined ? {} : { alternatives }),
  };
  const eos = body.ignore_eos || tokenizer.eos === undefined ? [] : [tokenizer.eos];
  const shared = {
    stopTokens: new Set([...eos, ...(body.stop_token_ids ?? [])]),
    stops: typeof body.stop === "string" ? [body.stop] : (body.stop ?? []),
    ...(timeout === undefined ? {} : { deadline: performance.now() + timeout }),
  };
  return prompts.flatMap((prompt) => {
    const room = service.engine.options.context - prompt.length;
    return Array.from({ length: body.n ?? 1 }, (_, choice) => ({
      ...shared,
      prompt,
      maxTokens: maxTokens ?? room,
      sampling: { ...sampling, choice },
    }));
  });
}

function checkPrompt({ engine, vocabulary }: Service, prompt: readonly number[], maxTokens = 1): void {
  const { context } = engine.options;
  if (prompt.length === 0) throw new ApiError(400, "the prompt is empty", { param: "prompt" });
  const stranger = prompt.find((token) => token >= vocabulary);
  if (stranger !== undefined)
    throw new ApiError(400, `the prompt has the token ${stranger}; the model has tokens 0 to ${vocabulary - 1}`);
  if (prompt.length + maxTokens > context) {
    const message = `the context of the model is ${context} tokens, but the prompt has ${prompt.length} and ${maxTokens} are to be generated`;
    throw new ApiError(400, message, { code: "context_length_exceeded" });
  }
}

/** What never fits into the queue must not come back later. */
function checkCount({ engine }: Service, answers: number): void {
  const most = engine.options.maxRunning + engine.options.maxWaiting;
  if (answers <= most) return;
  const message = `the request asks for ${answers} answers, and the server takes ${most} at most`;
  throw new ApiError(400, message, { code: "too_many_answers", param: "n" });
}

function tokenOf({ vocabulary }: Service, text: string): number {
  const token = Number(text);
  if (token < vocabulary) return token;
  const message = `\`logit_bias\` has the token ${text}; the model has tokens 0 to ${vocabulary - 1}`;
  throw new ApiError(400, message, { param: "logit_bias" });
}
