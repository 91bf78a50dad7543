import { expect, test } from "vitest";
import { NoCudaError } from "../../../../runtime/device/cuda/errors.ts";
import { architecturesOf, findGpus } from "../../../../runtime/device/cuda/gpu.ts";

test.each([
  [9, 0, ["sm_90a", "sm_90"]],
  [8, 9, ["sm_89", "sm_88", "sm_87", "sm_86", "sm_85", "sm_84", "sm_83", "sm_82", "sm_81", "sm_80"]],
  [8, 0, ["sm_80"]],
  [12, 1, ["sm_121a", "sm_121", "sm_120"]],
])("a GPU of %i.%i runs its own cubins and older ones of its generation", (major, minor, folders) => {
  expect(architecturesOf({ major, minor })).toEqual(folders);
});

test("without a driver the message says what was looked for and what helps", () => {
  const before = process.env["DSKC_LIBCUDA"];
  process.env["DSKC_LIBCUDA"] = "/nowhere/libcuda.so.1";
  try {
    expect(() => findGpus()).toThrow(NoCudaError);
    expect(() => findGpus()).toThrow(
      /^there is no CUDA driver \(\/nowhere\/libcuda\.so\.1: .*\(DSKC_LIBCUDA\)\): install the NVIDIA driver .* or use --device cpu$/,
    );
  } finally {
    if (before === undefined) delete process.env["DSKC_LIBCUDA"];
    else process.env["DSKC_LIBCUDA"] = before;
  }
});
