import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Model, openPackage } from "dskc/runtime";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { trainPlan } from "../../../compiler/cli/train-plan.ts";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import { modelFile } from "../../../compiler/package/model.ts";
import { trainingPlan } from "../../../compiler/package/training-plan.ts";
import { referenceSession } from "../../../compiler/reference/session.ts";
import { checkFile } from "../../../dsl/semantics/check.ts";
import { Checkpoint } from "../../../runtime/io/safetensors/read.ts";
import { TrainingClock } from "../../../runtime/train/clock.ts";
import { initialize } from "../../../runtime/train/init.ts";
import { Trainer } from "../../../runtime/train/trainer.ts";
import { PICO, type PicoPackage, picoPackage } from "../../support/pico-package.ts";
import { tinyTokenizer } from "../../support/tiny-tokenizer.ts";

// Kernels are compiled here when nobody did it before.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const ROWS = ["the quick brown fox", "jumps over", "the lazy dog, and again over the lazy dog"];
const opened: Model[] = [];
let pico: PicoPackage;
let weights: string;

async function open(options: Parameters<typeof openPackage>[1] = {}): Promise<Model> {
  const model = await openPackage(pico.directory, options);
  opened.push(model);
  return model;
}

beforeAll(async () => {
  pico = picoPackage();
  weights = join(pico.folder, "learned");
  const trainer = await (await open()).trainer("Short");
  for (let i = 0; i < 5; i++) await trainer.step(ROWS);
  await trainer.save(weights);
});
afterEach(async () => {
  for (const model of opened.splice(0)) await model.close();
});
afterAll(() => rmSync(pico.folder, { recursive: true }));

/** The likeliest next token after each prefix, by scores alone. */
async function greedy(model: Model, prompt: readonly number[], count: number): Promise<number[]> {
  const tokens = [...prompt];
  for (let i = 0; i < count; i++) {
    const { logits } = (await model.score([tokens])).rows[0]!;
    const last = logits.subarray(-model.vocabulary);
    tokens.push(last.indexOf(Math.max(...last)));
  }
  return tokens.slice(prompt.length);
}

describe("a package without weights", () => {
  test("says so, and is trained", async () => {
    const model = await open();
    await expect(model.generate("x").text()).rejects.toThrow("Pico has no weights yet: give `weights`, or train it");
    await expect(model.score(["x"])).rejects.toThrow("Pico has no weights yet");
    const trainer = await model.trainer("Short");
    await trainer.step(ROWS);
    await trainer.publish();
    expect(await model.generate("x", { maxTokens: 3, ignoreEos: true }).tokens()).toHaveLength(3);
  });
});

describe("a trainer", () => {
  test("makes the steps of the section, as the interpreter does", async () => {
    const trainer = await (await open()).trainer("Short", { metrics: ["trunk.0.ffn.load"] });
    const { models, sections } = checkFile({ path: "pico.dsk", text: PICO }, new Diagnostics());
    const checked = models.get("Pico")!;
    const section = sections.all.find(({ kind }) => kind === "train")!;
    const plan = trainingPlan(section, checked, new Diagnostics())!;
    const step = trainPlan(section, checked.training());
    const session = referenceSession(checked.module, { module: checked.training().module, plan: step });
    initialize(session, modelFile(checked.training().module, undefined, step), plan.seed);
    const exact = new Trainer(session, plan, Infinity, ["trunk.0.ffn.load"]);
    const clock = new TrainingClock(plan, Infinity);
    const tokenizer = tinyTokenizer();
    const sequences = ROWS.map((row) => {
      const tokens = Int32Array.from([tokenizer.bos!, ...tokenizer.encode(row), tokenizer.eos!]);
      return [{ length: tokens.length, tokens }];
    });
    for (let i = 0; i < 3; i++) {
      const [own, wanted] = [await trainer.step(ROWS), await exact.step(sequences, clock)];
      clock.advance({ ...wanted, epochs: 0 });
      expect(own.loss).toBeCloseTo(wanted.loss, 4);
      expect(own.losses["mtp"]).toBeCloseTo(wanted.losses["mtp"]!, 4);
      expect(own.gradNorm).toBeCloseTo(wanted.gradNorm, 4);
      expect(own.scalars).toEqual(wanted.scalars);
      expect(own.metrics["trunk.0.ffn.load"]).toEqual(wanted.metrics["trunk.0.ffn.load"]);
    }
    expect(trainer.steps).toBe(3);
  });

  test("publishes: answers and scores are made with what was learned, and the next trainer goes on there", async () => {
    const model = await open({ weights });
    const before = await model.score(ROWS);
    const trainer = await model.trainer("Short");
    expect((await trainer.evaluate(["the quick brown fox"])).loss).toBeLessThan(Math.log(160));
    for (let i = 0; i < 2; i++) await trainer.step(ROWS);
    expect((await model.score(ROWS)).loss).toBe(before.loss);
    const answer = model.generate("the", { maxTokens: 40, ignoreEos: true });
    const reading = answer.tokens();
    await trainer.publish();
    const after = await model.score(ROWS);
    expect(after.loss).toBeLessThan(before.loss);
    expect(await reading).toHaveLength(40);
    await trainer.save(join(pico.folder, "later"));
    const later = await open({ weights: join(pico.folder, "later") });
    expect((await later.score(ROWS)).loss).toBe(after.loss);
    const other = await model.trainer("Short");
    expect((await other.evaluate(["over"])).loss).toBe((await trainer.evaluate(["over"])).loss);
    expect(model.memory().trainers).toHaveLength(2);
    trainer.close();
    expect(model.memory().trainers).toHaveLength(1);
  });

  test("what answers have no use for is learned on as well: look-ahead modules where nothing is guessed", async () => {
    const model = await open({ weights, draftTokens: 0 });
    const first = await model.trainer("Short");
    await first.step(ROWS);
    await first.publish();
    await first.save(join(pico.folder, "first"));
    await (await model.trainer("Short")).save(join(pico.folder, "second"));
    const [a, b] = ["first", "second"].map((name) => new Checkpoint(join(pico.folder, name)));
    expect(a!.names.filter((name) => name.startsWith("mtp.")).length).toBeGreaterThan(10);
    for (const name of a!.names) expect(b!.tensor(name).read(), `${name}`).toEqual(a!.tensor(name).read());
    await expect(model.param("mtp.0.join")).rejects.toThrow("`mtp.0.join` belongs to look-ahead modules");
  });

  test("only answers of conversations count", async () => {
    const trainer = await (await open({ weights })).trainer("Short");
    const turns = (content: string) => ({
      messages: [
        { role: "user", content: "what?" },
        { role: "assistant", content },
      ],
    });
    expect((await trainer.evaluate([turns("that")])).tokens).toBe("that".length);
  });
});

describe("a model with weights", () => {
  test("maps them, and has them as they are in the file", async () => {
    const model = await open({ weights });
    const { dtype, shape, elements } = await model.param("trunk.0.ffn.experts.down");
    expect([dtype, shape, elements.length]).toEqual(["f32", [4, 6, 8], 192]);
    const file = new Checkpoint(weights);
    expect(elements).toEqual(file.tensor("trunk.0.ffn.experts.down").read());
    const bytes = file.names.reduce((sum, name) => sum + file.tensor(name).bytes().length, 0);
    expect(model.memory().serving).toMatchObject({ storeBytes: 0, mappedBytes: bytes });
    await expect(model.param("trunk.0.wq")).rejects.toThrow("Pico has no param or state `trunk.0.wq`");
  });

  test("scores rows: the loss is the mean of what the tokens cost", async () => {
    const model = await open({ weights });
    const { loss, rows } = await model.score(["the lazy", [5, 6, 7], [9]]);
    expect(rows.map(({ tokens, logits, logprobs }) => [tokens.length, logits.length, logprobs.length])).toEqual([
      [9, 9 * 160, 8],
      [3, 3 * 160, 2],
      [1, 160, 0],
    ]);
    const all = rows.flatMap(({ logprobs }) => [...logprobs]);
    expect(loss).toBeCloseTo(-all.reduce((a, b) => a + b, 0) / all.length, 5);
  });

  test("generates what it finds likeliest, token by token, with and without guesses", async () => {
    const prompt = [9, 30, 41, 7];
    for (const draftTokens of [0, 1]) {
      const model = await open({ weights, draftTokens });
      const wanted = await greedy(model, prompt, 12);
      const answer = model.generate(prompt, { maxTokens: 12, ignoreEos: true, logprobs: 2 });
      const tokens = [];
      for await (const token of answer) tokens.push(token);
      expect(tokens.map(({ token }) => token)).toEqual(wanted);
      expect(answer.end).toMatchObject({ reason: "length", promptTokens: 4, generatedTokens: 12 });
      const { logprobs } = (await model.score([[...prompt, ...wanted]])).rows[0]!;
      expect(tokens[5]!.logprob).toBeCloseTo(logprobs[prompt.length - 1 + 5]!, 4);
      expect(tokens[5]!.alternatives).toHaveLength(2);
      expect(tokens.map(({ text }) => text).join("")).toBe(model.tokenizer!.decode(wanted));
    }
  });

  test("ends at a stop text, at the end of the context, and when nobody reads on", async () => {
    const model = await open({ weights });
    const draw = { temperature: 1.5, seed: 3, ignoreEos: true };
    const text = await model.generate("over", draw).text();
    expect(await model.generate("over", draw).text()).toBe(text);
    const stop = text.slice(7, 9);
    expect(await model.generate("over", { ...draw, stop }).text()).toBe(text.slice(0, text.indexOf(stop)));
    const whole = model.generate("over", draw);
    expect((await whole.tokens()).length).toBe(64 - 5);
    expect(whole.end!.reason).toBe("length");
    const left = model.generate("over", draw);
    for await (const { token } of left) if (token >= 0) break;
    expect(left.end).toBeUndefined();
    const aborted = model.generate("over", { ...draw, signal: AbortSignal.abort(new Error("enough")) });
    await expect(aborted.text()).rejects.toThrow("enough");
    await expect(left.text()).rejects.toThrow("an answer can be read once");
  });

  test("answers conversations by the chat template", async () => {
    const model = await open({ weights });
    const options = { maxTokens: 8, ignoreEos: true };
    const text = await model.chat([{ role: "user", content: "dog" }], options).text();
    const prompt = model.tokenizer!.encodeWithSpecials("<|bos|><|user|>dog<|assistant|>");
    expect(text).toBe(await model.generate(prompt, options).text());
    await expect(model.chat([{ role: "tool", content: "x" }]).text()).rejects.toThrow("no role tool");
  });

  test("is served, also while it learns", async () => {
    const model = await open({ weights });
    const server = await model.serve({ port: 0, name: "pico" });
    const ask = async (): Promise<string> => {
      const body = { model: "pico", prompt: "the lazy", max_tokens: 20, ignore_eos: true };
      const response = await fetch(`${server.url}/v1/completions`, { method: "POST", body: JSON.stringify(body) });
      return ((await response.json()) as { choices: { text: string }[] }).choices[0]!.text;
    };
    const before = await ask();
    expect(before).toBe(await model.generate("the lazy", { maxTokens: 20, ignoreEos: true }).text());
    const trainer = await model.trainer("Short");
    for (let i = 0; i < 6; i++) await trainer.step(["the lazy lazy lazy lazy lazy lazy"]);
    await trainer.publish();
    const after = await ask();
    expect(after).not.toBe(before);
    expect(after).toBe(await model.generate("the lazy", { maxTokens: 20, ignoreEos: true }).text());
    expect(await (await fetch(server.url)).text()).toContain("<title>");
    expect(server.pending).toBe(0);
    await model.close();
    await expect(fetch(server.url)).rejects.toThrow("fetch failed");
    await expect(model.score(["x"])).rejects.toThrow("Pico is closed");
  });
});

describe("a run", () => {
  test("trains on the data of the section, and leaves its weights in the model", async () => {
    writeFileSync(join(pico.folder, "a.md"), readFileSync("docs/passes.md", "utf8").replaceAll(/[^ -~\n]/g, ""));
    writeFileSync(join(pico.folder, "b.md"), readFileSync("docs/autodiff.md", "utf8").replaceAll(/[^ -~\n]/g, ""));
    const model = await open();
    const [folder, remarks] = [join(pico.folder, "run"), [] as string[]];
    const steps: number[] = [];
    const run = { folder, root: pico.folder, evaluateTokens: 64, remark: (text: string) => void remarks.push(text) };
    const listen: Parameters<Model["train"]>[1] = { ...run, listen: (e) => e.event === "step" && steps.push(e.step) };
    expect(await model.train("Short", listen)).toMatchObject({ reason: "done", step: 6 });
    expect(steps).toEqual([1, 2, 3, 4, 5, 6]);
    expect(remarks.at(-1)).toMatch(/^data: [\d,]+ tokens/);
    const again = await open({ weights: folder });
    expect((await model.score(ROWS)).loss).toBe((await again.score(ROWS)).loss);
    await expect(model.train("Short", run)).rejects.toThrow("holds a run");
    expect(await model.train("Short", { ...run, resume: true })).toMatchObject({ reason: "done", step: 6 });
  });
});

describe("what is wrong is told", () => {
  test("in what is given to a model", async () => {
    const model = await open({ weights });
    await expect(model.trainer("Shirt")).rejects.toThrow("Pico has no training `Shirt`; trainings are Short");
    await expect(model.generate([160]).text()).rejects.toThrow(
      "the prompt has the token 160; the model has tokens 0 to 159",
    );
    await expect(model.generate([]).text()).rejects.toThrow("the prompt is empty");
    await expect(model.score([[1], []])).rejects.toThrow("row 2 is empty");
    await expect(model.score([])).rejects.toThrow("there are no rows");
    await expect(model.generate("x", { topP: 2 }).text()).rejects.toThrow("`topP` is 2, not a number from 0 to 1");
    await expect(model.generate("x", { maxTokens: 0 }).text()).rejects.toThrow(
      "`maxTokens` is 0, not a whole number from 1 on",
    );
    await expect(model.generate("x".repeat(70)).text()).rejects.toThrow("the context is 64 tokens");
    await expect(model.load(join(pico.folder, "nowhere"))).rejects.toThrow("there is no such file or directory");
    expect((await model.score(ROWS)).loss).toBeGreaterThan(0);
    const trainer = await model.trainer("Short");
    await expect(trainer.step([])).rejects.toThrow("there are no rows");
    await expect(trainer.step([[1, -1]])).rejects.toThrow("row 1 has the token -1");
  });

  test("in what is opened", async () => {
    await expect(openPackage(pico.folder)).rejects.toThrow(/is no package: it has no program\.json/);
    await expect(open({ serve: "Lokal" })).rejects.toThrow("Pico has no serve section `Lokal`; Local");
    await expect(open({ weights: "nowhere" })).rejects.toThrow("nowhere: there is no such file or directory");
    await expect(open({ tokenizer: "nowhere" })).rejects.toThrow("there is no nowhere/tokenizer.json");
    await expect(open({ device: "abacus" as never })).rejects.toThrow("there is no device `abacus`");
    await expect(open({ weights, draftTokens: 2 })).rejects.toThrow(
      "2 tokens are to be guessed, and Pico looks 1 ahead",
    );
  });
});
