/** Our declarations of the driver API are those of NVIDIA's header. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";

const HEADERS = [process.env["CUDA_HOME"], process.env["CUDA_PATH"], "/usr/local/cuda", "/usr"]
  .flatMap((root) => (root ? [join(root, "include")] : []))
  .find((path) => existsSync(join(path, "cuda.h")));

const CONSTANTS = /^constexpr \w+ (CU\w+) = /gm;

test.skipIf(HEADERS === undefined)("the driver API is that of cuda.h (skipped where there is no cuda.h)", async () => {
  const { readFileSync } = await import("node:fs");
  const own = resolve("runtime/native/src/cuda/api.h");
  const constants = [...readFileSync(own, "utf8").matchAll(CONSTANTS)].map(([, name]) => name!);
  expect(constants.length).toBeGreaterThan(30);
  const directory = mkdtempSync(join(tmpdir(), "dskc-api-"));
  const file = join(directory, "api.cc");
  writeFileSync(
    file,
    `#define __CUDA_API_VERSION_INTERNAL
#include <cuda.h>
#include <tuple>
#include <type_traits>
#include "${own}"

// The same way to be handed over: pointers, floats, and integers of one size. Enumerations are ints.
template <class A, class B>
constexpr bool alike = sizeof(A) == sizeof(B) && std::is_pointer_v<A> == std::is_pointer_v<B> &&
                       std::is_floating_point_v<A> == std::is_floating_point_v<B>;
template <class A, class B>
constexpr bool same = false;
template <class R, class S, class... A, class... B>
constexpr bool same<R (*)(A...), S (*)(B...)> = [] {
  if constexpr (sizeof...(A) != sizeof...(B)) return false;
  else return alike<R, S> && (alike<A, B> && ...);
}();
namespace dsk::cuda {
#define FUNCTION(name, parameters) \\
  static_assert(same<decltype(&::name), CUresult (*) parameters>, #name);
DSK_CUDA_FUNCTIONS(FUNCTION)
${constants.map((name) => `static_assert(${name} == static_cast<decltype(${name})>(::${name}), "${name}");`).join("\n")}
}
static_assert(sizeof(dsk::cuda::CUtensorMap) == sizeof(::CUtensorMap) && alignof(dsk::cuda::CUtensorMap) == alignof(::CUtensorMap));
using Own = dsk::cuda::CUDA_KERNEL_NODE_PARAMS_v2;
using Theirs = ::CUDA_KERNEL_NODE_PARAMS_v2;
static_assert(sizeof(Own) == sizeof(Theirs));
#define MEMBER(name) static_assert(offsetof(Own, name) == offsetof(Theirs, name), #name);
MEMBER(func) MEMBER(gridDimX) MEMBER(blockDimX) MEMBER(sharedMemBytes) MEMBER(kernelParams) MEMBER(extra) MEMBER(kern) MEMBER(ctx)
`,
  );
  try {
    execFileSync("g++", ["-std=c++20", "-fsyntax-only", `-I${HEADERS}`, file], { stdio: "pipe" });
  } finally {
    rmSync(directory, { recursive: true });
  }
});
