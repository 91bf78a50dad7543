import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, test } from "vitest";

const root = resolve(import.meta.dirname, "../../..");
const folder = mkdtempSync(join(tmpdir(), "dskc-"));

afterAll(() => rmSync(folder, { recursive: true }));

function dskc(...args: string[]): SpawnSyncReturns<string> {
  return spawnSync(process.execPath, ["bin/dskc.js", ...args], { cwd: root, encoding: "utf8" });
}

const LITE = "tests/fixtures/configs/DeepSeek-V2-Lite.json";
const QWEN = "tests/fixtures/models/d7_qwen3";

describe("import", () => {
  test("prints a spec that is formatted and without errors", () => {
    const { status, stdout, stderr } = dskc("import", LITE);
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toContain("model DeepSeekV2Lite {");
    const path = join(folder, "printed.dsk");
    writeFileSync(path, stdout);
    expect(dskc("fmt", "--check", path)).toMatchObject({ status: 0, stdout: "" });
    expect(dskc("check", path).status).toBe(0);
  });

  test("-o writes it, from a folder too, and names the model after that", () => {
    const path = join(folder, "written.dsk");
    expect(dskc("import", QWEN, "-o", path)).toMatchObject({ status: 0, stdout: "", stderr: "" });
    expect(readFileSync(path, "utf8")).toBe(dskc("import", `${QWEN}/config.json`).stdout);
    expect(readFileSync(path, "utf8")).toContain("model D7Qwen3 {");
  });

  test("refuses by name: a line for each problem, exit 1", () => {
    const path = join(folder, "odd.json");
    const odd = {
      ...(JSON.parse(readFileSync(join(root, LITE), "utf8")) as object),
      topk_method: "random",
      mystery: [1],
    };
    writeFileSync(path, JSON.stringify(odd));
    expect(dskc("import", path)).toMatchObject({
      status: 1,
      stdout: "",
      stderr:
        `dskc: cannot import \`${path}\`:\n` +
        '  topk_method: "random" is not supported; supported: greedy, group_limited_greedy\n' +
        "  mystery: [1] is a key that dskc does not know\n",
    });
  });

  test("files that are no configurations", () => {
    const path = join(folder, "broken.json");
    writeFileSync(path, "{");
    expect(dskc("import", path)).toMatchObject({ status: 1, stdout: "" });
    expect(dskc("import", path).stderr).toContain(`\`${path}\` is no JSON: `);
    writeFileSync(path, '{"model_type": "llama", "rope_scaling": {"factor": 1, "factor": 2}}');
    expect(dskc("import", path)).toMatchObject({
      status: 1,
      stderr: `dskc: cannot import \`${path}\`:\n  rope_scaling.factor: stands twice\n`,
    });
    const empty = join(folder, "empty");
    mkdirSync(empty);
    expect(dskc("import", empty)).toMatchObject({ status: 1, stdout: "" });
    expect(dskc("import", LITE, "-o", join(folder, "none", "x.dsk")).status).toBe(1);
  });
});

describe("other commands read configurations like specs", () => {
  test("inspect", () => {
    const { status, stdout } = dskc("inspect", LITE, "--json");
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ model: "DeepSeekV2Lite", params: { total: 15_706_484_224 } });
  });

  test("build", () => {
    expect(dskc("build", QWEN, "--emit", "model").stdout).toMatch(/^model @D7Qwen3 f32\n/);
    expect(dskc("build", QWEN, "--emit", "ast").status).toBe(0);
  });
});
