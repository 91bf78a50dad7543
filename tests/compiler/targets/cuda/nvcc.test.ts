/**
 * What nvcc says of generated kernels, where it is: no warnings, no spilled registers, no kernel that takes long, for Hopper and for
 * Ampere. The kernels of a step of generation of DeepSeek-V3 in miniature; with DSKC_NVCC_ALL=1 those of all programs of all specs, and
 * of models that users may write, and a line about each of them. Kernels that are alike but for their name are compiled once, and what was
 * compiled is in the cache.
 */
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { trainPlan } from "../../../../compiler/cli/train-plan.ts";
import { Diagnostics } from "../../../../compiler/diagnostics/diagnostic.ts";
import { scoreProgram } from "../../../../compiler/elaborate/score.ts";
import { serveProgram } from "../../../../compiler/elaborate/serve.ts";
import type { Kernel } from "../../../../compiler/kernel-ir/types.ts";
import { lowered, loweredSource } from "../../../../compiler/package/package.ts";
import { servingPrograms, trainingPrograms } from "../../../../compiler/package/programs.ts";
import { storedForms } from "../../../../compiler/package/weight-form.ts";
import { inDtype } from "../../../../compiler/passes/in-dtype.ts";
import { compileCubins } from "../../../../compiler/targets/cuda/compile.ts";
import { findNvcc } from "../../../../compiler/targets/cuda/nvcc.ts";
import { PRELUDES, printCuda } from "../../../../compiler/targets/cuda/print.ts";
import { readPtxas } from "../../../../compiler/targets/cuda/ptxas.ts";
import { SHORTLIST_FILE } from "../../../../compiler/targets/cuda/shortlist.ts";
import { checkFile } from "../../../../dsl/semantics/check.ts";
import { tinyV3 } from "../../../support/tiny-v3.ts";

const nvcc = await findNvcc();
const all = process.env["DSKC_NVCC_ALL"] === "1";
if (nvcc === undefined) console.warn("CUDA kernels are not compiled here: there is no nvcc (DSKC_NVCC, PATH)");

/** Of a file, and of its compilation in seconds of the processor. */
const MOST_LINES = 400;
const MOST_SECONDS = 5;

const scratch = mkdtempSync(join(tmpdir(), "dskc-nvcc-"));
afterAll(() => rmSync(scratch, { recursive: true }));

const specs = ["specs", "specs/blocks"].flatMap((folder) =>
  readdirSync(folder).flatMap((name) => (name.endsWith(".dsk") ? [`${folder}/${name}`] : [])),
);

/** Texts of kernels without their names, and a name of each. */
class Texts {
  readonly #names = new Map<string, string>();
  #longest = { lines: 0, name: "" };
  readonly faults: string[] = [];
  readonly directory = join(scratch, String(readdirSync(scratch).length));

  constructor() {
    mkdirSync(this.directory);
  }

  /** @param what the program, for messages */
  add(what: string, kernels: readonly Kernel[]): void {
    for (const [file, text] of printCuda(kernels, [SHORTLIST_FILE])) {
      if (PRELUDES.includes(file)) writeFileSync(join(this.directory, file), text);
      if (!file.endsWith(".cu")) continue;
      const [, name, only = ""] = /^(.*?)(\.sm_\w+)?\.cu$/.exec(file)!;
      const lines = text.split("\n").length - 1;
      if (lines > this.#longest.lines) this.#longest = { lines, name: `${what}: ${file}` };
      if (lines > MOST_LINES) this.faults.push(`${what}: ${file} has ${lines} lines`);
      const nameless = text.replaceAll(new RegExp(`\\b${name}(?=_|\\b)`, "g"), "kernel");
      const hash = `k${createHash("sha256").update(nameless).digest("hex").slice(0, 16)}${only}`;
      if (this.#names.has(hash)) continue;
      this.#names.set(hash, `${what}: ${file}`);
      writeFileSync(join(this.directory, `${hash}.cu`), nameless);
    }
  }

  /** What is wrong with them, a line each. @param path for a line about all of them */
  async compile(path: string): Promise<string[]> {
    const cubins = await compileCubins(this.directory, { nvcc: nvcc!, jobs: availableParallelism() });
    const [slowest] = cubins.toSorted((a, b) => b.seconds! - a.seconds!);
    const { lines, name: longest } = this.#longest;
    const slow = `${slowest!.seconds} s (${this.#names.get(slowest!.name)} for ${slowest!.architecture})`;
    console.info(`${path}: ${this.#names.size} kernels, at most ${slow} and ${lines} lines (${longest})`);
    const compiled = new Set(cubins.map(({ name }) => name));
    const missing = [...this.#names].flatMap(([hash, name]) =>
      compiled.has(hash) ? [] : [`${name} was not compiled`],
    );
    return [
      ...this.faults,
      ...missing,
      ...cubins.flatMap(({ name, architecture, warnings, usages, seconds = Number.POSITIVE_INFINITY }) =>
        [
          ...warnings,
          ...usages.flatMap(({ entry, spilledBytes }) =>
            spilledBytes === 0 ? [] : [`${spilledBytes} bytes of registers of ${entry} are spilled`],
          ),
          ...(usages.length === 0 ? ["no entry point"] : []),
          ...(seconds > MOST_SECONDS ? [`took ${seconds} s`] : []),
        ].map((fault) => `${this.#names.get(name)} for ${architecture}: ${fault}`),
      ),
    ];
  }
}

/** All that a file's models can do: answers in each form in which they are stored, and each training. */
async function faultsOf(path: string, inF32 = false): Promise<string[]> {
  const texts = new Texts();
  const diagnostics = new Diagnostics();
  const { models, sections } = checkFile({ path, text: readFileSync(path, "utf8") }, diagnostics);
  if (diagnostics.hasErrors) throw new Error(`${path} has errors`);
  const plans = new Set<string>();
  for (const [name, model] of models) {
    const own = sections.all.filter((section) => section.model === name);
    const answers = [scoreProgram(model.module), ...servingPrograms(model.module)];
    for (const section of [undefined, ...own.filter(({ kind }) => kind === "serve")])
      texts.add(`${name}`, loweredSource({ programs: answers, ...storedForms(section) }).kernels);
    if (inF32) texts.add(`${name} in f32`, lowered(answers.map((program) => inDtype(program, "f32"))).kernels);
    const training = model.training();
    const trains = own.filter(({ kind, entries }) => kind === "train" && entries.has("loss"));
    for (const section of trains.length === 0 ? [undefined] : trains) {
      const plan = trainPlan(section, training);
      const optimizer = section?.entries.get("optimizer")?.value;
      const key = JSON.stringify([name, plan, optimizer], (at, value: unknown) => (at === "span" ? undefined : value));
      if (plans.has(key)) continue;
      plans.add(key);
      const { programs } = trainingPrograms(model.module, training.module, plan, true);
      texts.add(`${name}, ${section?.name ?? "training"}`, lowered(programs).kernels);
    }
  }
  return texts.compile(path);
}

describe.skipIf(nvcc === undefined)("nvcc takes", () => {
  test("a step of generation of DeepSeek-V3 in miniature", async () => {
    const texts = new Texts();
    texts.add("decode", lowered([serveProgram(tinyV3().module, "decode")]).kernels);
    expect(await texts.compile("DeepSeek-V3 in miniature")).toEqual([]);
  }, 600_000);

  test.skipIf(!all).each(specs)("%s", async (path) => expect(await faultsOf(path)).toEqual([]), 3_600_000);

  test.skipIf(!all)(
    "models that users may write",
    async () => expect(await faultsOf(join(import.meta.dirname, "users.dsk"), true)).toEqual([]),
    3_600_000,
  );
});

test("what ptxas says is read", () => {
  const text = `k.cu(3): warning #177-D: variable "x" was declared but never referenced
ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to ...
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'k_main' for 'sm_90a'
ptxas info    : Function properties for k_main
    8 bytes stack frame, 4 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 32 registers, used 1 barriers, 8 bytes cumulative stack size, 240 bytes smem
ptxas info    : Function properties for __internal_trig_reduction_slowpathd
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
0m0.01s 0m0.00s
1m2.25s 0m0.50s
`;
  expect(readPtxas(text)).toEqual({
    seconds: 62.75,
    usages: [{ entry: "k_main", registers: 32, sharedBytes: 240, stackBytes: 8, spilledBytes: 16 }],
    warnings: [
      'k.cu(3): warning #177-D: variable "x" was declared but never referenced',
      "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to ...",
    ],
  });
});
