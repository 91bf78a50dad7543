import { spawnSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parseProgram } from "../../../compiler/tensor-ir/parse.ts";
import { verifyProgram } from "../../../compiler/tensor-ir/verify.ts";

function dskc(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, ["dist/dskc.js", ...args], { encoding: "utf8", maxBuffer: 2 ** 28 });
}

function spec(text: string): string {
  const path = join(mkdtempSync(join(tmpdir(), "dskc-")), "spec.dsk");
  writeFileSync(path, text);
  return path;
}

describe("inspect", () => {
  test("--json gives the facts of DeepSeek-V3", () => {
    const { status, stdout } = dskc("inspect", "specs/deepseek-v3.dsk", "--json", "--context", "4096");
    expect(status).toBe(0);
    const facts = JSON.parse(stdout) as Record<string, unknown>;
    expect(Object.keys(facts)).toEqual(["model", "params", "flops", "cache", "serve", "expect"]);
    expect(facts).toMatchObject({
      model: "DeepSeekV3",
      params: {
        total: 671_026_404_352,
        activated: 37_552_282_624,
        activatedNoInputEmbedding: 36_625_603_584,
        activatedNoEmbeddings: 35_698_924_544,
        mtp: 11_610_067_968,
        embedding: 926_679_040,
      },
      cache: { valuesPerToken: 35_136, bytesPerToken: 70_272 },
      flops: { context: 4096 },
    });
    // Published: 250 GFLOPs per token in training.
    expect((facts["flops"] as { trainPerToken: number }).trainPerToken / 250e9).toBeCloseTo(1, 2);
  });

  test("the table names the layers of a stack that are alike once", () => {
    const { stdout } = dskc("inspect", "specs/quickstart.dsk");
    expect(stdout).toMatch(/^trunk\.0 +Decoder /m);
    expect(stdout).toMatch(/^trunk\.1-3 +Decoder\.2 /m);
    expect(stdout).toContain("3 of 3 expectations hold");
  });

  test("an expectation that fails is an error with its place", () => {
    const text = `edition 2026
import { Embedding } from "std/nn"
model Flat {
  dim V = 10
  dim D = 4
  use embed = Embedding[V, D]
  use head = embed.transposed
  fn forward(tokens: i32[T], pos: i32[T]) -> f32[T, V] { return head(embed(tokens)) }
  expect params.total == 41
}
`;
    const { status, stderr } = dskc("inspect", spec(text));
    expect(status).toBe(1);
    expect(stderr).toMatch(/DSK2201.*expected params.total == 41, it is 40/);
  });

  test("wrong usage is told apart from wrong input", () => {
    expect(dskc("inspect", "specs/quickstart.dsk", "--context", "0").status).toBe(2);
    expect(dskc("inspect", "specs/quickstart.dsk", "--model", "Tyni")).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("models are Tiny") as string,
    });
    expect(dskc("inspect", spec("model {")).status).toBe(1);
  });
});

describe("inspect kernel", () => {
  test("tiles for the tensor cores of Hopper, what they cost, and why one was chosen", () => {
    const { status, stdout } = dskc(
      "inspect",
      "kernel",
      "specs/deepseek-v2-lite.dsk",
      "gemm_wo",
      "--program",
      "prefill",
    );
    expect(status).toBe(0);
    expect(stdout).toContain("kernel @gemm_wo gemm extents [T] {");
    expect(stdout).toMatch(/tiles for 4_096 rows, 2_048 columns, 2_048 terms: \d+ tiles, bound by/);
    expect(stdout).toMatch(/^tile +stages +tiles +cycles +why$/m);
    expect(stdout).toMatch(/^128x64x64 in \d+ parts +\d+ +\d+ +[\d_]+ +\d+ blocks of \d+ terms in \d+ waves?$/m);
  });

  test("the reason why a kernel has none", () => {
    const { stdout } = dskc("inspect", "kernel", "specs/quickstart.dsk", "gemm_wo", "--json");
    expect(JSON.parse(stdout)).toMatchObject({ kernel: "gemm_wo", family: "gemm", refused: expect.any(String) });
  });

  test("attention: its blocks and shares of a cache, or why it has none", () => {
    const { stdout } = dskc("inspect", "kernel", "specs/deepseek-v2-lite.dsk", "plane_direct_mla_output");
    expect(stdout).toMatch(
      /^attention on the tensor cores of Hopper, forward: tiles of 64 rows, blocks of \d+ columns/m,
    );
    expect(stdout).toMatch(/^tiles +1_024 columns +8_192 columns +131_072 columns$/m);
    expect(stdout).toMatch(/^ +128 +1 +1 +1$/m);
    const refused = dskc("inspect", "kernel", "specs/quickstart.dsk", "plane_mla_output", "--json");
    expect(JSON.parse(refused.stdout)).toEqual({
      kernel: "plane_mla_output",
      family: "plane",
      refused: { forward: expect.any(String) as string, backward: expect.any(String) as string },
    });
  });

  test("a kernel that is not there", () => {
    const { status, stderr } = dskc("inspect", "kernel", "specs/quickstart.dsk", "gemm_woo");
    expect(status).toBe(2);
    expect(stderr).toContain("has no kernel `gemm_woo`; did you mean `gemm_wo`");
  });
});

describe("inspect kernels", () => {
  interface Facts {
    readonly launches: number;
    readonly arenaBytes: number;
    readonly kernels: readonly { kernel: string; family: string; count: number; items: number; arena: number }[];
    readonly layers: readonly { layer: string; launches: number; kernels: readonly string[] }[];
  }

  test("--json has every launch of a step, kernel by kernel and layer by layer", () => {
    const { status, stdout } = dskc("inspect", "kernels", "specs/quickstart.dsk", "--json", "--length", "100");
    expect(status).toBe(0);
    const facts = JSON.parse(stdout) as Facts;
    expect(facts).toMatchObject({ model: "Tiny", program: "decode", sequences: 1, length: 100, tokens: 1 });
    const total = (of: readonly number[]): number => of.reduce((a, b) => a + b, 0);
    expect(total(facts.kernels.map(({ count }) => count))).toBe(facts.launches);
    expect(total(facts.layers.map(({ launches }) => launches))).toBe(facts.launches);
    expect(facts.layers.map(({ layer }) => layer)).toEqual(["trunk.0", "trunk.1", "trunk.2", "trunk.3", ""]);
    const [, first, second, third] = facts.layers;
    expect(second!.kernels).toEqual(third!.kernels);
    // The layer before this one has no experts, whose results a launch of the next layer adds up.
    expect(first!.launches).toBe(second!.launches - 1);
    // One attention in each layer, with a row for each head.
    expect(facts.kernels.filter(({ family }) => family === "plane")).toMatchObject([{ count: 4, items: 4 }]);
    expect(Math.max(...facts.kernels.map(({ arena }) => arena))).toBeLessThanOrEqual(facts.arenaBytes);
  });

  test.each([
    ["quickstart", 11],
    ["deepseek-v3", 11],
    ["deepseek-v2-lite", 10],
  ])("%s: a step of generation launches at most %i kernels in a layer of attention and experts", (spec, most) => {
    const { stdout } = dskc("inspect", "kernels", `specs/${spec}.dsk`, "--json");
    const { layers } = JSON.parse(stdout) as Facts;
    const [inner, last] = layers.filter(({ layer }) => layer.startsWith("trunk.")).slice(-2);
    expect(inner!.launches).toBeLessThanOrEqual(most);
    // Its feed-forward network waits for the rows that are wanted.
    expect(last!.launches).toBeLessThanOrEqual(most + 1);
    expect(inner!.kernels.some((kernel) => kernel.startsWith("plane"))).toBe(true);
  });

  test("--device webgpu counts dispatches and workgroups, and words of the arena", () => {
    interface OnGpu extends Facts {
      readonly kernels: readonly (Facts["kernels"][number] & {
        dispatches: number;
        workgroups: number;
        entries: readonly string[];
      })[];
      readonly layers: readonly (Facts["layers"][number] & { dispatches: number })[];
    }
    const facts = (...more: string[]): OnGpu =>
      JSON.parse(dskc("inspect", "kernels", "specs/quickstart.dsk", "--json", ...more).stdout) as OnGpu;
    const [cpu, one, many] = [
      facts(),
      facts("--device", "webgpu"),
      facts("--device", "webgpu", "--program", "prefill"),
    ] as const;
    expect(one.launches).toBe(cpu.launches);
    expect(one.arenaBytes).toBeGreaterThan(cpu.arenaBytes);
    for (const { dispatches, count, workgroups } of one.kernels) {
      expect(dispatches).toBeGreaterThanOrEqual(count);
      expect(workgroups).toBeGreaterThanOrEqual(dispatches);
    }
    // Of one row no kernel needs its experts sorted, of many those of the experts do.
    expect(one.layers.map(({ dispatches }) => dispatches)).toEqual(one.layers.map(({ launches }) => launches));
    expect(one.kernels.flatMap(({ entries }) => entries)).not.toContain("sort");
    expect(many.kernels.flatMap(({ entries }) => entries)).toContain("sort");
    expect(many.layers.some(({ dispatches, launches }) => dispatches > launches)).toBe(true);
    const { stdout } = dskc("inspect", "kernels", "specs/quickstart.dsk", "--device", "webgpu");
    expect(stdout).toMatch(/^kernel +family +count +items +entries +dispatches +workgroups /m);
  });

  test("the table, of another program", () => {
    const { stdout } = dskc("inspect", "kernels", "specs/quickstart.dsk", "--program", "prefill", "--sequences", "2");
    expect(stdout).toMatch(/^model Tiny, program prefill: 1_024 new tokens, length 512 of each of 2 sequences\n/);
    expect(stdout).toMatch(/^trunk\.2-3 +\d+ /m);
    expect(stdout).toMatch(/^gemm_\w+ +gemm +\d+ /m);
  });

  test("wrong usage and wrong input", () => {
    expect(dskc("inspect", "kernels", "specs/quickstart.dsk", "--program", "encode").status).toBe(2);
    expect(dskc("inspect", "kernels").status).toBe(2);
    expect(dskc("inspect", "kernels", spec("model {")).status).toBe(1);
  });
});

describe("build --emit", () => {
  test.each(["score", "prefill", "decode", "train_step"])(
    "tensor prints the program %s, and it is sound",
    (program) => {
      const { status, stdout } = dskc("build", "specs/quickstart.dsk", "--emit", "tensor", "--program", program);
      expect(status).toBe(0);
      const parsed = parseProgram(stdout);
      expect(parsed.name).toBe(program);
      expect(verifyProgram(parsed)).toEqual([]);
    },
  );

  test("train_step follows the train section", () => {
    const { stdout } = dskc("build", "specs/quickstart.dsk", "--emit", "tensor", "--program", "train_step");
    for (const name of ["loss.next_token", "loss.mtp", "loss.sequence_balance", "grad_norm"]) {
      expect(stdout).toMatch(new RegExp(`program.output %\\d+ \\{name = "${name}"\\}`));
    }
    expect(stdout).toContain('{name = "optimizer.trunk.3.ffn.experts.down.v"}');
  });

  test("model and ast", () => {
    expect(dskc("build", "specs/quickstart.dsk", "--emit", "model").stdout).toContain(
      "  use mtp = ahead 1 of @PredictAhead",
    );
    expect(dskc("build", "specs/quickstart.dsk", "--emit", "ast").stdout).toMatch(/^edition:/);
  });

  test("--after --diff shows what a pass changes", () => {
    const args = ["build", "specs/quickstart.dsk", "--emit", "tensor", "--after"];
    const { status, stdout } = dskc(...args, "eliminate-common", "--diff");
    expect(status).toBe(0);
    expect(stdout).toMatch(/^--- before eliminate-common\n\+\+\+ after eliminate-common\n@@ -\d+,\d+ \+\d+,\d+ @@\n/);
    expect(stdout).toMatch(/^-  %\d+.* = math.cos /m);
    expect(dskc(...args, "eliminate-comon")).toMatchObject({ status: 2 });
  });

  test("--without --diff shows what a fusion changes", () => {
    const args = ["build", "specs/quickstart.dsk", "--emit", "kernel", "--program", "decode", "--diff"];
    const { status, stdout } = dskc(...args, "--without", "fuse-epilogues");
    expect(status).toBe(0);
    expect(stdout).toMatch(/^--- without fuse-epilogues\n\+\+\+ with fuse-epilogues\n@@/);
    expect(stdout).toMatch(/^\+ .* = \(silu\(product\[\]\) \* product_2\[\]\)$/m);
    expect(dskc(...args)).toMatchObject({ status: 2 });
    expect(dskc(...args, "--without", "fuse-epilogue")).toMatchObject({ status: 2 });
  });

  test("a form that is none is wrong usage", () => {
    expect(dskc("build", "specs/quickstart.dsk", "--emit", "tensors").status).toBe(2);
  });
});
