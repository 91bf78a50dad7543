/** The device webgpu through the command line and in packages. */
import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { AnswersRow } from "../../../compiler/cli/bench/answers.ts";
import type { KernelsReport } from "../../../compiler/cli/bench/kernels.ts";
import { findGpu } from "../../../runtime/device/dawn/gpu.ts";
import { Checkpoint } from "../../../runtime/io/safetensors/read.ts";
import { openPackage } from "../../../runtime/package/open-package.ts";
import type { SimtKernels } from "../../../runtime/program/grids.ts";
import { HAS_WEBGPU } from "../../support/on-webgpu.ts";
import { type PicoPackage, picoPackage } from "../../support/pico-package.ts";

const root = resolve(import.meta.dirname, "../../..");
const folder = mkdtempSync(join(tmpdir(), "dskc-"));
const rows = join(folder, "rows.json");
writeFileSync(rows, '{"tokens": [[1, 2, 3, 4, 5, 6, 7], [9, 8, 7]]}');

afterAll(() => rmSync(folder, { recursive: true }));

function dskc(args: readonly string[], env: Record<string, string> = {}, cwd = root): SpawnSyncReturns<string> {
  const options = { cwd, encoding: "utf8", env: { ...process.env, ...env } } as const;
  return spawnSync(process.execPath, [join(root, "bin/dskc.js"), ...args], options);
}

test("without an adapter it is said what to install", () => {
  const model = "tests/fixtures/models/a1_v3_plain";
  const given = ["--weights", model, "--tokens", rows, "-o", join(folder, "none.safetensors"), "--device", "webgpu"];
  const { status, stderr } = dskc(["score", `${model}/config.json`, ...given], { VK_ICD_FILENAMES: "/none" });
  expect(status).toBe(1);
  expect(stderr).toMatch(/^dskc: WebGPU .*(install|unset)/m);
  expect(existsSync(join(folder, "none.safetensors"))).toBe(false);
});

test("--target names what there is", () => {
  expect(dskc(["build", "specs/quickstart.dsk", "--target", "cpu,webgp"])).toMatchObject({
    status: 2,
    stderr: expect.stringContaining("there is no target `webgp`; did you mean `webgpu`?") as string,
  });
});

test("f64 is refused", () => {
  const model = "tests/fixtures/models/a1_v3_plain";
  const given = ["--weights", model, "--tokens", rows, "-o", rows, "--device", "webgpu", "--precision", "f64"];
  expect(dskc(["score", `${model}/config.json`, ...given])).toMatchObject({ status: 2 });
});

describe.skipIf(!HAS_WEBGPU)("score", () => {
  test("gives what the CPU gives, with gradients", { timeout: 300_000 }, () => {
    const model = "tests/fixtures/models/a1_v3_plain";
    const [cpu, webgpu] = ["cpu", "webgpu"].map((device) => {
      const out = join(folder, `${device}.safetensors`);
      const given = ["--weights", model, "--tokens", rows, "-o", out, "--device", device, "--grad"];
      const { status, stderr } = dskc(["score", `${model}/config.json`, ...given]);
      expect([status, stderr.replace(/^WebGPU finds no GPU.*\n/, "")]).toEqual([0, ""]);
      return new Checkpoint(out);
    });
    expect(webgpu!.names).toEqual(cpu!.names);
    for (const name of cpu!.names) {
      const [wanted, got] = [cpu!, webgpu!].map((of) => Float64Array.from(of.tensor(name).read()));
      const scale = Math.max(1e-6, ...wanted!.map(Math.abs));
      expect([name, Math.max(...got!.map((x, i) => Math.abs(x - wanted![i]!))) / scale < 1e-4]).toEqual([name, true]);
    }
  });
});

describe.skipIf(!HAS_WEBGPU)("a package", () => {
  let pico: PicoPackage;
  let weights: string;

  beforeAll(async () => {
    pico = picoPackage("--target", "cpu,webgpu");
    const model = await openPackage(pico.directory, { device: "cpu" });
    const trainer = await model.trainer("Short");
    for (let step = 0; step < 4; step++) await trainer.step([[1, 5, 6, 7, 8, 5, 6, 7, 8, 5], "a sea of words"]);
    weights = join(pico.folder, "weights");
    await trainer.save(weights);
    await model.close();
  }, 120_000);

  afterAll(() => rmSync(pico.folder, { recursive: true }));

  test("has kernels for each target, and is checked", () => {
    const files = readdirSync(join(pico.directory, "kernels"));
    const { kernels } = JSON.parse(readFileSync(join(pico.directory, "kernels/webgpu.json"), "utf8")) as SimtKernels;
    const names = kernels.map(({ name }) => `${name}.wgsl`);
    expect(names.length).toBeGreaterThan(50);
    // One is the runtime's own: it is on the GPU only, and in no table.
    const own = files.filter((name) => name.startsWith("dskc_"));
    expect(own).toEqual(["dskc_shortlist.wgsl"]);
    expect(files.filter((name) => name.endsWith(".wgsl"))).toEqual([...names, ...own].toSorted());
    expect(files).toEqual(expect.arrayContaining(names.map((name) => name.replace(".wgsl", ".cc"))));
    const check = ["build", "pico.dsk", "-o", pico.directory, "--tokenizer", "tokenizer", "--check"];
    expect(dskc([...check, "--target", "cpu,webgpu"], {}, pico.folder)).toMatchObject({ status: 0 });
    const { status, stderr } = dskc(check, {}, pico.folder);
    expect(status).toBe(1);
    expect(stderr).toMatch(/kernels\/\w+\.wgsl belongs to no kernel/);
    const first = join(
      pico.directory,
      "kernels",
      files.find((name) => name.endsWith(".wgsl"))!,
    );
    const text = readFileSync(first, "utf8");
    writeFileSync(first, `${text}\n`);
    expect(dskc([...check, "--target", "cpu,webgpu"], {}, pico.folder).stderr).toMatch(/\.wgsl differs/);
    writeFileSync(first, text);
  });

  test("answers, scores and learns as on the CPU", { timeout: 300_000 }, async () => {
    const prompts = [[1, 5, 6], [1, 5, 6, 7, 8], "a sea"];
    const given = async (device: "cpu" | "webgpu") => {
      const model = await openPackage(pico.directory, { device, weights });
      try {
        const answers = prompts.map((prompt) =>
          model.generate(prompt, { maxTokens: 12, temperature: 0, ignoreEos: true }),
        );
        const tokens = await Promise.all(answers.map((answer) => answer.tokens()));
        const scores = await model.score([[1, 5, 6, 7, 8]]);
        const trainer = await model.trainer("Short");
        const losses: number[] = [];
        for (let step = 0; step < 3; step++) losses.push((await trainer.step([[1, 5, 6, 7, 8, 5], "a sea"])).loss);
        await trainer.publish();
        const after = (await model.score([[1, 5, 6, 7, 8]])).loss;
        return { device: model.device, tokens, losses: [scores.loss, ...losses, after] };
      } finally {
        await model.close();
      }
    };
    const [cpu, webgpu] = [await given("cpu"), await given("webgpu")];
    expect([cpu.device, webgpu.device]).toEqual(["cpu", "webgpu"]);
    expect(webgpu.tokens).toEqual(cpu.tokens);
    webgpu.losses.forEach((loss, i) => expect(loss).toBeCloseTo(cpu.losses[i]!, 4));
    expect(cpu.losses.at(-1)).toBeLessThan(cpu.losses[0]!);
  });

  test("reads its weights again when the device was lost", { timeout: 120_000 }, async () => {
    const devices: GPUDevice[] = [];
    await findGpu();
    const original = GPUAdapter.prototype.requestDevice;
    const spy = vi.spyOn(GPUAdapter.prototype, "requestDevice").mockImplementation(async function (
      this: GPUAdapter,
      how,
    ) {
      const device = await original.call(this, how);
      devices.push(device);
      return device;
    });
    const model = await openPackage(pico.directory, { device: "webgpu", weights });
    try {
      const ask = (): Promise<number[]> =>
        model.generate([1, 5, 6], { maxTokens: 6, temperature: 0, ignoreEos: true }).tokens();
      const wanted = await ask();
      devices[0]!.destroy();
      await expect(ask()).rejects.toThrow("the GPU device was lost");
      await vi.waitFor(async () => expect(await ask()).toEqual(wanted), { timeout: 60_000, interval: 200 });
      expect(devices.length).toBe(2);
      expect((await model.score([[1, 5, 6, 7, 8]])).loss).toBeGreaterThan(0);
      // What was learned in place is nowhere else.
      const trainer = await model.trainer("Short");
      await trainer.publish();
      devices[1]!.destroy();
      await expect(model.score([[1, 5, 6]])).rejects.toThrow("the GPU device was lost");
      await vi.waitFor(() => expect(ask()).rejects.toThrow("what was learned is gone"), { timeout: 30_000 });
    } finally {
      spy.mockRestore();
      await model.close();
    }
  });

  test("without libraries of the CPU runs on WebGPU by itself", { timeout: 120_000 }, async () => {
    const only = join(pico.folder, "only");
    const build = ["build", "pico.dsk", "-o", only, "--tokenizer", "tokenizer", "--target", "webgpu"];
    expect(dskc(build, {}, pico.folder)).toMatchObject({ status: 0 });
    expect(readdirSync(join(only, "kernels")).filter((name) => /\.(cc|so)$/.test(name))).toEqual([]);
    const args = ["generate", only, "--weights", weights, "--tokens", rows, "--max-tokens", "4", "--temperature", "0"];
    const [onGpu, onCpu] = [
      dskc([...args, "--device", "webgpu"]),
      dskc([...args.with(1, pico.directory), "--device", "cpu"]),
    ];
    expect(onGpu).toMatchObject({ status: 0, stdout: onCpu.stdout });
    const model = await openPackage(only);
    expect(model.device).toBe("webgpu");
    await model.close();
    await expect(openPackage(join(pico.folder, "tokenizer"), { device: "webgpu" })).rejects.toThrow("is no package");
  });

  test("is measured kernel by kernel, and as it answers", { timeout: 120_000 }, () => {
    const bench = (what: string, ...more: readonly string[]): { status: number | null; stdout: string } =>
      dskc(["bench", what, "pico.dsk", "--device", "webgpu", "--seconds", "0", "--json", ...more], {}, pico.folder);
    const kernels = bench("kernels", "--program", "decode", "--length", "16");
    expect(kernels.status).toBe(0);
    const report = JSON.parse(kernels.stdout) as KernelsReport;
    expect(report.machine.flops).toBeGreaterThan(0);
    expect(report.machine.read.bytesPerSecond).toBeGreaterThan(0);
    expect(report.kernels.reduce((sum, { launches }) => sum + launches, 0)).toBeGreaterThan(10);
    expect(report.kernels.every(({ milliseconds }) => milliseconds > 0)).toBe(true);
    expect(report.kernels.reduce((sum, { milliseconds }) => sum + milliseconds, 0)).toBeLessThan(report.milliseconds);
    const latency = bench("latency", "--length", "8", "--tokens", "3");
    expect(latency.status).toBe(0);
    const { answers } = JSON.parse(latency.stdout) as { answers: readonly AnswersRow[] };
    expect(answers.map(({ promptTokens, nextToken }) => [promptTokens, nextToken.median > 0])).toEqual([[8, true]]);
  });
});
