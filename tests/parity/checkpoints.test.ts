/** Published architectures in miniature, through the command line: a folder of Hugging Face in, every number out. */
import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { weightsOf } from "../../compiler/model-ir/places.ts";
import { packRows } from "../../compiler/reference/score-rows.ts";
import { loadParams, storeParams } from "../../runtime/io/names/load.ts";
import { readTable } from "../../runtime/io/names/table.ts";
import { Checkpoint } from "../../runtime/io/safetensors/read.ts";
import { generateGreedily } from "../support/greedy.ts";
import { MODEL_FIXTURES, ModelFixture } from "../support/model-fixture.ts";
import { checkedModel } from "../support/probe.ts";
import { stepGradients } from "../support/step-gradients.ts";

const root = resolve(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "dskc-"));

afterAll(() => rmSync(folder, { recursive: true }));

function dskc(...args: string[]): SpawnSyncReturns<string> {
  return spawnSync(process.execPath, ["bin/dskc.js", ...args], { cwd: root, encoding: "utf8" });
}

describe.each(MODEL_FIXTURES)("%s", (name) => {
  const fixture = new ModelFixture(name);
  const { dir, manifest, io, tokens } = fixture;

  const spec = join(folder, `${name}.dsk`);
  const out = join(folder, `${name}.safetensors`);
  const imported = dskc("import", dir, "-o", spec);
  writeFileSync(join(folder, `${name}.json`), JSON.stringify({ tokens }));
  const given = ["--weights", dir, "--tokens", join(folder, `${name}.json`), "-o", out];
  const scored = dskc("score", spec, ...given, "--device", "reference", "--hidden", "--grad", "--routing");
  const got = new Checkpoint(out);

  test("is imported and scored without a remark", () => {
    expect([imported.status, imported.stderr, scored.status, scored.stderr]).toEqual([0, "", 0, ""]);
    expect(dskc("fmt", "--check", spec).status).toBe(0);
  });

  test("logits, loss and the residual stream", () => fixture.compareForward(got));

  test("the experts of every token", () => fixture.compareRouting(got));

  test("the gradient of every parameter", () => fixture.compareGradients(got));

  const model = checkedModel(readFileSync(spec, "utf8"));
  const table = readTable("dsl/std/hf", model.module.checkpoint!);
  const params = weightsOf(model.module);
  const values = loadParams(new Checkpoint(dir), table, params);
  const weights = new Map([...values].map(([path, data]) => [path, { data }]));

  test("greedy tokens, with caches", () => {
    const generated = generateGreedily(model.module, weights, [...io.tensor("greedy.prompt").read()], 16);
    expect(generated.tokens).toEqual([...io.tensor("greedy.tokens").read()]);
    fixture.compare(generated.logits.flat(), "io.safetensors", "greedy.logits");
  });

  // DeepSeek's code trains with a balance loss of each sequence beside the next token.
  test.each(manifest.aux === undefined ? [] : [manifest.aux])("gradients with the balance loss", ({ alpha }) => {
    const objective = [
      { loss: "next_token", weight: 1 },
      { loss: "expert_balance", weight: alpha },
    ];
    const count = tokens.flat().length;
    const sizes = { T: count, S: count, B: tokens.length };
    const { gradients } = stepGradients(model, objective, sizes, new Map([...weights, ...packRows(tokens)]));
    const stored = new Map(storeParams(table, params, gradients).map((t) => [t.name, t]));
    const wanted = new Checkpoint(join(dir, "grads_aux.safetensors"));
    expect(wanted.names.filter((n) => n.endsWith("mlp.gate.weight")).length).toBeGreaterThan(0);
    for (const tensor of wanted.names)
      fixture.compare(new Float32Array(stored.get(tensor)!.bytes().buffer), "grads_aux.safetensors", tensor);
  });
});
