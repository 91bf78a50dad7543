import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { exportConfig } from "../../../compiler/export/export.ts";
import { importConfig } from "../../../compiler/import/import.ts";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import { checkFile } from "../../../dsl/semantics/check.ts";

const published = readdirSync("tests/fixtures/configs").filter((f) => /^(?!DeepSeek-V4|Kimi-K3).*\.json$/.test(f));
const small = readdirSync("tests/fixtures/models").filter((f) => /^[a-d]\d_/.test(f));
const files = [
  ...published.map((f) => `tests/fixtures/configs/${f}`),
  ...small.map((f) => `tests/fixtures/models/${f}/config.json`),
];

function checked(text: string) {
  const diagnostics = new Diagnostics();
  const models = [...checkFile({ path: "m.dsk", text }, diagnostics).models.values()];
  expect(diagnostics.all.map((d) => d.message)).toEqual([]);
  return models;
}

describe("the config.json of an imported model imports as the same model", () => {
  test.each(files)("%s", (file) => {
    const imported = importConfig(JSON.parse(readFileSync(file, "utf8")), "Name");
    if ("problems" in imported) throw new Error(imported.problems.join("\n"));
    const [model] = checked(imported.text);
    const config = exportConfig(model!);
    expect(config).toBeDefined();
    const again = importConfig(config, "Name");
    expect("text" in again && again.text.replace(/^\/\/\/.*$/gm, "")).toBe(imported.text.replace(/^\/\/\/.*$/gm, ""));
  });
});

describe("specs that people wrote", () => {
  test.each(["deepseek-v3", "deepseek-v2", "mixtral-8x7b", "qwen3-30b-a3b", "glm-4.5-air", "olmoe-1b-7b", "moonlight"])(
    "%s has a config.json",
    (name) => {
      const [model] = checked(readFileSync(`specs/${name}.dsk`, "utf8"));
      expect(exportConfig(model!)).toBeDefined();
    },
  );

  test("a model with a block of its own has none", () => {
    const text = readFileSync("specs/blocks/differential-attention.dsk", "utf8");
    for (const model of checked(text)) expect(exportConfig(model)).toBeUndefined();
  });
});
