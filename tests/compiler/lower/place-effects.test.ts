/** Updates in place: who still reads the old value finds it, in whatever order a kernel's statements run. */
import { describe, expect, test } from "vitest";
import { lowerPrograms } from "../../../compiler/lower/lower.ts";
import { runProgram } from "../../../compiler/reference/run.ts";
import { parseProgram } from "../../../compiler/tensor-ir/parse.ts";
import type { Program } from "../../../compiler/tensor-ir/types.ts";
import { decoded, encoded } from "../../../runtime/device/elements.ts";
import type { Session } from "../../../runtime/device/session.ts";
import { onCpu } from "../../support/on-cpu.ts";
import { HAS_WEBGPU, onWebGpu } from "../../support/on-webgpu.ts";

const CASES = {
  "the old value is read behind the update": `
    %2: f32[D] = math.mul %0, %1
    %3: f32[D] = math.add %2, %1
    model.update %3 {name = "m"}
    %4: f32[D] = math.sub %3, %0
    program.output %4 {name = "out"}`,
  "what is made of the old value is read behind the update": `
    %2: f32[D] = math.square %0
    %3: f32[D] = math.add %0, %1
    model.update %3 {name = "m"}
    %4: f32[D] = math.sub %3, %2
    program.output %4 {name = "out"}`,
  "two updates of each other's old value": `
    %2: f32[D] = model.state {name = "n"}
    %3: f32[D] = math.add %0, %2
    %4: f32[D] = math.sub %0, %2
    model.update %3 {name = "m"}
    model.update %4 {name = "n"}
    program.output %4 {name = "out"}`,
};

function programOf(body: string, size = 5): Program {
  return parseProgram(`program @p
dims { D = ${size} }
{
    %0: f32[D] = model.state {name = "m"}
    %1: f32[D] = program.input {name = "x"}
${body}
}
`);
}

test.each(Object.entries(CASES))(
  "%s",
  async (_, body) => {
    const program = programOf(body);
    const m = [1, 2, 3, 4, 5];
    const x = [7, 1, -2, 0.5, 3];
    const n = [2, 4, 8, 16, 32];
    const values = new Map(Object.entries({ m, x, n }).map(([name, data]) => [name, { data }]));
    const want = runProgram(program, { sizes: {}, values });
    const session = await onCpu([program]);
    session.write("m", Float32Array.from(m));
    if (body.includes('"n"')) session.write("n", Float32Array.from(n));
    const { out } = await session.run({ program: "p", sizes: {}, inputs: { x: Float32Array.from(x) } });
    expect(Array.from(out as Float32Array)).toEqual(Array.from(want.outputs.get("out")!.data));
    for (const [name, { data }] of want.updates)
      expect(Array.from(session.read(name) as Float32Array)).toEqual(Array.from(data));
    session.close();
  },
  60_000,
);

describe("a rounded state", () => {
  const rounded = (size: number): Program =>
    programOf(
      `
    %2: bf16[D] = model.state {name = "kept"}
    %3: f32[D] = tensor.cast %2
    %4: f32[D] = math.add %3, %1
    %5: bf16[D] = tensor.cast %4
    model.update %5 {name = "kept"}
    %6: f32[D] = math.mul %4, %0
    program.output %6 {name = "out"}`,
      size,
    );

  test("is updated in place", () => {
    const { kernels, programs } = lowerPrograms([rounded(5)]);
    expect(programs[0]!.launches).toHaveLength(1);
    expect(kernels[0]!.args.map(({ dtype, access }) => `${access} ${dtype}`)).toContain("update bf16");
  });

  const devices = [["cpu", onCpu], ...(HAS_WEBGPU ? [["webgpu", onWebGpu] as const] : [])] as const;
  test.each(devices)(
    "finds the old value and keeps the new one (%s)",
    async (_, open) => {
      for (const size of [5, 64, 1001]) {
        const program = rounded(size);
        const [m, kept, x] = [3, 5, 7].map((by) => Array.from({ length: size }, (__, i) => ((i * by) % 11) / 4));
        const values = new Map(Object.entries({ m, kept, x }).map(([name, data]) => [name, { data: data! }]));
        const want = runProgram(program, { sizes: {}, values });
        const session: Session = await open([program]);
        await session.write("m", Float32Array.from(m!));
        await session.write("kept", encoded(kept!, "bf16"));
        const { out } = await session.run({ program: "p", sizes: {}, inputs: { x: Float32Array.from(x!) } });
        expect(Array.from(out as Float32Array)).toEqual(Array.from(want.outputs.get("out")!.data));
        expect(Array.from(decoded(await session.read("kept"), "bf16"))).toEqual(
          Array.from(want.updates.get("kept")!.data),
        );
        session.close();
      }
    },
    60_000,
  );
});
