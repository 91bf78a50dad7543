/** Casts to narrow floats on every device, as the interpreter and as another implementation make them. */
import { expect, test } from "vitest";
import { castProgram, wrongByTable, wrongCasts } from "../support/cast-program.ts";
import { onCpu } from "../support/on-cpu.ts";
import { onCuda } from "../support/on-cuda.ts";
import { HAS_WEBGPU, onWebGpu } from "../support/on-webgpu.ts";

test("cpu", async () => {
  const session = await onCpu([castProgram()]);
  expect(await wrongCasts(session)).toEqual([]);
  expect(await wrongByTable(session)).toEqual([]);
  session.close();
}, 60_000);

test("cuda", async () => {
  const session = await onCuda([castProgram()]);
  expect(await wrongCasts(session)).toEqual([]);
  expect(await wrongByTable(session)).toEqual([]);
  session.close();
}, 300_000);

test.skipIf(!HAS_WEBGPU)(
  "webgpu",
  async () => {
    const session = await onWebGpu([castProgram()]);
    expect(await wrongCasts(session)).toEqual([]);
    expect(await wrongByTable(session)).toEqual([]);
    session.close();
  },
  60_000,
);
