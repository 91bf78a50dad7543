import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, test } from "vitest";

/** Who may import what: the folders of the left side, in the order of the data, and what each may use beside itself. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  "dsl/syntax": ["compiler/diagnostics"],
  "dsl/format": ["compiler/diagnostics", "dsl/syntax"],
  // The checker writes function bodies as tensor IR while it types them: it needs the IR's types and builder.
  "dsl/semantics": ["compiler/diagnostics", "compiler/model-ir", "compiler/tensor-ir", "dsl/syntax"],
  "compiler/diagnostics": [],
  "compiler/tensor-ir": ["compiler/diagnostics"],
  "compiler/model-ir": ["compiler/diagnostics", "compiler/tensor-ir"],
  "compiler/passes": ["compiler/diagnostics", "compiler/tensor-ir", "compiler/analysis"],
  "compiler/analysis": ["compiler/diagnostics", "compiler/tensor-ir", "compiler/model-ir", "compiler/elaborate"],
  "compiler/elaborate": ["compiler/diagnostics", "compiler/tensor-ir", "compiler/model-ir"],
  // The interpreter stands in for a device: it implements what runtime/device declares.
  "compiler/reference": [
    "compiler/tensor-ir",
    "compiler/model-ir",
    "compiler/elaborate",
    "runtime/device",
    "runtime/program",
  ],
  "compiler/import": ["compiler/diagnostics", "dsl/syntax", "dsl/format", "dsl/semantics", "runtime/io"],
  "compiler/export": ["compiler/diagnostics", "compiler/model-ir", "compiler/import", "dsl/semantics"],
  // The launch program belongs to its reader: the compiler writes what runtime/program declares.
  "compiler/kernel-ir": ["compiler/diagnostics", "compiler/tensor-ir", "runtime/program"],
  "compiler/lower": [
    "compiler/diagnostics",
    "compiler/tensor-ir",
    "compiler/kernel-ir",
    "compiler/passes",
    "compiler/analysis",
    "runtime/program",
  ],
  "compiler/emit": [],
  "compiler/targets/scalars.ts": ["compiler/kernel-ir", "compiler/emit", "runtime/program"],
  "compiler/targets/operands.ts": ["compiler/kernel-ir"],
  "compiler/targets/reserved.ts": ["compiler/kernel-ir"],
  "compiler/targets/cpu": [
    "compiler/targets/scalars.ts",
    "compiler/targets/operands.ts",
    "compiler/targets/reserved.ts",
    "compiler/kernel-ir",
    "compiler/emit",
    "runtime/io",
    "runtime/program",
  ],
  "compiler/targets/simt": ["compiler/targets/scalars.ts", "compiler/kernel-ir", "compiler/emit", "runtime/program"],
  "compiler/targets/cuda": [
    "compiler/targets/scalars.ts",
    "compiler/targets/operands.ts",
    "compiler/targets/reserved.ts",
    "compiler/targets/simt",
    "compiler/kernel-ir",
    "compiler/emit",
    "runtime/program",
    "runtime/io",
  ],
  "compiler/targets/webgpu": [
    "compiler/targets/scalars.ts",
    "compiler/targets/reserved.ts",
    "compiler/targets/simt",
    "compiler/kernel-ir",
    "compiler/emit",
    "runtime/program",
  ],
  "compiler/package": ["compiler", "dsl/semantics", "runtime"],
  "compiler/cli": ["compiler", "dsl", "runtime"],
  "runtime/io": ["runtime/native"],
  "runtime/native": [],
  "runtime/program": ["runtime/io"],
  "runtime/device": ["runtime/program", "runtime/native", "runtime/io"],
  "runtime/data": ["runtime/io"],
  "runtime/train": ["runtime/data", "runtime/device", "runtime/io", "runtime/program"],
  "runtime/serve": ["runtime/data", "runtime/device", "runtime/io", "runtime/program"],
  "runtime/package": [
    "runtime/data",
    "runtime/device",
    "runtime/io",
    "runtime/program",
    "runtime/serve",
    "runtime/train",
  ],
  "runtime/browser": [
    "runtime/data",
    "runtime/device",
    "runtime/io",
    "runtime/package",
    "runtime/program",
    "runtime/serve",
    "runtime/train",
  ],
  "runtime/index.ts": ["runtime"],
};

const root = resolve(import.meta.dirname, "../..");
const IMPORT = /^(?:import|export)\b[^;]*?\bfrom\s+"([^"]+)"|\bimport\("([^"]+)"\)/gm;

interface Import {
  readonly from: string;
  readonly to: string;
  /** Of types alone: gone when the code runs. */
  readonly types: boolean;
}

const files = ["compiler", "dsl", "runtime"]
  .flatMap((top) => readdirSync(join(root, top), { recursive: true, encoding: "utf8" }).map((p) => join(top, p)))
  .filter((p) => p.endsWith(".ts") && !p.includes("node_modules"));

const imports: Import[] = files.flatMap((from) =>
  [...readFileSync(join(root, from), "utf8").matchAll(IMPORT)].map((m) => {
    const target = m[1] ?? m[2]!;
    return {
      from,
      types: /^(import|export) type\b/.test(m[0]),
      to: target.startsWith(".") ? relative(root, resolve(root, dirname(from), target)) : target,
    };
  }),
);

/** The longest folder of the table that holds the file; targets have a line each. */
function folderOf(path: string): string {
  const parts = path.split("/");
  return parts.slice(0, path.startsWith("compiler/targets/") ? 3 : 2).join("/");
}

describe("imports", () => {
  test("every folder has a line in the table", () => {
    const folders = new Set(files.map(folderOf));
    expect([...folders].filter((f) => !Object.hasOwn(ALLOWED, f))).toEqual([]);
  });

  test("keep to the table", () => {
    const wrong = imports.filter(({ from, to }) => {
      if (!/^(compiler|dsl|runtime|templates|tests)\//.test(to)) return false;
      const [mine, theirs] = [folderOf(from), folderOf(to)];
      if (mine === theirs) return false;
      return !ALLOWED[mine]!.some((allowed) => theirs === allowed || theirs.startsWith(`${allowed}/`));
    });
    expect(wrong).toEqual([]);
  });

  test("chevrotain is only known to the syntax, the command line library to the command line", () => {
    const owners: Readonly<Record<string, string>> = { chevrotain: "dsl/syntax", commander: "compiler/cli" };
    const wrong = imports.filter(({ from, to }) => Object.hasOwn(owners, to) && folderOf(from) !== owners[to]);
    expect(wrong).toEqual([]);
  });

  test("templates and ts-morph are known to one file each", () => {
    const importers = (of: string): string[] => imports.filter(({ to }) => to === of).map(({ from }) => from);
    expect(importers("handlebars")).toEqual(["compiler/emit/templates.ts"]);
    expect(importers("ts-morph")).toEqual(["compiler/emit/typescript.ts"]);
  });

  test("have no cycles", () => {
    const graph = new Map<string, string[]>();
    for (const { from, to, types } of imports) if (!types) graph.set(from, [...(graph.get(from) ?? []), to]);
    const state = new Map<string, "open" | "done">();
    const cycles: string[] = [];
    const visit = (file: string, path: readonly string[]): void => {
      if (state.get(file) === "done") return;
      if (state.get(file) === "open") {
        cycles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
        return;
      }
      state.set(file, "open");
      for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
      state.set(file, "done");
    };
    for (const file of files) visit(file, []);
    expect(cycles).toEqual([]);
  });
});
