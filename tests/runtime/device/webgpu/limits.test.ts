/** Params and states in several buffers, and what an adapter is too small for. */
import { afterAll, describe, expect, test } from "vitest";
import { servingPrograms } from "../../../../compiler/package/programs.ts";
import { lowered } from "../../../../compiler/package/package.ts";
import { printWebGpu } from "../../../../compiler/targets/webgpu/print.ts";
import type { SimtKernels } from "../../../../runtime/program/grids.ts";
import { scoreProgram } from "../../../../compiler/elaborate/score.ts";
import { runPasses } from "../../../../compiler/passes/pipeline.ts";
import { requestDawn } from "../../../../runtime/device/dawn/gpu.ts";
import { checkWorkgroups, LimitError } from "../../../../runtime/device/webgpu/limits.ts";
import type { WebGpuSession } from "../../../../runtime/device/webgpu/session.ts";
import { HAS_WEBGPU, onWebGpu } from "../../../support/on-webgpu.ts";
import { checkedModel } from "../../../support/probe.ts";
import { tinyV3, writeTinyV3 } from "../../../support/tiny-v3.ts";

const model = tinyV3();
const opened: WebGpuSession[] = [];
const open = async (options: { partBytes?: number; cacheRows?: number }, name: "score" | "decode") => {
  const program = name === "score" ? scoreProgram(model.module) : servingPrograms(model.module)[1]!;
  const session = await onWebGpu([runPasses(program)], options);
  opened.push(session);
  writeTinyV3(model, session);
  return session;
};
const scored = (T: number) => {
  const tokens = Int32Array.from({ length: T }, (_, i) => (7 * i) % 160);
  const pos = tokens.map((_, i) => i);
  return {
    program: "score",
    sizes: { T, S: T, B: 1 },
    inputs: { tokens, pos, seq: new Int32Array(T), "target.1": tokens.map((_, i) => tokens[i + 1] ?? -1) },
  };
};

afterAll(() => {
  for (const session of opened) session.close();
});

describe.skipIf(!HAS_WEBGPU)("buffers", () => {
  test("params and states in four of them give what they give in one", { timeout: 300_000 }, async () => {
    const one = await open({}, "score");
    // All together do not fit into three.
    const partBytes = Math.ceil(one.memory().storeBytes / 3.5 / 4) * 4;
    const four = await open({ partBytes }, "score");
    expect(four.memory().storeBytes).toBe(one.memory().storeBytes);
    expect(await four.run(scored(9))).toEqual(await one.run(scored(9)));
    for (const { name } of four.stores) expect(await four.read(name)).toEqual(await one.read(name));
    await expect(open({ partBytes: partBytes / 2 }, "score")).rejects.toThrow(
      /^params and states need [\d,]+ bytes, this adapter has at most [\d,]+ \(4 times max\w+\): a model with [\d,]+ params in f32, or more of them as codes, fits$/,
    );
  });

  test("caches and calls that are too large: what would fit is said, and fits", { timeout: 300_000 }, async () => {
    const message = String(await open({ cacheRows: 20_000_000 }, "decode").catch((error: unknown) => error));
    expect(message).toMatch(/^Error: 20,000,000 rows of caches need [\d,]+ bytes, .* rows fit$/);
    const session = await open({ cacheRows: 8 }, "score");
    const error = (await session.run(scored(1_000_000)).catch((e: unknown) => e)) as Error;
    expect(error).toBeInstanceOf(LimitError);
    expect(error.message).toMatch(
      /^the arena of the call needs [\d,]+ bytes, this adapter has at most [\d,]+ \(max\w+\): a call with T = [\d,]+.* fits$/,
    );
    // Nothing is broken by it.
    expect((await session.run(scored(5)))["loss.next_token"]![0]).toBeGreaterThan(0);
  });

  test("a param that no buffer has room for", async () => {
    const { module } = checkedModel(`edition 2026
import { Embedding } from "std/nn"
model Wide {
  dim V = 3_000_000
  dim D = 512
  use embed = Embedding[V, D]
  fn forward(tokens: i32[T], pos: i32[T]) -> f32[T, V] {
    return embed.transposed(embed(tokens))
  }
}
`);
    const { limits } = await requestDawn();
    await expect(onWebGpu([runPasses(scoreProgram(module))])).rejects.toThrow(
      `\`embed.weight\` needs 6,144,000,000 bytes, this adapter has at most ${limits.maxStorageBufferBindingSize.toLocaleString("en-US")}`,
    );
  });
});

test("workgroups that are too small", () => {
  const { kernels } = JSON.parse(
    printWebGpu(lowered([scoreProgram(model.module)]).kernels).get("webgpu.json")!,
  ) as SimtKernels;
  const bytes = Math.max(...kernels.map(({ workgroupBytes = 0 }) => workgroupBytes));
  expect(bytes).toBeGreaterThan(16_384);
  expect(bytes).toBeLessThanOrEqual(32_768);
  const checked = (maxComputeInvocationsPerWorkgroup: number, maxComputeWorkgroupStorageSize: number): void =>
    checkWorkgroups(
      { limits: { maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupStorageSize } } as Pick<GPUDevice, "limits">,
      kernels,
    );
  expect(() => checked(256, bytes)).not.toThrow();
  expect(() => checked(256, bytes - 1)).toThrow(
    `bytes of workgroup memory, this adapter has at most ${(bytes - 1).toLocaleString("en-US")} (maxComputeWorkgroupStorageSize)`,
  );
  expect(() => checked(32, bytes)).toThrow("(maxComputeInvocationsPerWorkgroup)");
});
