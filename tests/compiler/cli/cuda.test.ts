/** The device cuda through the command line and in packages, on the stand-in of libcuda. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, test, vi } from "vitest";
import { CUDA_KERNELS } from "../../../runtime/device/cuda/cubins.ts";
import { openPackage } from "../../../runtime/package/open-package.ts";
import { buildModule, standIn } from "../../support/cuda/build.ts";
import { picoPackage } from "../../support/pico-package.ts";

// Kernels are compiled here when nobody did it before.
vi.setConfig({ testTimeout: 600_000 });

const root = resolve(import.meta.dirname, "../../..");
const folder = mkdtempSync(join(tmpdir(), "dskc-"));
const rows = join(folder, "rows.json");
writeFileSync(rows, '{"tokens": [[1, 2, 3, 4, 5, 6, 7], [9, 8, 7]]}');

afterAll(() => rmSync(folder, { recursive: true }));

test("without a driver it is said what was looked for", () => {
  const model = "tests/fixtures/models/a1_v3_plain";
  const out = join(folder, "none.safetensors");
  const { status, stderr } = spawnSync(
    process.execPath,
    [
      join(root, "bin/dskc.js"),
      "score",
      `${model}/config.json`,
      "--weights",
      model,
      "--tokens",
      rows,
      "-o",
      out,
      "--device",
      "cuda",
    ],
    { cwd: root, encoding: "utf8", env: { ...process.env, DSKC_LIBCUDA: "/nowhere/libcuda.so.1" } },
  );
  expect(stderr).toMatch(/^dskc: there is no CUDA driver \(\/nowhere\/libcuda\.so\.1: .*install the NVIDIA driver/m);
  expect(status).toBe(1);
  expect(existsSync(out)).toBe(false);
});

describe("a package", () => {
  test("answers, scores and learns as on the CPU", async () => {
    // What nvcc would make, g++ makes.
    process.env["DSKC_NVCC"] = "/nowhere/nvcc";
    process.env["DSKC_LIBCUDA"] = await standIn();
    const pico = picoPackage("--target", "cpu,cuda");
    try {
      const sources = join(pico.directory, CUDA_KERNELS);
      const kernels = readdirSync(sources).flatMap((name) => (name.endsWith(".cu") ? [join(sources, name)] : []));
      await buildModule(kernels, join(sources, "sm_90a"));
      const weights = join(pico.folder, "learned");
      const learning = await openPackage(pico.directory);
      // Where there is a GPU and kernels for it, it is taken.
      expect(learning.device).toBe("cuda");
      const trainer = await learning.trainer("Short");
      const losses: number[] = [];
      for (let i = 0; i < 3; i++) losses.push((await trainer.step(["the quick brown fox", "jumps over"])).loss);
      expect(losses[2]).toBeLessThan(losses[0]!);
      await trainer.save(weights);
      await learning.close();
      const answers: unknown[] = [];
      for (const device of ["cuda", "cpu"] as const) {
        const model = await openPackage(pico.directory, { device, weights });
        const greedy = await model.generate("the lazy dog", { maxTokens: 12, ignoreEos: true }).tokens();
        const drawn = await model
          .generate("the lazy dog", { maxTokens: 6, ignoreEos: true, temperature: 0.7, seed: 3 })
          .tokens();
        const { loss } = await model.score(["jumps over the lazy dog"]);
        answers.push({ greedy, drawn, loss: loss.toFixed(4) });
        await model.close();
      }
      expect(answers[0]).toEqual(answers[1]);
    } finally {
      rmSync(pico.folder, { recursive: true });
    }
  });
});
