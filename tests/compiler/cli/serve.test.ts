import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { saveTokenizer } from "../../../runtime/data/tokenizer/load.ts";
import { fixtureTensors } from "../../support/fixture.ts";
import { tinyTokenizerFiles } from "../../support/tiny-tokenizer.ts";

vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const DSKC = resolve("bin/dskc.js");
const SPEC = resolve("tests/fixtures/deepseek-v3-tiny.dsk");
const folder = mkdtempSync(join(tmpdir(), "dskc-serve-"));
const weights = join(folder, "weights");

beforeAll(() => {
  for (const file of ["a1_v3_plain/model.safetensors", "e1_v3_mtp/mtp.safetensors"])
    cpSync(resolve("tests/fixtures/models", file), join(weights, file.split("/")[1]!), { recursive: true });
  saveTokenizer(weights, tinyTokenizerFiles());
  const section = `
serve Local for TinyV3 {
  weights = safetensors("weights")
  api     = openai(port: 0)
  context = 200 tokens
  kv      = paged(page: 8 tokens)
  draft   = mtp()
  sample  = greedy()
}
`;
  const text = readFileSync(SPEC, "utf8");
  writeFileSync(join(folder, "model.dsk"), text + section);
});
afterAll(() => rmSync(folder, { recursive: true }));

interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function dskc(...args: string[]): Ran {
  const env = { ...process.env, NO_COLOR: "1" };
  return spawnSync(process.execPath, [DSKC, ...args], { cwd: folder, encoding: "utf8", env });
}

describe("generate", () => {
  const io = fixtureTensors("a1_v3_plain", "io.safetensors");

  test.each([["cpu"], ["reference"]])("continues rows of tokens as the fixture does, on %s", (device) => {
    const prompt = io("greedy.prompt").data;
    writeFileSync(join(folder, "rows.json"), JSON.stringify({ tokens: [prompt, [5, 6], prompt] }));
    const { status, stdout } = dskc(
      "generate",
      "model.dsk",
      "--tokens",
      "rows.json",
      "--max-tokens",
      "16",
      "--device",
      device,
    );
    expect(status).toBe(0);
    const { tokens } = JSON.parse(stdout) as { tokens: number[][] };
    expect(tokens[0]).toEqual(io("greedy.tokens").data);
    expect(tokens[2]).toEqual(tokens[0]);
    expect(tokens[1]!.length).toBe(16);
  });

  test("continues a text, the same with a seed, and ends at a stop text or with the context", () => {
    const draw = ["--temperature", "1", "--seed", "4", "--ignore-eos"];
    const { status, stdout, stderr } = dskc(
      "generate",
      "model.dsk",
      "--prompt",
      "Once upon",
      "--max-tokens",
      "30",
      ...draw,
    );
    expect(status).toBe(0);
    expect(stderr).toMatch(
      /^10 \+ 30 tokens, the first after \d+\.\d\d s, \d+\.\d tokens\/s, \d+ % of \d+ guesses right\n$/m,
    );
    expect(
      dskc("generate", "model.dsk", "--prompt", "Once upon", "--max-tokens", "30", ...draw, "--no-draft").stdout,
    ).toBe(stdout);
    const stop = stdout.slice(5, 8);
    const cut = dskc("generate", "model.dsk", "--prompt", "Once upon", "--max-tokens", "30", ...draw, "--stop", stop);
    expect(cut.stdout).toBe(`${stdout.slice(0, stdout.indexOf(stop))}\n`);
    expect(dskc("generate", "model.dsk", "--prompt", "Hello", "--chat", "--ignore-eos").stderr).toContain(
      "8 + 192 tokens",
    );
  });

  test("weights with a NaN are named", () => {
    const bytes = readFileSync(join(weights, "model.safetensors"));
    const header = Number(bytes.readBigUInt64LE(0));
    const tensors = JSON.parse(bytes.toString("utf8", 8, 8 + header)) as Record<
      string,
      { data_offsets: [number, number] }
    >;
    bytes.writeFloatLE(NaN, 8 + header + tensors["model.norm.weight"]!.data_offsets[0] + 12);
    mkdirSync(join(folder, "bad"));
    writeFileSync(join(folder, "bad", "model.safetensors"), bytes);
    expect(dskc("generate", "model.dsk", "--weights", "bad", "--prompt", "x", "--tokenizer", "weights")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("`bad`: `norm.weight` has a value that is not finite, at element 3") as string,
    });
  });

  test("says what is wrong", () => {
    expect(dskc("generate", "model.dsk")).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("--prompt and --tokens") as string,
    });
    expect(dskc("generate", "model.dsk", "Locla", "--prompt", "x")).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("did you mean `Local`") as string,
    });
    expect(dskc("generate", SPEC, "--prompt", "x")).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("use --weights") as string,
    });
    expect(dskc("generate", "model.dsk", "--prompt", "x", "--weights", "nowhere")).toMatchObject({ status: 1 });
    expect(dskc("generate", "model.dsk", "--prompt", "x".repeat(300))).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("the context is 200 tokens") as string,
    });
    expect(dskc("generate", "model.dsk", "--prompt", "x", "--temperature", "hot")).toMatchObject({ status: 2 });
    expect(dskc("generate", "model.dsk", "--prompt", "x", "--tokenizer", ".")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("--tokenizer") as string,
    });
  });
});

describe("serve", () => {
  const children: ChildProcess[] = [];
  afterAll(() => children.forEach((child) => child.kill("SIGKILL")));

  function serve(...args: string[]): Promise<{ child: ChildProcess; url: string }> {
    const child = spawn(process.execPath, [DSKC, "serve", "model.dsk", ...args], {
      cwd: folder,
      stdio: ["ignore", "inherit", "pipe"],
    });
    children.push(child);
    let text = "";
    return new Promise((done, failed) => {
      child.on("exit", () => failed(new Error(`dskc serve ended: ${text}`)));
      child.stderr!.on("data", (data) => {
        text += String(data);
        const url = /http:\/\/\S+:\d+/.exec(text)?.[0];
        if (url !== undefined) done({ child, url });
      });
    });
  }

  const post = (url: string, body: object): Promise<Response> =>
    fetch(`${url}/v1/completions`, { method: "POST", body: JSON.stringify({ model: "TinyV3", ...body }) });

  test("SIGTERM while streaming: the stream goes on to its end, new requests are refused, then it ends", async () => {
    const { child, url } = await serve();
    expect(await (await fetch(url)).text()).toContain("<title>");
    const exited = once(child, "exit");
    // Slow enough to be there when the signal comes.
    const streams = Array.from({ length: 40 }, () =>
      post(url, { prompt: "ab", max_tokens: 190, ignore_eos: true, stream: true }),
    );
    const [first, ...others] = await Promise.all(streams);
    child.kill("SIGTERM");
    let refused = 200;
    while (refused === 200) refused = (await fetch(`${url}/health`).catch(() => ({ status: 503 }))).status;
    expect(refused).toBe(503);
    const texts = await Promise.all([first!, ...others].map((response) => response.text()));
    for (const text of texts) expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
    expect(new Set(texts.map((text) => text.replaceAll(/"id":"[^"]*"|"created":\d+/g, ""))).size).toBe(1);
    expect(await exited).toEqual([0, null]);
  });

  test("follows its section: greedy, drafts, the context", async () => {
    const { child, url } = await serve("--name", "tiny", "--api-key", "k");
    const ask = { model: "tiny", messages: [{ role: "user", content: "hi" }], max_tokens: 20 };
    const headers = { authorization: "Bearer k" };
    const chat = (): Promise<unknown> =>
      fetch(`${url}/v1/chat/completions`, { method: "POST", body: JSON.stringify(ask), headers }).then((r) => r.json());
    const content = ((await chat()) as { choices: unknown[] }).choices;
    expect(((await chat()) as { choices: unknown[] }).choices).toEqual(content);
    const health = (await (await fetch(`${url}/health`)).json()) as object;
    expect(health).toMatchObject({ model: "tiny", talks: true, defaults: { temperature: 0 } });
    expect(await (await fetch(`${url}/metrics`)).text()).toMatch(/^dskc_drafted_tokens_total [1-9]/m);
    expect((await post(url, { prompt: "x" })).status).toBe(401);
    const exited = once(child, "exit");
    child.kill("SIGINT");
    expect(await exited).toEqual([0, null]);
  });

  test("goes on when nobody reads its remarks", async () => {
    const probe = createServer().listen(0, "127.0.0.1");
    await once(probe, "listening");
    const { port } = probe.address() as { port: number };
    await new Promise((done) => probe.close(done));
    const child = spawn(process.execPath, [DSKC, "serve", "model.dsk", "--port", String(port)], { cwd: folder });
    children.push(child);
    child.stderr.destroy();
    const healthy = (): Promise<boolean> =>
      fetch(`http://127.0.0.1:${port}/health`).then(
        ({ ok }) => ok,
        () => false,
      );
    while (child.exitCode === null && !(await healthy())) await new Promise((done) => setTimeout(done, 50));
    const exited = once(child, "exit");
    child.kill("SIGTERM");
    expect(await exited).toEqual([0, null]);
  });

  test("a port that is taken", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const { port } = taken.address() as { port: number };
    const child = spawn(process.execPath, [DSKC, "serve", "model.dsk", "--port", String(port)], { cwd: folder });
    let text = "";
    for await (const data of child.stderr) text += String(data);
    expect(text).toContain(`cannot listen: listen EADDRINUSE: address already in use 127.0.0.1:${port}`);
    expect(child.exitCode ?? (await once(child, "exit"))[0]).toBe(1);
    taken.close();
  });
});
