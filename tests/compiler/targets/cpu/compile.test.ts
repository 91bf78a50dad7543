import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Cache } from "../../../../runtime/io/cache.ts";
import { CompileError, compileLibrary, VARIANT_FLAGS } from "../../../../compiler/targets/cpu/compile.ts";
import { findCompiler, NoCompilerError } from "../../../../compiler/targets/cpu/compiler.ts";

let directory: string;
let sources: string;
let library: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "dskc-compile-"));
  sources = join(directory, "sources");
  library = join(directory, "out", "x.so");
  mkdirSync(sources);
  vi.stubEnv("DSKC_CACHE", join(directory, "cache"));
  writeFileSync(join(sources, "answer.h"), "#pragma once\n#define ANSWER 42\n");
  source(
    "one.cc",
    '#include "answer.h"\nextern "C" __attribute__((visibility("default"))) int one() { return ANSWER; }\n',
  );
  source("two.cc", "int two() { return 2; }\n");
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(directory, { recursive: true });
});

function source(name: string, text: string): void {
  writeFileSync(join(sources, name), text);
}

/** Which files are compiled. */
async function compile(options: Partial<Parameters<typeof compileLibrary>[0]> = {}): Promise<string[]> {
  const files: string[] = [];
  const onCompile = (file: string): void => void files.push(file.slice(sources.length + 1));
  const { compiled, reused } = await compileLibrary({ directory: sources, library, onCompile, ...options });
  expect([compiled, compiled + reused]).toEqual([files.length, readdirSync(sources).length - 1]);
  return files.toSorted();
}

/** Exported functions. */
function symbols(): string {
  return execFileSync("nm", ["-D", "--defined-only", library], { encoding: "utf8" });
}

describe("compiling kernels", () => {
  test("makes one library that exports what says so, and leaves nothing aside", async () => {
    expect(await compile()).toEqual(["one.cc", "two.cc"]);
    expect(symbols()).toMatch(/ T one$/m);
    expect(symbols()).not.toMatch(/two/);
    expect(readdirSync(join(directory, "out"))).toEqual(["x.so"]);
    expect(readdirSync(join(directory, "cache", "cpu")).filter((name) => name.startsWith("."))).toEqual([]);
  });

  test("compiles what changed: a source alone, all of them for a header, flags or another variant", async () => {
    await compile();
    expect(await compile()).toEqual([]);
    source("two.cc", "int two() { return 22; }\n");
    expect(await compile()).toEqual(["two.cc"]);
    source("two.cc", "int two() { return 2; }\n");
    expect(await compile()).toEqual([]);
    writeFileSync(join(sources, "answer.h"), "#pragma once\n#define ANSWER 43\n");
    expect(await compile()).toEqual(["one.cc", "two.cc"]);
    expect(await compile({ flags: ["-DX"] })).toEqual(["one.cc", "two.cc"]);
  });

  test.runIf(process.arch === "x64")("every variant of x86 compiles", async () => {
    for (const variant of ["x86-64-v2", "x86-64-v3", "x86-64-v4"] as const)
      expect(await compile({ flags: VARIANT_FLAGS[variant] })).toEqual(["one.cc", "two.cc"]);
  });

  test("the same sources in another directory come from the cache", async () => {
    await compile();
    const other = join(directory, "other");
    mkdirSync(other);
    for (const name of ["answer.h", "one.cc"])
      writeFileSync(join(other, name), execFileSync("cat", [join(sources, name)]));
    expect(await compileLibrary({ directory: other, library })).toEqual({ compiled: 0, reused: 1 });
  });

  test("errors of all files are shown with the file and the line; the library stays as it was", async () => {
    await compile();
    const before = symbols();
    source("one.cc", "int one() { return nothing; }\n");
    source("three.cc", "\nint three( { }\n");
    const error = await compile().catch((e: unknown) => e as Error);
    expect(error).toBeInstanceOf(CompileError);
    expect((error as Error).message).toMatch(
      /one\.cc does not compile:\n.*one\.cc:.*\n.*one\.cc:1:20: error: .*nothing/,
    );
    expect((error as Error).message).toMatch(/three\.cc:2:\d+: error/);
    expect(symbols()).toBe(before);
  });

  test("two processes' worth of compilations at once", async () => {
    const results = await Promise.all([1, 2, 3].map((i) => compileLibrary({ directory: sources, library, jobs: i })));
    expect(results.map(({ compiled, reused }) => compiled + reused)).toEqual([2, 2, 2]);
    expect(symbols()).toMatch(/ T one$/m);
  });

  test("an empty directory is an error", async () => {
    for (const name of readdirSync(sources)) rmSync(join(sources, name));
    await expect(compileLibrary({ directory: sources, library })).rejects.toThrow("sources: there is no .cc file");
  });
});

describe("the compiler", () => {
  test("is what CXX says, with arguments", async () => {
    const script = join(directory, "my-compiler");
    writeFileSync(script, '#!/bin/sh\necho "$@" >> "$(dirname "$0")/calls"\nexec g++ "$@"\n');
    chmodSync(script, 0o755);
    vi.stubEnv("CXX", `${script} -Wall`);
    expect((await findCompiler()).command).toEqual([script, "-Wall"]);
    await compile();
    const calls = execFileSync("cat", [join(directory, "calls")], { encoding: "utf8" });
    expect(calls).toMatch(/^-Wall -std=c\+\+20 .* -c .*one\.cc/m);
  });

  test("says what to install where there is none", async () => {
    await expect(findCompiler({ PATH: directory })).rejects.toThrow(NoCompilerError);
    await expect(findCompiler({ PATH: directory })).rejects.toThrow(/neither g\+\+ nor clang\+\+ .*apt install g\+\+/);
    await expect(findCompiler({ PATH: process.env["PATH"], CXX: "no-such-c++" })).rejects.toThrow(
      "CXX is `no-such-c++`, which does not run",
    );
  });
});

describe("the cache", () => {
  test("lies where the environment says", () => {
    const home = join(directory, "home");
    expect(new Cache("cpu", { DSKC_CACHE: join(directory, "a") }).directory).toBe(join(directory, "a", "cpu"));
    expect(new Cache("cpu", { XDG_CACHE_HOME: home }).directory).toBe(join(home, "dskc", "cpu"));
  });

  test("gives way to a temporary directory where it cannot be made", () => {
    writeFileSync(join(directory, "file"), "");
    const { directory: instead } = new Cache("cpu", { DSKC_CACHE: join(directory, "file") });
    expect(instead.startsWith(join(tmpdir(), "dskc-"))).toBe(true);
    rmSync(instead, { recursive: true });
  });

  test("loses what was not used for a month", () => {
    const cache = new Cache("cpu", { DSKC_CACHE: directory });
    const [old, used] = [cache.path("a", "o"), cache.path("b", "o")];
    const long = new Date(Date.now() - 31 * 24 * 3600 * 1000);
    for (const path of [old, used]) {
      writeFileSync(path, "");
      utimesSync(path, long, long);
    }
    expect(cache.has(used)).toBe(true);
    cache.prune();
    expect(readdirSync(cache.directory)).toEqual(["b.o"]);
  });
});
