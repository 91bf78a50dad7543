/** Every call of the driver fails once: the error says which, nothing else breaks, and nothing is left. */
import { execFile } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bundle } from "../../../support/bundle.ts";
import { cudaPackage } from "../../../support/cuda/package.ts";
import { standIn } from "../../../support/cuda/build.ts";
import { KERNELS, PROGRAMS } from "./kernels.ts";

let directory: string;
let child: string;
let library: string;

beforeAll(async () => {
  [directory, child, library] = await Promise.all([cudaPackage(KERNELS, PROGRAMS), bundle("cuda-child"), standIn()]);
}, 120_000);
afterAll(() => rmSync(directory, { recursive: true }));

interface Told {
  readonly errors: readonly { readonly name: string; readonly message: string }[];
  /** What was not freed. */
  readonly leaks: string;
}

async function run(what: string, environment: Readonly<Record<string, string>>): Promise<Told> {
  const env = { ...process.env, DSKC_LIBCUDA: library, DSK_LEAKS: "1", ...environment };
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [child, directory, what], { env });
  return { errors: JSON.parse(stdout), leaks: stderr };
}

/** What frees: sessions that end cannot tell anybody. */
const FREES = /(?:Free|FreeHost|Destroy|Unload|Release)$/;
/** Says what an error is; tensor maps are made for kernels that have them. */
const OTHERS = /^cuGetError|^cuTensorMap/;

const functions = [...readFileSync("runtime/native/src/cuda/api.h", "utf8").matchAll(/^ {2}X\((cu\w+),/gm)].map(
  ([, name]) => name!.replace(/_v2$/, ""),
);

test("without failures there are no errors and no leaks", async () => {
  expect(await run("all", {})).toEqual({ errors: [], leaks: "" });
});

test.each(functions.filter((name) => !FREES.test(name) && !OTHERS.test(name)))("%s", async (name) => {
  const { errors, leaks } = await run("all", { DSK_FAIL: `${name.replace(/WithFlags$/, "")}:1:1` });
  expect(errors).toEqual([
    { name: "DeviceError", message: expect.stringMatching(new RegExp(`${name}(_v2)?: CUDA_ERROR_INVALID_VALUE`)) },
  ]);
  expect(leaks).toBe("");
});

test.each(functions.filter((name) => FREES.test(name)))("%s fails and nobody minds", async (name) => {
  expect((await run("all", { DSK_FAIL: `${name}:1:1` })).errors).toEqual([]);
});

test("the launch is named with its place", async () => {
  const { errors } = await run("all", { DSK_FAIL: "cuLaunchKernel:2:1" });
  expect(errors[0]!.message).toBe(
    "program chain, launch 1 (axpy: chain.dsk:4, axpy_main): cuLaunchKernel: CUDA_ERROR_INVALID_VALUE (invalid argument)",
  );
});

// cuda.h: each "leaves the process in an inconsistent state", or the process "must be terminated and relaunched".
test.each([226, 700, 719, 810])("error %i loses the GPU", async (code) => {
  const { errors } = await run("all", { DSK_FAIL: `cuLaunchKernel:2:${code}` });
  expect(errors[0]!.name).toBe("DeviceLostError");
});

test.each([1, 2, 3])("no memory for the block %i", async (block) => {
  const { errors, leaks } = await run("all", { DSK_FAIL: `cuMemAlloc:${block}` });
  expect(errors).toEqual([
    {
      name: "MemoryError",
      message: expect.stringMatching(
        block === 3
          ? /^program chain: cuMemAlloc_v2: CUDA_ERROR_OUT_OF_MEMORY \(out of memory\)$/
          : /^params, states and 64 rows of caches need 17,152 bytes of memory on .*: cuMemAlloc_v2: CUDA_ERROR_OUT_OF_MEMORY/,
      ),
    },
  ]);
  expect(leaks).toBe("");
});

test("no GPU", async () => {
  const { errors } = await run("all", { DSK_DEVICES: "0" });
  expect(errors[0]).toEqual({
    name: "NoCudaError",
    message: expect.stringMatching(
      /^the CUDA driver finds no GPU \(cuInit: CUDA_ERROR_NO_DEVICE .*\): install the NVIDIA driver/,
    ),
  });
});

test.each(["0", "1"])("a launch that stops (DSKC_CUDA_CHECK=%s)", async (check) => {
  const { errors } = await run("stray", { DSKC_CUDA_CHECK: check });
  expect(errors.map(({ name }) => name)).toEqual(["DeviceLostError", "DeviceLostError"]);
  // On a GPU the message of the driver is all that is told.
  const [first, later] = errors.map(({ message }) => message);
  expect(first).toMatch(
    check === "1"
      ? /^the GPU was lost: program stray, launch 1 \(stray: model\.dsk:12:5, stray_main\): cuStreamSynchronize: CUDA_ERROR_/
      : /^the GPU was lost: program stray: cu\w+: CUDA_ERROR_.*; with DSKC_CUDA_CHECK=1 the launch that did it is named$/,
  );
  expect(later).toBe(first);
});
