import { describe, expect, test } from "vitest";
import type { Call, Elements, Session } from "../../../runtime/device/session.ts";
import { fixtureJson, fixtureTensors } from "../../support/fixture.ts";
import { tinyV3, tinyV3Session } from "../../support/tiny-v3.ts";

const model = tinyV3();
const ints = (values: readonly number[]): Int32Array => Int32Array.from(values);

/** A sequence whose positions lie at some physical rows. */
interface Kept {
  readonly tokens: number[];
  readonly rows: readonly number[];
  /** How many positions earlier calls wrote. */
  done: number;
}

/** The next tokens of some sequences in one call; gives the logits of the last token of each. */
async function step(session: Session, sequences: readonly Kept[], count = 1): Promise<Elements[]> {
  const [tokens, pos, seq, row, rows]: number[][] = [[], [], [], [], []];
  const [keyPos, keySeq, slot]: number[][] = [[], [], []];
  for (const [s, kept] of sequences.entries()) {
    const end = Math.min(kept.done + count, kept.tokens.length);
    for (let p = 0; p < end; p++) {
      keyPos!.push(p);
      keySeq!.push(s);
      slot!.push(kept.rows[p]!);
    }
    for (; kept.done < end; kept.done++) {
      tokens!.push(kept.tokens[kept.done]!);
      pos!.push(kept.done);
      seq!.push(s);
      row!.push(kept.rows[kept.done]!);
    }
    rows!.push(tokens!.length - 1);
  }
  const inputs = {
    tokens: ints(tokens!),
    pos: ints(pos!),
    seq: ints(seq!),
    "key.pos": ints(keyPos!),
    "key.seq": ints(keySeq!),
    "cache.slot": ints(slot!),
    "cache.row": ints(row!),
    rows: ints(rows!),
  };
  const sizes = { T: tokens!.length, S: slot!.length, B: sequences.length };
  const { logits } = await session.run({ program: count === 1 ? "decode" : "prefill", sizes, inputs });
  return sequences.map((_, s) => logits!.slice(s * 160, (s + 1) * 160));
}

const best = (logits: Elements): number => logits.indexOf(Math.max(...logits));

describe("generation", () => {
  const io = fixtureTensors("a1_v3_plain", "io.safetensors");
  const prompt = io("greedy.prompt").data;
  // Rows in no order, with others between them.
  const rows = Array.from({ length: 40 }, (_, i) => (i * 29 + 7) % 64);

  test("over scattered physical rows gives the tokens and logits of the fixture", async () => {
    const session = tinyV3Session(model, undefined, { cacheRows: 64 });
    const kept: Kept = { tokens: [...prompt], rows, done: 0 };
    for (let i = 0; i < 16; i++) {
      const [logits] = await step(session, [kept], i === 0 ? prompt.length : 1);
      const want = io("greedy.logits").data.slice(i * 160, (i + 1) * 160);
      expect(Math.max(...want.map((value, v) => Math.abs(logits![v]! - value)))).toBeLessThan(6e-5);
      kept.tokens.push(best(logits!));
    }
    expect(kept.tokens.slice(prompt.length)).toEqual(io("greedy.tokens").data);
  });

  test("is the same to the last bit beside another sequence that shares physical rows, and in any chunks", async () => {
    const session = tinyV3Session(model, undefined, { cacheRows: 80 });
    const tokens = [...prompt];
    const alone: Kept = { tokens, rows, done: 0 };
    const [wanted] = await step(session, [alone], tokens.length);
    // Other rows for the third position on: the first two are shared.
    const other: Kept = { tokens: [tokens[0]!, tokens[1]!, 9, 8, 7], rows: [...rows.slice(0, 2), 70, 71, 72], done: 2 };
    const again: Kept = { tokens, rows: [...rows.slice(0, 2), ...rows.slice(2).toReversed()], done: 2 };
    let got: Elements | undefined;
    while (again.done < tokens.length) [, got] = await step(session, [other, again], 3);
    expect(got).toEqual(wanted);
  });

  test("says what is wrong with a call", async () => {
    const session = tinyV3Session(model);
    const call: Call = {
      program: "decode",
      sizes: { T: 1, S: 1, B: 1 },
      inputs: Object.fromEntries(
        ["tokens", "pos", "seq", "key.pos", "key.seq", "cache.slot", "cache.row", "rows"].map((n) => [n, ints([0])]),
      ),
    };
    const without = (name: string): Call => ({ ...call, inputs: { ...call.inputs, [name]: undefined as never } });
    const wrong = (name: string, ...values: number[]): Call => ({
      ...call,
      inputs: { ...call.inputs, [name]: ints(values) },
    });
    await expect(session.run({ ...call, program: "encode" })).rejects.toThrow("there is no program encode");
    await expect(session.run(without("cache.slot"))).rejects.toThrow("no value is given for program.input cache.slot");
    await expect(session.run(wrong("tokens", 1, 2))).rejects.toThrow("tokens is given with 2 elements");
    await expect(session.run(wrong("cache.slot", 5))).rejects.toThrow("cache.slot has no row 0");
    await expect(session.run(call, AbortSignal.abort(new Error("enough")))).rejects.toThrow("enough");
    expect((await session.run(call))["logits"]!.length).toBe(160);
  });

  test("the cache holds the latent and the rotary key of each layer only", () => {
    // 3 layers and that of the look-ahead module, in f32.
    const session = tinyV3Session(model);
    const { module } = model;
    expect(session.cacheRowBytes).toBe(4 * 4 * (module.dims.get("C")! + module.dims.get("R")!));
  });
});

test("e1: the look-ahead module over its cache, in chunks, gives the logits and guesses of the fixture", async () => {
  const session = tinyV3Session(model);
  const io = fixtureTensors("e1_v3_mtp", "io.safetensors");
  const [count, length] = io("input_ids").shape as [number, number];
  for (let row = 0; row < count; row++) {
    const ids = io("input_ids").data.slice(row * length, (row + 1) * length);
    const positions = ids.map((_, i) => i);
    const call = (program: string, tokens: readonly number[], from: number): Call => ({
      program,
      sizes: { T: tokens.length, S: from + tokens.length, B: tokens.length },
      inputs: {
        tokens: ints(tokens),
        pos: ints(positions.slice(from, from + tokens.length)),
        seq: ints(tokens.map(() => 0)),
        "key.pos": ints(positions.slice(0, from + tokens.length)),
        "key.seq": ints(positions.slice(0, from + tokens.length).map(() => 0)),
        "cache.slot": ints(positions.slice(0, from + tokens.length)),
        "cache.row": ints(positions.slice(from, from + tokens.length)),
        rows: ints(tokens.map((_, i) => i)),
      },
    });
    const { hidden } = await session.run(call("prefill", ids, 0));
    const width = hidden!.length / length;
    const logits: number[] = [];
    for (let from = 0; from < length - 1; from += 5) {
      const ahead = ids.slice(from + 1, from + 6);
      const draft = call("draft.1", ahead, from);
      const states = hidden!.slice(from * width, (from + ahead.length) * width);
      const result = await session.run({ ...draft, inputs: { ...draft.inputs, hidden: states } });
      logits.push(...result["logits"]!);
    }
    const each = (length - 1) * 160;
    const want = io("mtp.logits").data.slice(row * each, (row + 1) * each);
    expect(logits.length).toBe(each);
    expect(Math.max(...want.map((value, i) => Math.abs(logits[i]! - value)))).toBeLessThan(7e-5);
    const guesses = Array.from({ length: length - 1 }, (_, i) => {
      const one = logits.slice(i * 160, (i + 1) * 160);
      return one.indexOf(Math.max(...one));
    });
    expect(guesses).toEqual(io("mtp.draft_argmax").data.slice(row * (length - 1), (row + 1) * (length - 1)));
  }
});

interface Step {
  readonly loss_fp64: number;
  readonly grad_norm_fp64: number;
}

test("training updates the stores, which scoring then reads", async () => {
  const { module, optimizer } = model.training();
  const adamw = (decay: number): Map<string, number> =>
    new Map([
      ["beta2", 0.95],
      ["decay", decay],
    ]);
  const plan = {
    objective: [{ loss: "next_token", weight: 1 }],
    clip: 1,
    optimizer: (type: Parameters<typeof optimizer>[2], decayed: boolean) =>
      optimizer("AdamW", adamw(decayed ? 0.1 : 0), type)!,
  };
  const session = tinyV3Session(model, { module, plan });
  const manifest = fixtureJson("f1_v3_adamw5", "manifest.json") as {
    steps: readonly Step[];
    hyper: { lrs: readonly number[] };
  };
  const train = fixtureTensors("f1_v3_adamw5", "train.safetensors");
  const [first, second] = [0, 1].map((i) => train(`step${i}.input_ids`));
  const call = (program: string, ids: typeof first, index: number): Call => {
    const [count, length] = ids!.shape as [number, number];
    const each = (value: (row: number, at: number) => number): Int32Array =>
      Int32Array.from({ length: count * length }, (_, i) => value(Math.floor(i / length), i % length));
    return {
      program,
      sizes: { T: count * length, S: count * length, B: count },
      inputs: {
        tokens: ints(ids!.data),
        pos: each((_, at) => at),
        seq: each((row) => row),
        "target.1": each((row, at) => (at + 1 < length ? ids!.data[row * length + at + 1]! : -1)),
        lr: Float32Array.of(manifest.hyper.lrs[index]!),
        step: Float32Array.of(index + 1),
        "train.balance_rate": Float32Array.of(0.001),
      },
    };
  };
  const before = session.read("norm.weight");
  const step1 = await session.run(call("train_step", first, 0));
  expect(step1["loss.next_token"]![0]).toBeCloseTo(manifest.steps[0]!.loss_fp64, 5);
  expect(step1["grad_norm"]![0]).toBeCloseTo(manifest.steps[0]!.grad_norm_fp64, 5);
  expect(step1["metric.trunk.1.ffn.load"]!.length).toBe(8);
  expect(session.read("norm.weight")).not.toEqual(before);
  expect(session.read("optimizer.norm.weight.m").some((m) => m !== 0)).toBe(true);
  const scored = await session.run({ ...call("score", second, 1), outputs: ["loss.next_token"] });
  expect(await session.run(call("evaluate", second, 1))).toEqual(scored);
  expect(Object.keys(scored)).toEqual(["loss.next_token"]);
  expect(scored["loss.next_token"]![0]).toBeCloseTo(manifest.steps[1]!.loss_fp64, 5);
  // A copy: what a caller does with it stays with the caller.
  session.read("norm.weight").fill(7);
  expect(session.read("norm.weight")[0]).not.toBe(7);
});
