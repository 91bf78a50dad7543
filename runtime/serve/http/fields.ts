import { z } from "zod";
import { ApiError } from "./api-error.ts";

/** What both endpoints take. Every field may be null, which is the same as leaving it out. */
export const COMMON_FIELDS = {
  model: z.string(),
  stream: z.boolean().nullish(),
  stream_options: z.strictObject({ include_usage: z.boolean().nullish() }).nullish(),
  n: z.int().min(1).max(128).nullish(),
  max_tokens: z.int().min(1).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  seed: z.int().nullish(),
  stop: z.union([z.string(), z.array(z.string()).max(16)]).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  logit_bias: z
    .record(z.string().regex(/^\d+$/, "tokens are named by their numbers"), z.number().min(-100).max(100))
    .nullish(),
  // For the books of whoever asks: nothing depends on it.
  user: z.string().nullish(),
  // Beside OpenAI's, as other servers call them.
  top_k: z.int().min(-1).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  repetition_penalty: z.number().gt(0).max(10).nullish(),
  stop_token_ids: z.array(z.int().min(0)).nullish(),
  ignore_eos: z.boolean().nullish(),
};

const TEXT_PART = z.strictObject({ type: z.literal("text"), text: z.string() });

const MESSAGE = z.strictObject({
  role: z.string(),
  content: z.union([z.string(), z.array(TEXT_PART)]),
  name: z.string().nullish(),
  // In answers that come back as part of the conversation.
  refusal: z.null().optional(),
  reasoning_content: z.string().nullish(),
});

export const CHAT_REQUEST = z.strictObject({
  ...COMMON_FIELDS,
  messages: z.array(MESSAGE).min(1),
  max_completion_tokens: z.int().min(1).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(),
  response_format: z.strictObject({ type: z.literal("text") }).nullish(),
  chat_template_kwargs: z.record(z.string(), z.unknown()).nullish(),
});
export type ChatRequest = z.infer<typeof CHAT_REQUEST>;

const TOKENS = z.array(z.int().min(0)).min(1);

export const COMPLETION_REQUEST = z.strictObject({
  ...COMMON_FIELDS,
  prompt: z.union([z.string(), z.array(z.string()).min(1).max(128), TOKENS, z.array(TOKENS).min(1).max(128)]),
  logprobs: z.int().min(0).max(20).nullish(),
  echo: z.boolean().nullish(),
});
export type CompletionRequest = z.infer<typeof COMPLETION_REQUEST>;
export type CommonRequest = Omit<CompletionRequest, "prompt" | "logprobs" | "echo">;

/** The body of a request. @throws ApiError 400 that names the field */
export function parseBody<T>(schema: z.ZodType<T>, bytes: ArrayBuffer): T {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new ApiError(400, "the body is no UTF-8", { code: "invalid_json" });
  }
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (error) {
    throw new ApiError(400, `the body is no JSON: ${(error as Error).message}`, { code: "invalid_json" });
  }
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.flatMap((issue) => problemsOf(issue, body));
  const { code, param } = problems[0]!;
  const more = param === "" ? { code } : { code, param };
  throw new ApiError(400, problems.map(({ text }) => text).join("; "), more);
}

interface Problem {
  readonly code: "unknown_field" | "missing_field" | "invalid_value";
  readonly param: string;
  readonly text: string;
}

function problemsOf(given: z.core.$ZodIssue, body: unknown): Problem[] {
  const issue = given.code === "invalid_union" ? closest(given) : given;
  const param = fieldName(issue.path);
  if (issue.code === "unrecognized_keys") {
    const names = issue.keys.map((key) => fieldName([...issue.path, key]));
    return names.map((name) => ({ code: "unknown_field", param: name, text: `unknown field \`${name}\`` }));
  }
  if (issue.path.length > 0 && valueAt(body, issue.path) === undefined) {
    return [{ code: "missing_field", param, text: `\`${param}\` is missing` }];
  }
  const where = param === "" ? "the body" : `\`${param}\``;
  const message = issue.code === "invalid_key" ? issue.issues[0]!.message : issue.message;
  const what = message.replace(/^Invalid input: /, "").replace(/^[A-Z]/, (letter) => letter.toLowerCase());
  return [{ code: "invalid_value", param, text: `${where}: ${what}` }];
}

/** Of a value that may have one of several forms: what is wrong with the form that it comes closest to. */
function closest({ errors, path }: z.core.$ZodIssueInvalidUnion): z.core.$ZodIssue {
  const all = errors.flat();
  const inside = all.toSorted((a, b) => b.path.length - a.path.length)[0]!;
  if (inside.path.length > 0) return { ...inside, path: [...path, ...inside.path] };
  const other = all.find(({ code }) => code !== "invalid_type");
  if (other !== undefined) return { ...other, path: [...path] };
  const expected = [...new Set(all.flatMap((issue) => (issue.code === "invalid_type" ? [issue.expected] : [])))];
  return {
    ...inside,
    path: [...path],
    message: inside.message.replace(/expected \w+/, `expected ${expected.join(" or ")}`),
  };
}

function valueAt(body: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], body);
}

/** `messages[0].content` */
function fieldName(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === "number") return `${text}[${key}]`;
    return text === "" ? String(key) : `${text}.${String(key)}`;
  }, "");
}
