import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Checkpoint } from "../../../runtime/io/safetensors/read.ts";
import { writeCheckpoint } from "../../../runtime/io/safetensors/shards.ts";
import { f32, type WrittenTensor } from "../../../runtime/io/safetensors/written.ts";
import { fixtureTensors } from "../../support/fixture.ts";

const dir = mkdtempSync(join(tmpdir(), "dskc-score-"));
const out = join(dir, "out.safetensors");
const fixture = "tests/fixtures/models/a1_v3_plain";
const io = fixtureTensors("a1_v3_plain", "io.safetensors");

function tokens(value: unknown): string {
  const path = join(dir, "tokens.json");
  writeFileSync(path, typeof value === "string" ? value : JSON.stringify(value));
  return path;
}

function score(given: unknown, ...more: string[]): { status: number | null; stdout: string; stderr: string } {
  const args = [
    "score",
    "tests/fixtures/deepseek-v3-tiny.dsk",
    "--weights",
    fixture,
    "--tokens",
    tokens(given),
    "-o",
    out,
  ];
  return spawnSync(process.execPath, ["dist/dskc.js", ...args, ...more], { encoding: "utf8" });
}

test("writes logits, loss, hidden states, gradients and routing", () => {
  const { data, shape } = io("input_ids");
  const rows = Array.from({ length: shape[0]! }, (_, i) => data.slice(i * shape[1]!, (i + 1) * shape[1]!));
  expect(score({ tokens: rows }, "--hidden", "--grad", "--routing")).toMatchObject({ status: 0, stderr: "" });
  const written = new Checkpoint(out);
  const difference = (name: string, want: readonly number[]): number => {
    const got = written.tensor(name).read();
    expect(got.length).toBe(want.length);
    return Math.max(...want.map((value, i) => Math.abs(got[i]! - value)));
  };
  expect(written.tensor("logits").shape).toEqual([2, 24, 160]);
  expect(difference("logits", io("logits").data)).toBeLessThan(1e-5);
  expect(difference("loss", io("loss").data)).toBeLessThan(1e-5);
  expect(difference("hidden.3", io("hidden.layer2").data)).toBeLessThan(2e-5);
  const gradients = fixtureTensors("a1_v3_plain", "grads.safetensors");
  for (const name of ["model.layers.1.mlp.experts.2.up_proj.weight", "model.layers.0.self_attn.kv_b_proj.weight"]) {
    expect(difference(`grad.${name}`, gradients(name).data)).toBeLessThan(1e-6);
  }
  expect(written.tensor("trunk.1.ffn.chosen").shape).toEqual([48, 3]);
});

test.each(["reference", "cpu"])(
  "without logits the loss and gradients are the same, on %s",
  (device) => {
    const rows = { tokens: [io("input_ids").data.slice(0, 24), [1, 7, 3]] };
    const scores = (...more: string[]): Map<string, ArrayLike<number>> => {
      expect(score(rows, "--device", device, "--grad", ...more)).toMatchObject({ status: 0 });
      const written = new Checkpoint(out);
      return new Map(written.names.map((name) => [name, written.tensor(name).read()]));
    };
    const [all, bare] = [scores(), scores("--no-logits")];
    expect([...bare.keys()]).toEqual([...all.keys()].filter((name) => name !== "logits"));
    for (const [name, values] of bare)
      for (let i = 0; i < values.length; i++) {
        const wanted = all.get(name)![i]!;
        expect(Math.abs(values[i]! - wanted)).toBeLessThan(1e-6 * Math.max(1, Math.abs(wanted)));
      }
  },
  120_000,
);

test("--store scores what the codes of weights stand for, on both devices", () => {
  const rows = { tokens: [io("input_ids").data.slice(0, 24)] };
  const logits = (...more: string[]): ArrayLike<number> => {
    expect(score(rows, ...more)).toMatchObject({ status: 0 });
    return new Checkpoint(out).tensor("logits").read();
  };
  const [floats, codes, onCpu] = [[], ["--store", "int8:16"], ["--store", "int8:16", "--device", "cpu"]].map((more) =>
    logits(...more),
  );
  const distance = (a: ArrayLike<number>): number =>
    Math.max(...Array.from(a, (value, i) => Math.abs(value - codes![i]!)));
  expect(distance(onCpu!)).toBeLessThan(1e-4);
  expect(distance(floats!)).toBeGreaterThan(1e-3);
  expect(score(rows, "--store", "int8", "--precision", "f64")).toMatchObject({
    status: 2,
    stderr: expect.stringContaining("--store goes with --precision f32") as string,
  });
}, 120_000);

describe("what cannot be scored is told", () => {
  test.each([
    [{ tokens: [[1, 160]] }, /token 160; the model has tokens 0 to 159/],
    [{ tokens: [] }, /at least one row/],
    [{ rows: [[1]] }, /"tokens"/],
    ["{", /no JSON/],
  ])("%j", (given, message) => {
    const { status, stderr } = score(given);
    expect(status).toBe(1);
    expect(stderr).toMatch(message);
  });

  test("a checkpoint that is not there", () => {
    const { status, stderr } = score({ tokens: [[1]] }, "--weights", join(dir, "nowhere"));
    expect(status).toBe(1);
    expect(stderr).toContain("nowhere");
  });
});

test("FP8 weights with block scales, in shards, score as the numbers that they stand for", () => {
  const name = "tests/fixtures/models/d7_qwen3";
  const source = new Checkpoint(name);
  const tensors = source.names.map((each) => source.tensor(each));
  const blocks = (shape: readonly number[]): number[] => shape.map((size) => Math.ceil(size / 128));
  const stored = tensors.flatMap((tensor): WrittenTensor[] => {
    if (tensor.shape.length !== 2 || !tensor.name.includes("_proj")) return [tensor];
    const size = tensor.shape.reduce((a, b) => a * b, 1);
    // All finite codes of both signs.
    const codes = Uint8Array.from({ length: size }, (_, i) => ((i * 37) % 127) | (i % 2 ? 0x80 : 0));
    const factors = Array.from({ length: blocks(tensor.shape).reduce((a, b) => a * b, 1) }, (_, i) => 0.0003 * (i + 1));
    return [
      { name: tensor.name, dtype: "F8_E4M3", shape: tensor.shape, bytes: () => codes },
      f32(`${tensor.name}_scale_inv`, blocks(tensor.shape), factors),
    ];
  });
  const [quantized, plain] = [join(dir, "fp8"), join(dir, "plain")];
  writeCheckpoint(quantized, stored, 20_000);
  const read = new Checkpoint(quantized);
  writeCheckpoint(
    plain,
    read.names.map((each) => f32(each, read.tensor(each).shape, read.tensor(each).read())),
  );
  const results = [quantized, plain].map((weights) => {
    const args = ["score", `${name}/config.json`, "--weights", weights, "--tokens", tokens({ tokens: [[1, 7, 3, 9]] })];
    const { status, stderr } = spawnSync(process.execPath, ["dist/dskc.js", ...args, "-o", out], { encoding: "utf8" });
    expect([status, stderr]).toEqual([0, ""]);
    return readFileSync(out);
  });
  expect(results[0]!.equals(results[1]!)).toBe(true);
  expect(new Checkpoint(out).tensor("logits").read().every(Number.isFinite)).toBe(true);
});
