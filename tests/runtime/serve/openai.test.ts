/** The API as OpenAI's own client sees it. */
import OpenAI from "openai";
import { afterAll, describe, expect, test } from "vitest";
import { tinyTokenizer } from "../../support/tiny-tokenizer.ts";
import { tinyV3, tinyV3OnCpu } from "../../support/tiny-v3.ts";
import { startTiny, TINY_MODEL } from "../../support/tiny-server.ts";

const session = await tinyV3OnCpu(tinyV3());
const server = await startTiny({}, {}, session);
const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
const tokenizer = tinyTokenizer();
const model = TINY_MODEL;
const messages = [{ role: "user" as const, content: "Hello there" }];
const prompt = "Once upon a time";

afterAll(async () => {
  await server.drain(0);
  session.close();
});

describe("chat completions", () => {
  test("answer with one message and usage", async () => {
    const answer = await client.chat.completions.create({ model, messages, max_tokens: 12, temperature: 0 });
    expect(answer).toMatchObject({
      id: expect.stringMatching(/^chatcmpl-/) as string,
      object: "chat.completion",
      model,
      choices: [{ index: 0, message: { role: "assistant", refusal: null }, logprobs: null, finish_reason: "length" }],
      usage: {
        prompt_tokens: 14,
        completion_tokens: 12,
        total_tokens: 26,
        prompt_tokens_details: { cached_tokens: 0 },
      },
    });
    expect(Math.abs(answer.created - Date.now() / 1000)).toBeLessThan(60);
    expect(answer.choices[0]!.message.content!.length).toBeGreaterThan(0);
  });

  test("stream the same text in chunks, with usage at the end when it is asked for", async () => {
    const body = { model, messages, max_tokens: 30, temperature: 1, seed: 5 };
    const whole = await client.chat.completions.create(body);
    const stream = await client.chat.completions.create({
      ...body,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    const text = chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("");
    expect(text).toBe(whole.choices[0]!.message.content);
    expect(chunks[0]!.choices[0]).toMatchObject({
      index: 0,
      delta: { role: "assistant", content: "" },
      finish_reason: null,
    });
    expect(chunks.at(-2)!.choices[0]).toMatchObject({ delta: {}, finish_reason: "length" });
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 30 } });
    expect(chunks.slice(0, -1).every(({ usage }) => usage === null)).toBe(true);
    expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
    expect(chunks.every(({ object }) => object === "chat.completion.chunk")).toBe(true);
    expect(chunks.length).toBeGreaterThan(10);
  });

  test("without include_usage no chunk has it", async () => {
    const stream = await client.chat.completions.create({ model, messages, max_tokens: 3, stream: true });
    for await (const chunk of stream) {
      expect(chunk).not.toHaveProperty("usage");
      expect(chunk.choices.length).toBe(1);
    }
  });

  test("n answers differ and are the same again with the same seed", async () => {
    const body = { model, messages, max_tokens: 10, n: 3, seed: 11, temperature: 1.2 };
    const texts = async (): Promise<(string | null)[]> => {
      const { choices, usage } = await client.chat.completions.create(body);
      expect(choices.map(({ index }) => index)).toEqual([0, 1, 2]);
      expect(usage).toMatchObject({ prompt_tokens: 14, completion_tokens: 30 });
      return choices.map(({ message }) => message.content);
    };
    const first = await texts();
    expect(new Set(first).size).toBe(3);
    expect(await texts()).toEqual(first);
    const stream = await client.chat.completions.create({ ...body, stream: true });
    const streamed = ["", "", ""];
    for await (const { choices } of stream) streamed[choices[0]!.index]! += choices[0]!.delta.content ?? "";
    expect(streamed).toEqual(first);
  });

  test("log-probabilities of tokens and alternatives", async () => {
    const { choices } = await client.chat.completions.create({
      model,
      messages,
      max_tokens: 6,
      temperature: 0,
      logprobs: true,
      top_logprobs: 3,
    });
    const { content } = choices[0]!.logprobs!;
    expect(content!.length).toBe(6);
    for (const { token, logprob, bytes, top_logprobs: top } of content!) {
      expect(top.length).toBe(3);
      expect(top[0]).toMatchObject({ token, logprob });
      expect(top[1]!.logprob).toBeGreaterThanOrEqual(top[2]!.logprob);
      expect(logprob).toBeLessThan(0);
      expect(bytes!.length).toBeGreaterThan(0);
    }
    const { choices: plain } = await client.chat.completions.create({ model, messages, max_tokens: 2, logprobs: true });
    expect(plain[0]!.logprobs!.content![0]!.top_logprobs).toEqual([]);
  });

  test("messages in parts, and the answer of the assistant as part of the next question", async () => {
    const first = await client.chat.completions.create({ model, messages, max_tokens: 4, temperature: 0 });
    const parts = [
      { type: "text" as const, text: "Hello " },
      { type: "text" as const, text: "there" },
    ];
    const next = await client.chat.completions.create({
      model,
      messages: [{ role: "user", content: parts }, first.choices[0]!.message, { role: "user", content: "go on" }],
      max_tokens: 1,
    });
    const answered = tokenizer.encode(first.choices[0]!.message.content!).length;
    expect(next.usage!.prompt_tokens).toBe(14 + answered + 1 + 5 + 1);
  });
});

describe("completions", () => {
  test("answer with text", async () => {
    const answer = await client.completions.create({ model, prompt, temperature: 0 });
    expect(answer).toMatchObject({
      id: expect.stringMatching(/^cmpl-/) as string,
      object: "text_completion",
      model,
      choices: [{ index: 0, logprobs: null, finish_reason: "length" }],
      // The prompt begins as documents do.
      usage: { prompt_tokens: prompt.length + 1, completion_tokens: 16 },
    });
  });

  test("to several prompts, as text or tokens, and streams give the same", async () => {
    const tokens = [0, ...tokenizer.encode(prompt)];
    const body = { model, max_tokens: 8, temperature: 0 };
    const [asText, asTokens, both] = await Promise.all([
      client.completions.create({ ...body, prompt }),
      client.completions.create({ ...body, prompt: tokens }),
      client.completions.create({ ...body, prompt: [tokens, [3, 4, 5]], n: 2 }),
    ]);
    expect(asTokens.choices).toEqual(asText.choices);
    expect(both.choices.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
    expect(both.choices[0]!.text).toBe(asText.choices[0]!.text);
    expect(both.choices[1]!.text).toBe(asText.choices[0]!.text);
    expect(both.usage).toMatchObject({ prompt_tokens: tokens.length + 3, completion_tokens: 32 });
    let text = "";
    for await (const { choices } of await client.completions.create({ ...body, prompt, stream: true }))
      text += choices[0]!.text;
    expect(text).toBe(asText.choices[0]!.text);
  });

  test("stop strings end the answer and are no part of it, also when they come in pieces", async () => {
    const body = { model, prompt, max_tokens: 40, temperature: 0 };
    const { text } = (await client.completions.create(body)).choices[0]!;
    const stop = text.slice(9, 13);
    const at = text.indexOf(stop);
    const [stopped] = (await client.completions.create({ ...body, stop })).choices;
    expect(stopped).toMatchObject({ text: text.slice(0, at), finish_reason: "stop" });
    let streamed = "";
    for await (const { choices } of await client.completions.create({ ...body, stop: ["never", stop], stream: true }))
      streamed += choices[0]!.text;
    expect(streamed).toBe(text.slice(0, at));
  });

  test("stop tokens, the end of the text among them unless it is ignored", async () => {
    const body = { model, prompt, max_tokens: 12, temperature: 0, logprobs: 0 };
    const { choices } = await client.completions.create(body);
    const [third] = tokenizer.encode(choices[0]!.logprobs!.tokens![2]!);
    const extra = { stop_token_ids: [third!] };
    const stopped = await client.completions.create({ ...body, ...extra });
    expect(stopped.choices[0]!.finish_reason).toBe("stop");
    expect(stopped.usage!.completion_tokens).toBe(
      choices[0]!.logprobs!.tokens!.indexOf(choices[0]!.logprobs!.tokens![2]!) + 1,
    );
    const ends = { ...body, logit_bias: { 1: 100 } };
    expect((await client.completions.create(ends)).choices[0]).toMatchObject({ text: "", finish_reason: "stop" });
    const ignores = { ...ends, ignore_eos: true };
    const ignored = await client.completions.create(ignores);
    expect(ignored.choices[0]).toMatchObject({ text: "", finish_reason: "length" });
  });

  test("echo, log-probabilities", async () => {
    const echoed = await client.completions.create({ model, prompt, max_tokens: 3, temperature: 0, echo: true });
    expect(echoed.choices[0]!.text.startsWith(prompt)).toBe(true);
    const { choices } = await client.completions.create({ model, prompt, max_tokens: 5, temperature: 0, logprobs: 2 });
    const logprobs = choices[0]!.logprobs!;
    expect(logprobs.tokens!.length).toBe(5);
    expect(logprobs.text_offset![0]).toBe(0);
    logprobs.top_logprobs!.forEach((top, i) => {
      expect(top[logprobs.tokens![i]!]).toBe(logprobs.token_logprobs![i]);
      expect(Math.max(...Object.values(top))).toBe(logprobs.token_logprobs![i]);
    });
  });

  test("every kind of sampling is the same alone and beside others", async () => {
    const bodies = [
      { temperature: 1, seed: 1 },
      { temperature: 0.8, top_p: 0.9, seed: 2, frequency_penalty: 0.5 },
      { temperature: 1.3, seed: 3, presence_penalty: 1, logit_bias: { 20: 3 } },
      { temperature: 1, seed: 4, top_k: 7, min_p: 0.01, repetition_penalty: 1.2 },
    ].map((body) => ({ model, prompt, max_tokens: 20, ...body }));
    const alone: string[] = [];
    for (const body of bodies) alone.push((await client.completions.create(body)).choices[0]!.text);
    const together = await Promise.all(bodies.map((body) => client.completions.create(body)));
    expect(together.map(({ choices }) => choices[0]!.text)).toEqual(alone);
    expect(new Set(alone).size).toBe(4);
  });
});

test("models", async () => {
  const { data } = await client.models.list();
  expect(data).toEqual([{ id: model, object: "model", created: data[0]!.created, owned_by: "dskc" }]);
  expect(await client.models.retrieve(model)).toMatchObject({ id: model });
  await expect(client.models.retrieve("gpt-9")).rejects.toThrow(OpenAI.NotFoundError);
});
