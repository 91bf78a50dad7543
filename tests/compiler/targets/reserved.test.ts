/** Values may have names that the languages of kernels keep for themselves. */
import { expect, test } from "vitest";

import { CPP_WORDS, withoutReserved } from "../../../compiler/targets/reserved.ts";
import { ProgramBuilder } from "../../../compiler/tensor-ir/builder.ts";
import type { Program, Value } from "../../../compiler/tensor-ir/types.ts";
import type { Session } from "../../../runtime/device/session.ts";
import { onCpu } from "../../support/on-cpu.ts";
import { onCuda } from "../../support/on-cuda.ts";
import { HAS_WEBGPU, onWebGpu } from "../../support/on-webgpu.ts";

const NAMES = (
  "int float register args extents scratch begin end item first limit run bf16 dsk_get __global__ items launch arena lane word " +
  "select var fn array x rows blockIdx threadIdx min max double shared"
).split(" ");

/** `out` is the sum of inputs of these names, and `sums` the sum of each over its rows. */
function program(): Program {
  const builder = new ProgramBuilder(
    new Map([
      ["T", null],
      ["D", 3],
    ]),
  );
  const type = { dtype: "f32", dims: ["T", "D"] } as const;
  const inputs = NAMES.map((name) => builder.emit("program.input", [], type, { name: `in.${name}` }, name));
  const sum = inputs.reduce((a, b) => builder.emit("math.add", [a, b], type));
  builder.effect("program.output", [sum], { name: "out" });
  const columns = inputs.map((x): Value =>
    builder.emit("tensor.reduce", [x], { dtype: "f32", dims: ["D"] }, { kind: "sum" }),
  );
  const all = columns.reduce((a, b) => builder.emit("math.add", [a, b], { dtype: "f32", dims: ["D"] }));
  builder.effect("program.output", [all], { name: "sums" });
  return builder.finish("named");
}

async function check(session: Session): Promise<void> {
  const inputs = Object.fromEntries(
    NAMES.map((name, i) => [`in.${name}`, Float32Array.of(i, 1, 2, 3 * i, 4, 5)] as const),
  );
  const { out, sums } = await session.run({ program: "named", sizes: { T: 2 }, inputs });
  const n = NAMES.length;
  const all = (n * (n - 1)) / 2;
  expect(Array.from(out as Float32Array)).toEqual([all, n, 2 * n, 3 * all, 4 * n, 5 * n]);
  expect(Array.from(sums as Float32Array)).toEqual([4 * all, 5 * n, 7 * n]);
  session.close();
}

test("cpu", async () => check(await onCpu([program()])), 60_000);

test("cuda", async () => check(await onCuda([program()])), 300_000);

test.skipIf(!HAS_WEBGPU)("webgpu", async () => check(await onWebGpu([program()])), 60_000);

test("a name that is free is taken, and only names of arguments, locals and products change", () => {
  const kernel = withoutReserved(
    {
      family: "rows",
      name: "int",
      from: ["float"],
      extents: ["T"],
      args: [
        { name: "int", dtype: "f32", shape: ["T"], access: "read" },
        { name: "int_", dtype: "f32", shape: ["T"], access: "write" },
      ],
      rows: [{ name: "T", extent: "T" }],
      locals: [],
      body: [
        {
          kind: "assign",
          axes: [],
          to: "int_",
          at: [{ kind: "axis", axis: "T" }],
          value: { kind: "load", from: "int", at: [{ kind: "axis", axis: "T" }], dtype: "f32" },
        },
      ],
    },
    new Set(CPP_WORDS.split(" ")),
  );
  expect(kernel.args.map(({ name }) => name)).toEqual(["int_2", "int_"]);
  expect(kernel.body).toMatchObject([{ to: "int_", value: { from: "int_2" } }]);
  expect([kernel.name, kernel.from]).toEqual(["int", ["float"]]);
});
