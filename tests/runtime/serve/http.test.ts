/** What the server does with bad requests, load, clients that leave, and its own end. */
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, test } from "vitest";
import { tinyV3, tinyV3OnCpu, tinyV3Session } from "../../support/tiny-v3.ts";
import type { Session } from "../../../runtime/device/session.ts";
import type { EngineOptions } from "../../../runtime/serve/engine/options.ts";
import type { ServerOptions } from "../../../runtime/serve/http/server.ts";
import { startTiny, type TinyServer, TINY_MODEL } from "../../support/tiny-server.ts";

const model = TINY_MODEL;
const CONNECTIONS = Number(process.env["DSKC_CONNECTIONS"] ?? 1000);
const open: TinyServer[] = [];
const tiny = tinyV3();
const onCpu = await tinyV3OnCpu(tiny);
/** Slow enough that there is time to do something in the middle of an answer. */
const interpreted = tinyV3Session(tiny);
/** Servers of this file are busy one after the other. */
const start = async (
  engine: Partial<EngineOptions> = {},
  options: Partial<ServerOptions> = {},
  session: Session = onCpu,
): Promise<TinyServer> => {
  const server = await startTiny(engine, options, session);
  open.push(server);
  return server;
};
afterAll(async () => {
  await Promise.all(open.map((server) => server.drain(0)));
  onCpu.close();
});

interface Failure {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string;
  };
}

function post(server: TinyServer, path: string, body: unknown, init: RequestInit = {}): Promise<Response> {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return fetch(`${server.url}${path}`, { method: "POST", body: text, ...init });
}

async function failure(response: Response): Promise<Failure["error"] & { status: number }> {
  return { status: response.status, ...((await response.json()) as Failure).error };
}

const complete = (server: TinyServer, body: object, init?: RequestInit): Promise<Response> =>
  post(server, "/v1/completions", { model, prompt: "abc", max_tokens: 4, ...body }, init);

/** Until nothing runs or waits. */
async function idle({ engine }: TinyServer): Promise<void> {
  for (let i = 0; i < 400 && engine.running + engine.waiting > 0; i++) await sleep(10);
}

describe("bad requests", async () => {
  const server = await start({ context: 64 });

  test.each<[object, string, string]>([
    [{ temprature: 1 }, "unknown_field", "unknown field `temprature`"],
    [{ a: 1, b: 2 }, "unknown_field", "unknown field `a`; unknown field `b`"],
    [{ temperature: "hot" }, "invalid_value", "`temperature`: expected number, received string"],
    [{ temperature: 3 }, "invalid_value", "`temperature`: too big: expected number to be <=2"],
    [{ top_p: -0.1 }, "invalid_value", "`top_p`: too small: expected number to be >=0"],
    [{ n: 1.5 }, "invalid_value", "`n`: expected int, received number"],
    [{ n: 0 }, "invalid_value", "`n`: too small: expected number to be >=1"],
    [{ max_tokens: 0 }, "invalid_value", "`max_tokens`: too small: expected number to be >=1"],
    [{ stop: 5 }, "invalid_value", "`stop`: expected string or array, received number"],
    [{ prompt: undefined }, "missing_field", "`prompt` is missing"],
    [{ prompt: ["a", 1] }, "invalid_value", "`prompt[1]`: expected string, received number"],
    [{ prompt: [1, 400] }, "null", "the prompt has the token 400; the model has tokens 0 to 159"],
    [{ logit_bias: { 400: 1 } }, "null", "`logit_bias` has the token 400; the model has tokens 0 to 159"],
    [{ logit_bias: { x: 1 } }, "invalid_value", "`logit_bias.x`: tokens are named by their numbers"],
    [{ stream_options: { usage: true } }, "unknown_field", "unknown field `stream_options.usage`"],
    [
      { n: 128, prompt: ["a", "b", "c"] },
      "too_many_answers",
      "the request asks for 384 answers, and the server takes 320 at most",
    ],
    [{ echo: true, logprobs: 1 }, "unsupported", "`echo` with `logprobs` is not supported"],
  ])("%j", async (body, code, message) => {
    const error = await failure(await complete(server, body));
    expect(error).toMatchObject({ status: 400, type: "invalid_request_error", message });
    expect(String(error.code)).toBe(code);
  });

  test.each<[object, string, string | null]>([
    [{ messages: [] }, "`messages`: too small: expected array to have >=1 items", "messages"],
    [{ messages: [{ role: "user" }] }, "`messages[0].content` is missing", "messages[0].content"],
    [
      { messages: [{ role: "user", content: [{ type: "image_url", text: "" }] }] },
      '`messages[0].content[0].type`: expected "text"',
      "messages[0].content[0].type",
    ],
    [
      { messages: [{ role: "wizard", content: "" }] },
      "the chat template does not take these messages: no role wizard",
      "messages",
    ],
    [
      { messages: [{ role: "user", content: "" }], top_logprobs: 2 },
      "`top_logprobs` needs `logprobs: true`",
      "top_logprobs",
    ],
    [{ messages: [{ role: "user", content: "" }], tools: [] }, "unknown field `tools`", "tools"],
  ])("of a chat: %j", async (body, message, param) => {
    const error = await failure(await post(server, "/v1/chat/completions", { model, ...body }));
    expect(error).toMatchObject({ status: 400, message, param });
  });

  test("a body that is no JSON, or no object", async () => {
    expect(await failure(await post(server, "/v1/completions", '{"model": '))).toMatchObject({
      status: 400,
      code: "invalid_json",
      message: expect.stringMatching(/^the body is no JSON: Unexpected end/) as string,
    });
    const latin1 = Buffer.from(JSON.stringify({ model, prompt: "é" }), "latin1");
    const sent = await fetch(`${server.url}/v1/completions`, { method: "POST", body: latin1 });
    expect(await failure(sent)).toMatchObject({ status: 400, message: "the body is no UTF-8" });
    expect(await failure(await post(server, "/v1/completions", "[]"))).toMatchObject({
      status: 400,
      message: "the body: expected object, received array",
    });
  });

  test("a prompt that is longer than the context is never cut", async () => {
    const long = "x".repeat(64);
    for (const body of [{ prompt: long }, { prompt: long, stream: true }, { prompt: "x".repeat(60), max_tokens: 4 }]) {
      expect(await failure(await complete(server, body))).toMatchObject({
        status: 400,
        code: "context_length_exceeded",
      });
    }
    // To the last token: the beginning, 59 of text, 4 of the answer.
    const fits = await complete(server, { prompt: "x".repeat(59), max_tokens: 4, ignore_eos: true });
    expect(await fits.json()).toMatchObject({ usage: { total_tokens: 64 } });
    // An answer without a limit ends with the context.
    const chat = { model, messages: [{ role: "user", content: "x" }], temperature: 0, ignore_eos: true };
    expect(await (await post(server, "/v1/chat/completions", chat)).json()).toMatchObject({
      choices: [{ finish_reason: "length" }],
      usage: { total_tokens: 64 },
    });
  });

  test("a model, a path or a method that is not there", async () => {
    expect(await failure(await complete(server, { model: "other" }))).toMatchObject({
      status: 404,
      code: "model_not_found",
      message: "there is no model `other`; this server has `tiny-v3`",
    });
    expect(await failure(await post(server, "/v1/embeddings", {}))).toMatchObject({
      status: 404,
      message: "there is no POST /v1/embeddings",
    });
    const got = await fetch(`${server.url}/v1/completions`);
    expect(got.headers.get("allow")).toBe("POST");
    expect(await failure(got)).toMatchObject({ status: 405 });
  });

  test("a body that is too large", async () => {
    const small = await start({}, { maxBody: 1000 });
    const big = JSON.stringify({ model, prompt: "x".repeat(1000) });
    expect(await failure(await post(small, "/v1/completions", big))).toMatchObject({ status: 413 });
    const streamed = new Blob([big]).stream();
    const init = { method: "POST", body: streamed, duplex: "half" } as RequestInit;
    expect(await failure(await fetch(`${small.url}/v1/completions`, init))).toMatchObject({ status: 413 });
  });
});

test("an API key is needed where one is set, and nowhere else", async () => {
  const server = await start({}, { apiKey: "sesame" });
  expect(await failure(await complete(server, {}))).toMatchObject({ status: 401, code: "invalid_api_key" });
  const as = (key: string): RequestInit => ({ headers: { authorization: `Bearer ${key}` } });
  expect(await failure(await complete(server, {}, as("sesam")))).toMatchObject({ status: 401 });
  expect((await complete(server, {}, as("sesame"))).status).toBe(200);
  expect((await fetch(`${server.url}/v1/models`)).status).toBe(401);
  expect((await fetch(`${server.url}/health`)).status).toBe(200);
});

test("pages of this machine may use the API, others when they are named", async () => {
  const server = await start({}, { origins: ["https://chat.example.org"] });
  const allowed = async (origin: string): Promise<string | null> => {
    const headers = { origin, "access-control-request-method": "POST" };
    const asked = await fetch(`${server.url}/v1/completions`, { method: "OPTIONS", headers });
    const answered = await complete(server, { n: 0 }, { headers: { origin } });
    const name = "access-control-allow-origin";
    expect(answered.headers.get(name)).toBe(asked.headers.get(name));
    return asked.headers.get(name);
  };
  expect(await allowed("http://localhost:5173")).toBe("http://localhost:5173");
  expect(await allowed("https://chat.example.org")).toBe("https://chat.example.org");
  expect(await allowed("https://evil.example.org")).toBeNull();
});

describe("load", () => {
  test("a full queue is told with 429 and when to come back, and what was taken is answered", async () => {
    const server = await start({ maxRunning: 2, maxWaiting: 3 });
    const responses = await Promise.all(Array.from({ length: 12 }, () => complete(server, { max_tokens: 20 })));
    const refused = responses.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThan(0);
    expect(responses.filter(({ status }) => status === 200).length).toBe(12 - refused.length);
    expect(Number(refused[0]!.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    expect(await failure(refused[0]!)).toMatchObject({ type: "rate_limit_error", code: "queue_full" });
    // All answers of a request or none; more than there is ever room for are no reason to come back.
    expect((await complete(server, { n: 6 })).status).toBe(400);
    expect((await complete(server, { n: 5 })).status).toBe(200);
    expect([server.engine.running, server.engine.waiting]).toEqual([0, 0]);
  });

  test("a request that takes too long ends", async () => {
    const server = await start({}, { timeout: 60 }, interpreted);
    const late = await complete(server, { max_tokens: 500, ignore_eos: true });
    expect(await failure(late)).toMatchObject({ status: 504, code: "timeout" });
    const stream = await (await complete(server, { max_tokens: 500, ignore_eos: true, stream: true })).text();
    expect(stream).toContain('"code":"timeout"');
    expect(stream).not.toContain("[DONE]");
    expect(server.engine.pages.held).toBe(0);
  });

  test("clients that leave free their pages, streams and others", async () => {
    const server = await start({}, {}, interpreted);
    for (const stream of [true, false]) {
      const leaving = new AbortController();
      const request = complete(server, { max_tokens: 900, ignore_eos: true, stream }, { signal: leaving.signal });
      const response = stream ? await request : undefined;
      while (server.engine.counts.generatedTokens === 0 || server.engine.running === 0) await sleep(5);
      leaving.abort();
      await (stream ? response!.text() : request).catch(() => undefined);
      await idle(server);
      expect([server.engine.running, server.engine.waiting, server.engine.pages.held]).toEqual([0, 0, 0]);
    }
    // Long before the end.
    expect(server.engine.counts.generatedTokens).toBeLessThan(900);
  });

  test(`${CONNECTIONS} connections that come and go, some in the middle of a request`, async () => {
    const server = await start({ maxRunning: 16, maxWaiting: 1000 });
    const { port } = new URL(server.url);
    const body = JSON.stringify({ model, prompt: "abc", max_tokens: 3, stream: true });
    const request = `POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    let finished = 0;
    const visit = async (i: number): Promise<void> => {
      const socket = connect(Number(port), "127.0.0.1");
      socket.on("error", () => undefined);
      await once(socket, "connect");
      if (i % 5 === 0) socket.write(request.slice(0, (i * 13) % request.length));
      else if (i % 5 === 1) socket.write(request);
      else if (i % 50 === 2) {
        socket.write(request);
        for await (const data of socket) if (String(data).includes("[DONE]")) break;
        finished++;
      }
      socket.destroy();
    };
    for (let i = 0; i < CONNECTIONS; i += 100) await Promise.all(Array.from({ length: 100 }, (_, k) => visit(i + k)));
    expect(finished).toBe(CONNECTIONS / 50);
    await idle(server);
    expect([server.engine.running, server.engine.waiting, server.engine.pages.held]).toEqual([0, 0, 0]);
    expect((await complete(server, {})).status).toBe(200);
  }, 300_000);
});

test("a fault of the device is an error of the server, and the next request is answered", async () => {
  const server = await start();
  const { session } = server;
  const weight = await session.read("norm.weight");
  session.write("norm.weight", weight.slice().fill(NaN));
  expect(await failure(await complete(server, {}))).toMatchObject({
    status: 500,
    type: "server_error",
    message: "the model gave logits that are no numbers",
  });
  const stream = await (await complete(server, { stream: true })).text();
  expect(stream).toContain("logits that are no numbers");
  session.write("norm.weight", weight);
  expect((await complete(server, {})).status).toBe(200);
});

describe("draining", () => {
  test("streams go on to their end, new requests get 503, then everything is closed", async () => {
    const server = await start({}, {}, interpreted);
    const stream = await complete(server, { max_tokens: 40, ignore_eos: true, stream: true });
    const drained = server.drain(60_000);
    const refused = await complete(server, {});
    expect(await failure(refused)).toMatchObject({ status: 503, code: "draining" });
    expect((await fetch(`${server.url}/health`)).status).toBe(503);
    expect((await stream.text()).endsWith("data: [DONE]\n\n")).toBe(true);
    await drained;
    await expect(fetch(`${server.url}/health`)).rejects.toThrow("fetch failed");
  });

  test("after the deadline streams are ended with an error", async () => {
    const server = await start({}, {}, interpreted);
    const stream = await complete(server, { max_tokens: 900, ignore_eos: true, stream: true });
    const drained = server.drain(50);
    expect(await stream.text()).toContain("the server is shutting down");
    await drained;
    expect(server.engine.pages.held).toBe(0);
  });
});

test("/metrics counts requests, tokens and pages", async () => {
  const server = await start({}, {}, interpreted);
  await complete(server, { max_tokens: 5, prompt: "a prompt of some length" });
  await complete(server, { max_tokens: 5, prompt: "a prompt of some length", ignore_eos: true, stream: true }).then(
    (r) => r.text(),
  );
  await complete(server, { n: 0 });
  await post(server, "/v1/nothing", {});
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const value = (name: string): number => {
    const line = text.split("\n").find((l) => l.startsWith(`${name} `));
    return line === undefined ? NaN : Number(line.slice(name.length + 1));
  };
  expect(value('dskc_requests_total{endpoint="/v1/completions",status="200"}')).toBe(2);
  expect(value('dskc_requests_total{endpoint="/v1/completions",status="400"}')).toBe(1);
  expect(value('dskc_requests_total{endpoint="other",status="404"}')).toBe(1);
  expect(value("dskc_generated_tokens_total")).toBe(10);
  expect(value("dskc_cached_tokens_total")).toBe(16);
  expect(value("dskc_prompt_tokens_total")).toBe(24 + 8);
  expect(value("dskc_time_to_first_token_seconds_count")).toBe(2);
  expect(value("dskc_time_per_token_seconds_count")).toBe(8);
  expect(value("dskc_cache_pages")).toBe(128);
  expect(value("dskc_cache_pages_used")).toBe(0);
  expect(value("process_resident_memory_bytes")).toBeGreaterThan(1e6);
});
