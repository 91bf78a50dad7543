import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, test } from "vitest";

/** The program as users run it: the bundle that the test run builds. */
const root = resolve(import.meta.dirname, "../../..");
const folder = mkdtempSync(join(tmpdir(), "dskc-"));

afterAll(() => rmSync(folder, { recursive: true }));

function dskc(args: readonly string[], input = "", env: Record<string, string> = {}): SpawnSyncReturns<string> {
  const options = { cwd: root, encoding: "utf8", input, env: { ...process.env, ...env } } as const;
  return spawnSync(process.execPath, ["bin/dskc.js", ...args], options);
}

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const GOOD = "edition 2026\n\nblock Demo[D, F] {\n  param w: [D, F]\n}\n";
const BAD = "edition 2026\n\nblock Demo[D, F] {\n  param w: [D, G]\n}\n";

describe("the shell", () => {
  test("help lists the commands, on stdout", () => {
    const { status, stdout, stderr } = dskc(["--help"]);
    expect([status, stderr]).toEqual([0, ""]);
    for (const name of ["check", "fmt", "inspect", "build", "explain"]) expect(stdout).toContain(`\n  ${name}`);
    expect(dskc(["help"])).toMatchObject({ status: 0, stdout, stderr: "" });
    expect(dskc(["help", "check"])).toMatchObject({ status: 0, stdout: dskc(["check", "--help"]).stdout });
  });

  test("every command has an example in its help", () => {
    const commands = [...dskc(["--help"]).stdout.matchAll(/^ {2}([a-z]+) {2,}/gm)].map((m) => m[1]!);
    expect(commands.length).toBeGreaterThanOrEqual(5);
    for (const command of commands) {
      expect(dskc([command, "--help"]).stdout).toMatch(new RegExp(`Examples?:\n  dskc ${command} `));
    }
  });

  test("version", () => {
    const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
    expect(dskc(["--version"]).stdout).toBe(`${manifest.version}\n`);
  });

  test("wrong usage is 2, and says what was meant", () => {
    expect(dskc([])).toMatchObject({ status: 2, stdout: "" });
    const misspelt = dskc(["chekc"]);
    expect(misspelt).toMatchObject({ status: 2, stdout: "" });
    expect(misspelt.stderr).toContain("unknown command 'chekc'\n(Did you mean check?)");
    expect(dskc(["check"]).status).toBe(2);
    expect(dskc(["check", "--jsno", "x.dsk"])).toMatchObject({ status: 2, stdout: "" });
  });

  test.each([
    ["fmt", []],
    ["inspect", []],
    ["score", ["--weights", "w", "--tokens", "t", "-o", "o"]],
    ["import", []],
    ["build", []],
    ["export", ["-o", "o"]],
    ["train", []],
    ["generate", ["--prompt", "p"]],
    ["serve", []],
    ["bench", ["latency"]],
  ])("%s of a file that is not there is an error of the input", (command, more) => {
    const { status, stdout, stderr } = dskc([command, ...more, "no-such.dsk"]);
    expect([status, stdout, stderr]).toEqual([1, "", "dskc: cannot read `no-such.dsk`: there is no such file\n"]);
  });

  test("text that is not UTF-8 is an error of the input", () => {
    const path = join(folder, "latin1.dsk");
    writeFileSync(path, Buffer.from([0x62, 0xe9]));
    expect(dskc(["inspect", path])).toMatchObject({ status: 1, stderr: `dskc: \`${path}\` is not UTF-8 text\n` });
    const { status, stderr } = dskc(["check", path]);
    expect(status).toBe(1);
    expect(stderr).toContain(`error[DSK0018 unusable-input]: \`${path}\` is not UTF-8 text\n  ┌─ ${path}:1:1\n`);
  });

  test("a file without a model where one is needed", () => {
    const { status, stderr } = dskc(["inspect", file("good.dsk", GOOD)]);
    expect(status).toBe(1);
    expect(stderr).toContain("error[DSK2001 no-model]");
  });

  test("a fault of dskc is 70, with a stack for those who ask", () => {
    // An installation without its standard library.
    const broken = join(folder, "broken");
    for (const path of ["bin/dskc.js", "dist/dskc.js", "dist/commands", "package.json"])
      cpSync(join(root, path), join(broken, path), { recursive: true });
    const run = (env: Record<string, string>): SpawnSyncReturns<string> =>
      spawnSync(process.execPath, [join(broken, "bin/dskc.js"), "check", "-"], {
        encoding: "utf8",
        input: GOOD,
        env: { ...process.env, ...env },
      });
    const plain = run({ DSKC_DEBUG: "" });
    expect([plain.status, plain.stdout]).toEqual([70, ""]);
    expect(plain.stderr).toBe(
      "error[DSK9001 internal-error]: dskc made a mistake: the standard library is missing from the installation\n" +
        "This is a fault of dskc, not of your spec. Please report it with the command and the spec.\n" +
        "DSKC_DEBUG=1 shows where it happened.\n",
    );
    expect(run({ DSKC_DEBUG: "1" }).stderr).toMatch(/\n {4}at /);
  });

  test("a closed pipe is quiet", () => {
    const script = `set -o pipefail; ${process.execPath} bin/dskc.js explain DSK1203 | true`;
    const { stderr } = spawnSync("bash", ["-c", script], { cwd: root, encoding: "utf8" });
    expect(stderr).toBe("");
  });
});

describe("check", () => {
  test("a sound file", () => {
    const path = file("good.dsk", GOOD);
    expect(dskc(["check", path])).toMatchObject({ status: 0, stdout: "", stderr: `${path}: no problems\n` });
  });

  test("an error, without colors when nobody looks", () => {
    const path = file("bad.dsk", BAD);
    const { status, stdout, stderr } = dskc(["check", path]);
    expect([status, stdout]).toEqual([1, ""]);
    expect(stderr).toContain("error[DSK1001 unknown-name]");
    expect(stderr).toContain(`┌─ ${path}:4:16`);
    expect(stderr.endsWith(`${path}: 1 error\n`)).toBe(true);
    expect(stderr).not.toContain("\u001b[");
    expect(dskc(["check", "--color", path]).stderr).toContain("\u001b[31m");
  });

  test("stdin, as JSON", () => {
    const { status, stdout, stderr } = dskc(["check", "--json", "-"], BAD);
    expect([status, stderr]).toEqual([1, ""]);
    const report = JSON.parse(stdout) as { errors: number; diagnostics: unknown[] };
    expect(report).toMatchObject({ errors: 1, warnings: 0 });
    expect(report.diagnostics).toMatchObject([{ code: "DSK1001", file: "<stdin>", start: { line: 4, column: 16 } }]);
  });

  test("GitHub annotations and SARIF", () => {
    const path = file("bad.dsk", BAD);
    expect(dskc(["check", "--format", "github", path]).stdout).toMatch(/^::error file=.*line=4,.*::nothing is called/);
    const sarif = JSON.parse(dskc(["check", "--format", "sarif", path]).stdout) as { version: string };
    expect(sarif).toMatchObject({ version: "2.1.0", runs: [{ results: [{ ruleId: "DSK1001", level: "error" }] }] });
    expect(dskc(["check", "--format", "srif", path])).toMatchObject({
      status: 2,
      stderr: "dskc: there is no format `srif`; did you mean `sarif`?\n",
    });
  });

  test("a file that is not there beside one with an error", () => {
    const path = file("bad.dsk", BAD);
    const { status, stdout, stderr } = dskc(["check", "no-such.dsk", path]);
    expect([status, stdout]).toEqual([1, ""]);
    expect(stderr).toContain("error[DSK0018 unusable-input]: cannot read `no-such.dsk`: there is no such file\n");
    expect(stderr).toContain(`┌─ ${path}:4:16`);
    expect(stderr.endsWith("2 files: 2 errors\n")).toBe(true);
  });

  test("a file that is not there, for programs", () => {
    const document = JSON.parse(dskc(["check", "--json", "no-such.dsk"]).stdout) as object;
    const place = { line: 1, column: 1, offset: 0 };
    expect(document).toMatchObject({
      errors: 1,
      warnings: 0,
      diagnostics: [{ code: "DSK0018", file: "no-such.dsk", start: place, end: place }],
    });
    const sarif = JSON.parse(dskc(["check", "--format", "sarif", "no-such.dsk"]).stdout) as object;
    expect(sarif).toMatchObject({ runs: [{ results: [{ ruleId: "DSK0018", level: "error" }] }] });
    expect(dskc(["check", "--format", "github", "no-such.dsk"]).stdout).toBe(
      "::error file=no-such.dsk,line=1,endLine=1,col=1,endColumn=1,title=DSK0018 unusable-input::" +
        "cannot read `no-such.dsk`: there is no such file\n",
    );
  });

  test("an expectation that fails", () => {
    const model = readFileSync(join(root, "specs/quickstart.dsk"), "utf8").replace(
      "cache.values == 256",
      "cache.values == 257",
    );
    const { status, stderr } = dskc(["check", file("expect.dsk", model)]);
    expect(status).toBe(1);
    expect(stderr).toContain("error[DSK2201 expectation-failed]: expected cache.values == 257, it is 256");
  });

  test("notes only when asked for", () => {
    const path = file("target.dsk", "edition 2026\n\ntarget cpu { threads = 4 }\n");
    expect(dskc(["check", path]).stderr).toBe(`${path}: no problems\n`);
    expect(dskc(["check", "--verbose", path]).stderr).toContain("note[DSK6901 not-executed]: `threads` is checked");
    const noted = dskc(["check", "--verbose", join(root, "specs/deepseek-v3.dsk")]).stderr;
    expect(noted).toContain("note[DSK6901 not-executed]: `pipeline` is checked");
    expect(noted).not.toContain("`precision.gemm` is checked");
    expect(noted).not.toContain("`lr` is checked");
  });
});

describe("--json of other commands, when the input has errors", () => {
  const commands: readonly (readonly [string, readonly string[]])[] = [
    ["inspect", []],
    ["train", []],
    ["generate", ["--prompt", "p"]],
    ["bench", ["kernels"]],
  ];

  test.each(commands)("%s prints what check prints", (command, more) => {
    const path = file("bad.dsk", BAD);
    const { status, stdout, stderr } = dskc([command, "--json", ...more, path]);
    expect([status, stderr]).toEqual([1, ""]);
    expect(JSON.parse(stdout)).toEqual(JSON.parse(dskc(["check", "--json", path]).stdout));
  });

  test.each(commands)("%s tells of a file that is not there", (command, more) => {
    const { status, stdout, stderr } = dskc([command, "--json", ...more, "no-such.dsk"]);
    expect([status, stderr]).toEqual([1, ""]);
    expect(JSON.parse(stdout)).toEqual(JSON.parse(dskc(["check", "--json", "no-such.dsk"]).stdout));
  });

  test("a config.json that is not understood", () => {
    const path = file("config.json", '{"architectures": ["Strange"], "model_type": "strange"}');
    const { status, stdout, stderr } = dskc(["inspect", "--json", path]);
    expect([status, stderr]).toEqual([1, ""]);
    expect(JSON.parse(stdout)).toMatchObject({ errors: 1, diagnostics: [{ code: "DSK0018", file: path }] });
  });

  test("facts of a model whose expectation fails are still its facts", () => {
    const model = readFileSync(join(root, "specs/quickstart.dsk"), "utf8").replace("== 256", "== 257");
    const { status, stdout, stderr } = dskc(["inspect", "--json", file("expect.dsk", model)]);
    expect(status).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ model: "Tiny" });
    expect(stderr).toContain("error[DSK2201 expectation-failed]");
  });
});

describe("explain", () => {
  test("by code and by name", () => {
    const page = readFileSync(join(root, "docs/errors/DSK1203.md"), "utf8");
    expect(dskc(["explain", "DSK1203"])).toMatchObject({ status: 0, stdout: page });
    expect(dskc(["explain", "dim-mismatch"])).toMatchObject({ status: 0, stdout: page });
  });

  test("an unknown code", () => {
    expect(dskc(["explain", "dim-mismach"])).toMatchObject({
      status: 2,
      stderr: "dskc: there is no diagnostic `dim-mismach`; did you mean `dim-mismatch`?\n",
    });
  });

  test("all of them", () => {
    expect(dskc(["explain"]).stdout).toContain("DSK1203  error    dim-mismatch\n");
  });
});

describe("init", () => {
  test("writes a spec that checks, is formatted, and keeps its expectations", () => {
    const dir = join(folder, "started", "here");
    const path = join(dir, "model.dsk");
    expect(dskc(["init", dir])).toMatchObject({
      status: 0,
      stdout: "",
      stderr: `wrote \`${path}\`; next: \`dskc check ${path}\`, \`dskc inspect ${path}\`\n`,
    });
    expect(dskc(["check", path])).toMatchObject({ status: 0, stderr: `${path}: no problems\n` });
    expect(dskc(["fmt", "--check", path]).status).toBe(0);
    expect(dskc(["inspect", path]).stdout).toContain("2 of 2 expectations hold");
  });

  test("every command that it names is one", () => {
    const text = readFileSync(join(root, "dsl/start/model.dsk"), "utf8");
    const named = [...text.matchAll(/^\/\/ {5}dskc (\S+)/gm)].map((m) => m[1]!);
    expect(named.length).toBeGreaterThan(3);
    const { stdout } = dskc(["--help"]);
    for (const name of named) expect(stdout).toContain(`\n  ${name} `);
  });

  test("leaves what is there", () => {
    const path = file("model.dsk", GOOD);
    expect(dskc(["init", folder])).toMatchObject({ status: 1, stderr: `dskc: \`${path}\` is there already\n` });
    expect(readFileSync(path, "utf8")).toBe(GOOD);
    expect(dskc(["init", join(path, "sub")])).toMatchObject({
      status: 1,
      stderr: `dskc: cannot write \`${path}/sub\`: a part of the path is no directory\n`,
    });
  });
});

describe("doctor", () => {
  interface Report {
    readonly node: string;
    readonly cores: number;
    readonly tools: readonly { readonly name: string; readonly found: string | null }[];
  }

  test("tells what the PATH has", () => {
    const bin = mkdtempSync(join(folder, "bin-"));
    for (const [name, says] of [
      ["g++", "g++ (Some Linux) 12.2.0\nCopyright"],
      ["nvcc", "nvcc: NVIDIA (R) Cuda compiler driver\nCuda compilation tools, release 12.4, V12.4.131"],
    ] as const) {
      writeFileSync(join(bin, name), `#!/bin/sh\ncat <<'END'\n${says}\nEND\n`, { mode: 0o755 });
    }
    const { status, stdout, stderr } = dskc(["doctor", "--json"], "", { PATH: `${bin}:/bin`, CXX: "" });
    expect([status, stderr]).toEqual([0, ""]);
    const report = JSON.parse(stdout) as Report;
    expect(report.node).toBe(process.versions.node);
    expect(report.cores).toBeGreaterThan(0);
    const found = Object.fromEntries(report.tools.map((tool) => [tool.name, tool.found]));
    expect(found).toMatchObject({
      "C++ compiler": "g++ (Some Linux) 12.2.0",
      nvcc: expect.stringMatching(/^release 12\.4, .*nvcc$/) as string,
    });
  });

  test("and what is missing", () => {
    const DSKC_LIBCUDA = join(folder, "libcuda.so.1");
    const { status, stdout } = dskc(["doctor"], "", { PATH: join(folder, "nothing"), CXX: "", DSKC_LIBCUDA });
    expect(status).toBe(0);
    expect(stdout).toContain("C++ compiler  not found, needed for the device cpu: install g++ or set CXX\n");
    expect(stdout).toMatch(
      /^CUDA +not found, needed for the device cuda: there is no CUDA driver \(.*libcuda.so.1.*\): install /m,
    );
  });
});
