/** Packages on disk: written, compared, written anew. */
import { execFileSync, spawnSync } from "node:child_process";
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { loadModel } from "../../../compiler/cli/load-model.ts";
import { tableOf } from "../../../compiler/cli/name-table.ts";
import { forTraining } from "../../../compiler/cli/open-session.ts";
import { trainPlan } from "../../../compiler/cli/train-plan.ts";
import { modelFile } from "../../../compiler/package/model.ts";
import { writeWeights } from "../../../compiler/package/weights.ts";
import { Checkpoint } from "../../../runtime/io/safetensors/read.ts";
import type { ModelFile } from "../../../runtime/program/model.ts";
import { openPackage } from "../../../runtime/package/open-package.ts";
import type { PackageServing } from "../../../runtime/serve/plan.ts";
import { type PackageTraining, trainedModel } from "../../../runtime/train/plan.ts";
import { PICO, type PicoPackage, picoPackage } from "../../support/pico-package.ts";
import { tinyV3, tinyV3Weights } from "../../support/tiny-v3.ts";

// Kernels are compiled here when nobody did it before.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

let pico: PicoPackage;
beforeAll(() => {
  pico = picoPackage("--split-steps");
});
afterAll(() => rmSync(pico.folder, { recursive: true }));

interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function dskc(...args: string[]): Ran {
  const env = { ...process.env, NO_COLOR: "1" };
  return spawnSync(process.execPath, [resolve("bin/dskc.js"), ...args], { cwd: pico.folder, encoding: "utf8", env });
}

function build(...args: string[]): Ran {
  return dskc("build", "pico.dsk", "--tokenizer", "tokenizer", "--split-steps", ...args);
}

const read = <T>(name: string): T => JSON.parse(readFileSync(join(pico.directory, name), "utf8")) as T;

describe("a package", () => {
  test("says what the sections say", () => {
    const { trainings } = read<PackageTraining>("training.json");
    expect(trainings.map(({ plan, programs }) => [plan.name, programs])).toEqual([
      [
        "Short",
        {
          train_step: "Short.train_step",
          evaluate: "Short.evaluate",
          denominators: "Short.denominators",
          gradients: "Short.gradients",
          apply: "Short.apply",
        },
      ],
    ]);
    expect(read<PackageServing>("serve.json").plans).toEqual([
      {
        name: "Local",
        host: "127.0.0.1",
        port: 8000,
        context: 64,
        pageSize: 8,
        draftTokens: 1,
        temperature: 0,
        topP: 1,
        topK: 0,
      },
    ]);
  });

  test("knows the model of a training as `dskc train` does", () => {
    const loaded = loadModel(join(pico.folder, "pico.dsk"), undefined)!;
    const wanted = forTraining(loaded, trainPlan(loaded.trains[0], loaded.training()), undefined, true).model;
    const [training] = read<PackageTraining>("training.json").trainings;
    expect(JSON.stringify(trainedModel(read<ModelFile>("model.json"), training!))).toBe(JSON.stringify(wanted));
  });
});

describe("--check", () => {
  test("is quiet about what was built, also in another process and folder", () => {
    expect(build("-o", "pico", "--check")).toMatchObject({ status: 0, stderr: "" });
  });

  test("names every file that is missing, differs or is left over; building mends all of it", () => {
    const path = (name: string): string => join(pico.directory, name);
    const kernel = /kernels\/rows_\w+\.cc/.exec(
      spawnSync("ls", [`${pico.directory}/kernels`])
        .stdout.toString()
        .replaceAll(/^/gm, "kernels/"),
    )![0];
    appendFileSync(path(kernel), "// mine\n");
    appendFileSync(path("index.ts"), "\n");
    writeFileSync(path("kernels/of_old.cc"), "#error old\n");
    rmSync(path("serve.json"));
    const { status, stderr } = build("-o", "pico", "--check");
    expect(status).toBe(1);
    expect(stderr.split("\n").slice(1, -1).toSorted()).toEqual(
      [
        `  ${kernel} differs`,
        "  index.ts differs",
        "  kernels/of_old.cc belongs to no kernel",
        "  serve.json is missing",
      ].toSorted(),
    );
    expect(stderr).toMatch(/^dskc: `pico` is not what the spec gives:\n/);
    expect(build("-o", "pico").status).toBe(0);
    expect(existsSync(path("kernels/of_old.cc"))).toBe(false);
    expect(build("-o", "pico", "--check").status).toBe(0);
  });

  test("tells when the spec has changed", () => {
    writeFileSync(join(pico.folder, "pico.dsk"), PICO.replace("context = 64 tokens", "context = 72 tokens"));
    const { status, stderr } = build("-o", "pico", "--check");
    writeFileSync(join(pico.folder, "pico.dsk"), PICO);
    expect(status).toBe(1);
    expect(stderr.match(/\S+ differs/g)).toEqual([
      "serve.json differs",
      "index.ts differs",
      "index.js differs",
      "index.d.ts differs",
    ]);
  });
});

describe("train sections", () => {
  const frozen = `${PICO}\ntrain Frozen for Pico from Short {\n  freeze = [embed]\n}\n`;

  test("that cannot be executed are left out, and said so", () => {
    writeFileSync(join(pico.folder, "pico.dsk"), frozen);
    const { status, stderr } = build("-o", "pico", "--check");
    expect(stderr).toBe("`train Frozen` is left out: `freeze`: all params are trained\n");
    expect(status).toBe(0);
    expect(build("-o", "other", "--train", "Frozen")).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/DSK6902[^]*pico\.dsk:\d+/) as string,
    });
    expect(existsSync(join(pico.folder, "other"))).toBe(false);
    writeFileSync(join(pico.folder, "pico.dsk"), PICO);
  });
});

test("with weights a package is all that generating needs", async () => {
  const learned = join(pico.folder, "learned");
  const untrained = await openPackage(pico.directory);
  const trainer = await untrained.trainer("Short");
  await trainer.step(["one step", "is enough"]);
  await trainer.save(learned);
  await untrained.close();
  expect(build("-o", "pico", "--weights", "nowhere")).toMatchObject({
    status: 1,
    stderr: expect.stringContaining("nowhere: there is no such file") as string,
  });
  expect(build("-o", "pico", "--weights", "learned").status).toBe(0);

  const model = await openPackage(pico.directory);
  expect(model.memory().serving!.storeBytes).toBe(0);
  const wanted = await model.generate("over", { maxTokens: 5, ignoreEos: true, logprobs: true }).tokens();
  await model.close();
  const generate = (...args: string[]): string => {
    const all = [resolve("bin/dskc.js"), "generate", ...args, "--max-tokens", "5", "--ignore-eos"];
    return execFileSync(process.execPath, all, { cwd: pico.folder, encoding: "utf8" });
  };
  const document = JSON.parse(generate("pico", "--prompt", "over", "--json")) as {
    readonly text: string;
    readonly tokens: readonly { readonly token: number; readonly text: string; readonly logprob: number }[];
  };
  expect(document).toMatchObject({ prompt: "over", reason: "length", promptTokens: 5, generatedTokens: 5 });
  expect(document.tokens.map(({ token }) => token)).toEqual(wanted);
  expect(document.text).toBe(document.tokens.map(({ text }) => text).join(""));
  expect(document.tokens[0]!.logprob).toBeLessThan(0);
  expect(generate("pico", "--prompt", "over")).toBe(`${document.text}\n`);
  expect(generate("pico.dsk", "--prompt", "over", "--weights", "learned", "--tokenizer", "tokenizer")).toBe(
    `${document.text}\n`,
  );
});

test("weights are stored as --store or the serve section says", async () => {
  const trained = await openPackage(pico.directory);
  const trainer = await trained.trainer("Short");
  await trainer.save(join(pico.folder, "floats"));
  await trained.close();
  expect(build("-o", "codes", "--weights", "floats", "--store", "int8:4").status).toBe(0);
  const written = new Checkpoint(join(pico.folder, "codes", "weights"));
  const kinds = new Map(written.names.map((name) => [name, written.tensor(name).dtype]));
  expect(kinds.get("embed.weight")).toBe("I8");
  expect(kinds.get("trunk.0.ffn.experts.gate")).toBe("I8");
  // Norms and routers stay.
  expect(kinds.get("norm.weight")).toBe("F32");
  expect(kinds.get("trunk.0.ffn.gate")).toBe("F32");

  const model = await openPackage(join(pico.folder, "codes"));
  expect(model.memory().serving!.storeBytes).toBe(0);
  const { dtype, shape, elements } = await model.param("embed.weight");
  expect([dtype, shape, elements]).toEqual(["f32", [160, 8], written.tensor("embed.weight").read()]);
  const answer = await model.generate("over", { maxTokens: 5, ignoreEos: true }).tokens();
  // What is learned on from codes is answered with as codes again.
  const again = await model.trainer("Short");
  await again.step(["one step", "is enough"]);
  await again.publish();
  expect(await model.generate("over", { maxTokens: 5, ignoreEos: true }).tokens()).toHaveLength(5);
  await model.close();

  const generate = (...args: string[]): { tokens: { token: number }[] } => {
    const all = [
      resolve("bin/dskc.js"),
      "generate",
      ...args,
      "--prompt",
      "over",
      "--max-tokens",
      "5",
      "--ignore-eos",
      "--json",
    ];
    return JSON.parse(execFileSync(process.execPath, all, { cwd: pico.folder, encoding: "utf8" })) as never;
  };
  const spec = ["pico.dsk", "--weights", "floats", "--tokenizer", "tokenizer"];
  for (const device of ["cpu", "reference"])
    expect(generate(...spec, "--store", "int8:4", "--device", device).tokens.map(({ token }) => token)).toEqual(answer);
  writeFileSync(join(pico.folder, "pico.dsk"), PICO.replace("draft   =", "store   = int8(group: 4)\n  draft   ="));
  expect(generate(...spec).tokens.map(({ token }) => token)).toEqual(answer);
  writeFileSync(join(pico.folder, "pico.dsk"), PICO);

  expect(build("-o", "other", "--store", "int9")).toMatchObject({
    status: 2,
    stderr: expect.stringContaining("`int9` is no form of weights") as string,
  });
});

test("caches are kept in what the first serve section says", async () => {
  const bytes = 2 * 2 * 4; // keys and values of one layer in bf16
  writeFileSync(join(pico.folder, "bf16.dsk"), PICO.replace("page: 8 tokens", "page: 8 tokens, dtype: bf16"));
  expect(dskc("build", "bf16.dsk", "-o", "bf16", "--weights", "learned", "--tokenizer", "tokenizer").status).toBe(0);
  for (const draftTokens of [0, 1]) {
    const model = await openPackage(join(pico.folder, "bf16"), { draftTokens });
    expect(await model.generate("over", { maxTokens: 5, ignoreEos: true }).tokens()).toHaveLength(5);
    const { cacheRows, cacheBytes } = model.memory().serving!;
    expect(cacheBytes).toBe(cacheRows * bytes * (1 + draftTokens));
    await model.close();
  }
  const inspected = JSON.parse(dskc("inspect", "bf16.dsk", "--json").stdout) as { serve: unknown };
  expect(inspected.serve).toEqual([expect.objectContaining({ name: "Local", cacheBytesPerToken: bytes })]);
  expect(dskc("inspect", "bf16.dsk").stdout).toMatch(/^ {2}`serve Local` +16 B, bf16$/m);
});

test("weights in a package are those of the checkpoint, in the order of dims of the model", () => {
  const model = tinyV3();
  const directory = mkdtempSync(join(tmpdir(), "dskc-weights-"));
  writeWeights(directory, modelFile(model.module, tableOf(model.module)), [], "tests/fixtures/models/a1_v3_plain");
  const written = new Checkpoint(directory);
  const wanted = [...tinyV3Weights(model)].filter(([path]) => !path.startsWith("mtp."));
  expect(written.names.toSorted()).toEqual(wanted.map(([path]) => path).toSorted());
  for (const [path, values] of wanted) expect(written.tensor(path).read(), `${path}`).toEqual(values);
  rmSync(directory, { recursive: true });
});
