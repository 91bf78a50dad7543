/** Weights that do not fit their model: every command that reads some says all that is wrong at once, and writes nothing. */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { Checkpoint } from "../../../runtime/io/safetensors/read.ts";
import { writeCheckpoint } from "../../../runtime/io/safetensors/shards.ts";
import { f32, type WrittenTensor } from "../../../runtime/io/safetensors/written.ts";

const MODEL = "tests/fixtures/models/d2_llama_mqa";
const dir = mkdtempSync(join(tmpdir(), "dskc-"));
afterAll(() => rmSync(dir, { recursive: true }));

const rows = join(dir, "rows.json");
writeFileSync(rows, '{"tokens": [[1, 7, 3]]}');
const out = join(dir, "out");

const scoring = (weights: string): string[] => ["score", MODEL, "--weights", weights, "--tokens", rows, "-o", out];
const generating = (weights: string): string[] => ["generate", MODEL, "--weights", weights, "--tokens", rows];

const COMMANDS: Readonly<Record<string, (weights: string) => string[]>> = {
  score: scoring,
  "score on the CPU": (weights) => [...scoring(weights), "--device", "cpu"],
  generate: generating,
  "generate with the interpreter": (weights) => [...generating(weights), "--device", "reference"],
  serve: (weights) => ["serve", MODEL, "--weights", weights, "--port", "0"],
  export: (weights) => ["export", MODEL, "--weights", weights, "-o", out],
};

function run(args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, ["dist/dskc.js", ...args], { encoding: "utf8" });
  return { status, stdout, stderr: stderr.replaceAll(dir, "DIR") };
}

/** The tensors of the model, one of them changed by name. */
function weights(name: string, change: (tensor: WrittenTensor) => readonly WrittenTensor[]): string {
  const folder = join(dir, name);
  mkdirSync(folder);
  const source = new Checkpoint(MODEL);
  writeCheckpoint(
    folder,
    source.names.flatMap((each) => change(source.tensor(each))),
  );
  return folder;
}

const odd = weights("odd", (tensor) => {
  switch (tensor.name) {
    case "model.layers.0.mlp.up_proj.weight":
    case "lm_head.weight":
      return [];
    case "model.norm.weight":
      return [f32(tensor.name, [3], [1, 2, 3])];
    case "model.layers.1.input_layernorm.weight":
      return [{ ...tensor, dtype: "F8_E4M3", bytes: () => new Uint8Array(64) }, f32("model.extra", [1], [1])];
    default:
      return [tensor];
  }
});

describe("weights that miss some tensors and have others", () => {
  test.each(Object.entries(COMMANDS))("%s", (_, command) => {
    expect(run(command(odd))).toEqual({
      status: 1,
      stdout: "",
      stderr: `${[
        "dskc: DIR/odd: there is no tensor `model.layers.0.mlp.up_proj.weight`, `lm_head.weight`",
        "the model has no place for `model.extra`",
        "tensor `model.layers.1.input_layernorm.weight` is F8_E4M3 and has no scales `model.layers.1.input_layernorm.weight_scale_inv`",
        "tensor `model.norm.weight` has the shape [3], the model needs [64]",
      ].join("\n")}\n`,
    });
    expect(existsSync(out)).toBe(false);
  });
});

const infinite = weights("infinite", (tensor) =>
  tensor.name === "model.norm.weight" || tensor.name === "lm_head.weight"
    ? [f32(tensor.name, tensor.shape, new Checkpoint(MODEL).tensor(tensor.name).read().fill(NaN, 9, 10))]
    : [tensor],
);

describe("weights that are not numbers", () => {
  test("score names every param that holds some", () => {
    expect(run(scoring(infinite))).toEqual({
      status: 1,
      stdout: "",
      stderr: [
        "dskc: DIR/infinite: `norm.weight` has a value that is not finite, at element 9",
        "`head.weight` has a value that is not finite, at element 9\n",
      ].join("\n"),
    });
  });

  test("generate names one", () => {
    expect(run(generating(infinite))).toEqual({
      status: 1,
      stdout: "",
      stderr: "dskc: `DIR/infinite`: `norm.weight` has a value that is not finite, at element 9\n",
    });
  });

  test("weights that give no numbers are told by generate and score", () => {
    const large = weights("large", (tensor) =>
      tensor.name === "model.norm.weight" || tensor.name === "lm_head.weight"
        ? [f32(tensor.name, tensor.shape, new Checkpoint(MODEL).tensor(tensor.name).read().fill(3e38))]
        : [tensor],
    );
    const none = "dskc: the model gave logits that are no numbers\n";
    expect(run([...generating(large), "--device", "reference"])).toEqual({ status: 1, stdout: "", stderr: none });
    const { status, stdout, stderr } = run(scoring(large));
    expect([status, stdout]).toEqual([1, expect.stringMatching(/^loss (NaN|Infinity)\n$/)]);
    expect(stderr).toContain("dskc: the loss is not finite");
  }, 300_000);

  test("build writes no package with them, and leaves one that is there as it is", () => {
    const place = join(dir, "some", "place");
    const build = (path: string): readonly [number | null, string] => {
      const { status, stderr } = run(["build", MODEL, "--weights", path, "-o", join(place, "package")]);
      return [status, stderr];
    };
    const refused = [1, "dskc: DIR/infinite: `head.weight` has a value that is not finite, at element 9\n"];
    expect(build(infinite)).toEqual(refused);
    expect(existsSync(join(dir, "some"))).toBe(false);
    expect(build(MODEL)[0]).toBe(0);
    const files = (): string[] => readdirSync(place, { recursive: true, encoding: "utf8" }).toSorted();
    const before = files();
    expect(before).toContain("package/weights/model.safetensors");
    expect(build(infinite)).toEqual(refused);
    expect(files()).toEqual(before);
    expect(run(["build", MODEL, "--check", "-o", join(place, "package")]).status).toBe(0);
  }, 120_000);
});

test("a file that may not be read", ({ skip }) => {
  if (process.getuid?.() === 0) skip("root may read every file");
  const folder = join(dir, "locked");
  cpSync(MODEL, folder, { recursive: true });
  writeFileSync(join(folder, "model.safetensors"), "", { mode: 0o000 });
  expect(run(scoring(folder)).stderr).toBe("dskc: model.safetensors: permission denied\n");
});
