import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { importConfig } from "../../../compiler/import/import.ts";
import { weightsOf } from "../../../compiler/model-ir/places.ts";
import { encode } from "../../../runtime/io/safetensors/encode.ts";
import { Checkpoint } from "../../../runtime/io/safetensors/read.ts";
import { loadParams } from "../../../runtime/io/names/load.ts";
import { readTable } from "../../../runtime/io/names/table.ts";
import { writeCheckpoint } from "../../../runtime/io/safetensors/shards.ts";
import { writeSafetensors } from "../../../runtime/io/safetensors/write.ts";
import { f32, type WrittenTensor } from "../../../runtime/io/safetensors/written.ts";
import { checkedModel } from "../../support/probe.ts";

const root = resolve(import.meta.dirname, "../../..");
const folder = mkdtempSync(join(tmpdir(), "dskc-"));
let made = 0;

afterAll(() => rmSync(folder, { recursive: true }));

function dskc(...args: string[]): SpawnSyncReturns<string> {
  return spawnSync(process.execPath, ["bin/dskc.js", ...args], { cwd: root, encoding: "utf8" });
}

function place(): string {
  return join(folder, String(made++));
}

function model(name: string): string {
  return `tests/fixtures/models/${name}`;
}

/** Runs `dskc export`, which must work, and opens what it wrote. */
function exported(...args: string[]): { readonly out: string; readonly checkpoint: Checkpoint } {
  const out = place();
  expect(dskc("export", ...args, "-o", out)).toMatchObject({ status: 0, stdout: "" });
  return { out, checkpoint: new Checkpoint(out) };
}

function expectSame(got: Checkpoint, want: Checkpoint): void {
  expect(got.names.toSorted()).toEqual(want.names.toSorted());
  for (const name of want.names) {
    const [a, b] = [got.tensor(name), want.tensor(name)];
    expect([name, a.dtype, a.shape]).toEqual([name, b.dtype, b.shape]);
    if (!Buffer.from(a.bytes()).equals(b.bytes())) throw new Error(`the bytes of ${name} differ`);
  }
}

function specOf(path: string): string {
  const imported = importConfig(JSON.parse(readFileSync(resolve(root, path, "config.json"), "utf8")), "Model");
  if ("problems" in imported) throw new Error(imported.problems.join("\n"));
  return imported.text;
}

/** A folder with the config.json of a model of the fixtures, changed, and with these weights. */
function checkpointOf(name: string, tensors: readonly WrittenTensor[], changes: object = {}, limit?: number): string {
  const path = place();
  writeCheckpoint(path, tensors, limit);
  const config = JSON.parse(readFileSync(join(root, model(name), "config.json"), "utf8")) as object;
  writeFileSync(join(path, "config.json"), JSON.stringify({ ...config, ...changes }));
  return path;
}

function tensorsOf(path: string): WrittenTensor[] {
  const checkpoint = new Checkpoint(path);
  return checkpoint.names.map((name) => checkpoint.tensor(name));
}

/** The values of the params under their own paths: what a training has. */
function ownWeights(name: string): string {
  const { module } = checkedModel(specOf(model(name)));
  const params = weightsOf(module);
  const table = readTable(join(root, "dsl/std/hf"), module.checkpoint!);
  const values = loadParams(new Checkpoint(join(root, model(name))), table, params);
  const path = place();
  mkdirSync(path);
  writeSafetensors(
    join(path, "model.safetensors"),
    params.map((param) => f32(param.path, param.shape, values.get(param.path)!)),
  );
  return path;
}

const small = readdirSync(join(root, "tests/fixtures/models")).filter((name) => /^[a-d]\d_/.test(name));

test("there are models", () => expect(small.length).toBe(14));

describe("import, export, import: the same weights bit for bit, the same model", () => {
  test.each(small)("%s", (name) => {
    const { out, checkpoint } = exported(model(name));
    expectSame(checkpoint, new Checkpoint(join(root, model(name))));
    expect(specOf(out).replace(/^\/\/\/.*$/m, "")).toBe(specOf(model(name)).replace(/^\/\/\/.*$/m, ""));
  });

  test("the exported folder scores as the first one", () => {
    const tokens = join(folder, "rows.json");
    writeFileSync(tokens, '{"tokens": [[1, 5, 9, 2, 77], [3, 3, 4, 150, 6]]}');
    const { out } = exported(model("b2_v2_group_limited"), "--shard", "50_000");
    const files = [model("b2_v2_group_limited"), out].map((path) => {
      const result = place();
      const args = ["--weights", path, "--tokens", tokens, "-o", result, "--grad", "--hidden"];
      expect(dskc("score", path, ...args).status).toBe(0);
      return readFileSync(result);
    });
    expect(files[1]!.equals(files[0]!)).toBe(true);
    const again = exported(out, "--shard", "50_000").out;
    for (const file of readdirSync(out))
      expect([file, readFileSync(join(again, file))]).toEqual([file, readFileSync(join(out, file))]);
  });
});

describe("weights of a checkpoint", () => {
  test("in halves stay halves", () => {
    const dtypes = ["BF16", "F16"] as const;
    const halves = tensorsOf(join(root, model("d7_qwen3"))).map((tensor, i): WrittenTensor => {
      const dtype = dtypes[i % 2]!;
      const values = new Float32Array(tensor.bytes().slice().buffer);
      return { name: tensor.name, shape: tensor.shape, dtype, bytes: () => encode(values, dtype) };
    });
    // Whatever the configuration says: the weights are what they are.
    for (const torch_dtype of ["bfloat16", "float32"]) {
      const source = checkpointOf("d7_qwen3", halves, { torch_dtype });
      expectSame(exported(source).checkpoint, new Checkpoint(source));
    }
  });

  test("in FP8 keep their codes and block scales, and say so", () => {
    const tensors = tensorsOf(join(root, model("d7_qwen3"))).flatMap((tensor): WrittenTensor[] => {
      if (tensor.shape.length !== 2 || !tensor.name.includes("_proj")) return [tensor];
      const size = tensor.shape[0]! * tensor.shape[1]!;
      const codes = Uint8Array.from({ length: size }, (_, i) => (i * 37) % 127);
      const blocks = tensor.shape.map((n) => Math.ceil(n / 128));
      const scales = Array.from({ length: blocks[0]! * blocks[1]! }, (_, i) => 0.001 * (i + 1));
      return [
        { name: tensor.name, shape: tensor.shape, dtype: "F8_E4M3", bytes: () => codes },
        f32(`${tensor.name}_scale_inv`, blocks, scales),
      ];
    });
    const storage = {
      quant_method: "fp8",
      fmt: "e4m3",
      weight_block_size: [128, 128],
      activation_scheme: "dynamic",
    };
    const source = checkpointOf("d7_qwen3", tensors, { quantization_config: storage }, 20_000);
    const { out, checkpoint } = exported(source);
    const want = new Checkpoint(source);
    expectSame(checkpoint, want);
    for (const name of want.names) {
      const [scales, wanted] = [checkpoint.tensor(name).scales, want.tensor(name).scales];
      expect(scales?.read()).toEqual(wanted?.read());
    }
    expect(want.names.filter((name) => want.tensor(name).scales !== undefined).length).toBeGreaterThan(10);
    const config = JSON.parse(readFileSync(join(out, "config.json"), "utf8")) as Record<string, unknown>;
    expect(config["quantization_config"]).toEqual(storage);
    expect("text" in importConfig(config, "Model")).toBe(true);
  });

  test("with look-ahead modules", () => {
    const tensors = [
      ...tensorsOf(join(root, model("a1_v3_plain"))),
      ...tensorsOf(join(root, model("e1_v3_mtp"), "mtp.safetensors")),
    ];
    const source = checkpointOf("a1_v3_plain", tensors, { num_nextn_predict_layers: 1 });
    const { out, checkpoint } = exported(source);
    expectSame(checkpoint, new Checkpoint(source));
    expect(JSON.parse(readFileSync(join(out, "config.json"), "utf8"))).toMatchObject({ num_nextn_predict_layers: 1 });
    // They may be missing: then they are missing in the result too.
    const without = checkpointOf("a1_v3_plain", tensorsOf(join(root, model("a1_v3_plain"))), {
      num_nextn_predict_layers: 1,
    });
    expectSame(exported(without).checkpoint, new Checkpoint(join(root, model("a1_v3_plain"))));
  });

  test("in shards", () => {
    const { out, checkpoint } = exported(model("a1_v3_plain"), "--shard", "1e5");
    expect(readdirSync(out).filter((name) => /^model-\d{5}-of-\d{5}\.safetensors$/.test(name)).length).toBeGreaterThan(
      3,
    );
    expect(readdirSync(out)).not.toContain("model.safetensors");
    expectSame(checkpoint, new Checkpoint(join(root, model("a1_v3_plain"))));
    expectSame(exported(out).checkpoint, checkpoint);
  });
});

describe("weights with the names of params", () => {
  test.each(["a1_v3_plain", "d5_mixtral"])("%s becomes the published layout, from a folder with one spec", (name) => {
    const source = ownWeights(name);
    writeFileSync(join(source, "spec.dsk"), specOf(model(name)));
    expectSame(exported(source).checkpoint, new Checkpoint(join(root, model(name))));
  });

  test("in the dtypes of the params", () => {
    const spec = join(folder, "half.dsk");
    writeFileSync(spec, specOf(model("a1_v3_plain")).replace(/^( *)dtype( *)= f32$/m, "$1dtype$2= bf16"));
    const { out, checkpoint } = exported(spec, "--weights", ownWeights("a1_v3_plain"));
    const wanted = new Checkpoint(join(root, model("a1_v3_plain")));
    const dtypes = Object.fromEntries(checkpoint.names.map((name) => [name, checkpoint.tensor(name).dtype]));
    expect(dtypes).toMatchObject({
      "model.embed_tokens.weight": "BF16",
      "model.layers.0.self_attn.kv_b_proj.weight": "BF16",
      "model.layers.1.mlp.gate.e_score_correction_bias": "F32",
    });
    for (const name of wanted.names) {
      const values = Float32Array.from(wanted.tensor(name).read());
      const { dtype, bytes } = checkpoint.tensor(name);
      expect([name, new Uint8Array(bytes())]).toEqual([name, encode(values, dtype as "F32" | "BF16")]);
    }
    expect(JSON.parse(readFileSync(join(out, "config.json"), "utf8"))).toMatchObject({ torch_dtype: "bfloat16" });
  });

  test("as --store says, those of products and lookups", () => {
    const source = ownWeights("a1_v3_plain");
    writeFileSync(join(source, "spec.dsk"), specOf(model("a1_v3_plain")));
    const { out, checkpoint } = exported(source, "--store", "bf16");
    const wanted = new Checkpoint(join(root, model("a1_v3_plain")));
    const dtypes = Object.fromEntries(checkpoint.names.map((name) => [name, checkpoint.tensor(name).dtype]));
    expect(dtypes).toMatchObject({
      "model.embed_tokens.weight": "BF16",
      "model.layers.0.self_attn.kv_b_proj.weight": "BF16",
      "model.layers.1.mlp.experts.0.up_proj.weight": "BF16",
      "model.layers.1.mlp.gate.weight": "F32",
      "model.norm.weight": "F32",
    });
    for (const name of wanted.names) {
      const { dtype, bytes } = checkpoint.tensor(name);
      const values = Float32Array.from(wanted.tensor(name).read());
      expect([name, new Uint8Array(bytes())]).toEqual([name, encode(values, dtype as "F32" | "BF16")]);
    }
    expect(JSON.parse(readFileSync(join(out, "config.json"), "utf8"))).toMatchObject({ torch_dtype: "bfloat16" });
    // From a checkpoint with the names of Hugging Face it is the same, and widening gives back what rounding left.
    expectSame(exported(model("a1_v3_plain"), "--store", "bf16").checkpoint, checkpoint);
    const wide = exported(out, "--store", "f32").checkpoint;
    for (const name of wide.names) {
      expect(wide.tensor(name).dtype).toBe("F32");
      expect(wide.tensor(name).read()).toEqual(checkpoint.tensor(name).read());
    }
  });

  test("of another shape", () => {
    const source = ownWeights("d7_qwen3");
    const spec = join(folder, "wide.dsk");
    writeFileSync(spec, specOf(model("d7_qwen3")).replace(/dim V = \d+/, "dim V = 161"));
    expect(dskc("export", spec, "--weights", source, "-o", place())).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/tensor `embed\.weight` has the shape \[\d+, 64\], the model needs \[161, 64\]/),
    });
  });
});

describe("what cannot be exported is told", () => {
  const qwen = model("d7_qwen3");

  test.each([
    [1, "Hugging Face has no code for it", ["specs/blocks/differential-attention.dsk", "--weights", qwen, "-o", "OUT"]],
    [1, "there is no tensor `model.layers.0.self_attn", [model("d4_qwen2_gqa"), "--weights", qwen, "-o", "OUT"]],
    [1, "there is no such file or directory", [qwen, "--weights", "nowhere", "-o", "OUT"]],
    [1, "cannot write `package.json`: it is a file, not a directory", [qwen, "-o", "package.json"]],
    [1, "cannot read `nowhere.dsk`: there is no such file", ["nowhere.dsk", "-o", "OUT"]],
    [1, "has no config.json and more than one spec", ["specs", "-o", "OUT"]],
    [1, "has no config.json and no spec", ["docs", "-o", "OUT"]],
    [2, "the folder to write is the one to read", [qwen, "-o", `${qwen}/.`]],
    [2, "Hugging Face has no format for int8 weights", [qwen, "-o", "OUT", "--store", "int8"]],
    [2, "`0` is not a positive whole number", [qwen, "-o", "OUT", "--shard", "0"]],
    [2, "`many` is not a positive whole number", [qwen, "-o", "OUT", "--shard", "many"]],
    [2, "required option '-o, --out <dir>' not specified", [qwen]],
  ])("exit %i: %s", (status, message, args) => {
    const out = place();
    const result = dskc("export", ...args.map((arg) => (arg === "OUT" ? out : arg)));
    expect(result).toMatchObject({ status, stdout: "", stderr: expect.stringContaining(message) });
    expect(readdirSync(folder)).not.toContain(out);
  });
});
