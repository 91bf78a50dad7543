/** Random programs with their gradients: generated kernels against the interpreter. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { runPasses } from "../../../../compiler/passes/pipeline.ts";
import { runProgram } from "../../../../compiler/reference/run.ts";
import { parseProgram } from "../../../../compiler/tensor-ir/parse.ts";
import { printProgram } from "../../../../compiler/tensor-ir/print.ts";
import type { Program } from "../../../../compiler/tensor-ir/types.ts";
import { encoded } from "../../../../runtime/device/elements.ts";
import { HAS_WEBGPU, onWebGpu } from "../../../support/on-webgpu.ts";
import { givenInputs, randomProgram, SIZES, withGradients } from "../../../support/random-program.ts";

/** The same program with a static dim as one that is bound at run time: values have rows then. */
function relabeled(program: Program, labels: Readonly<Record<string, string>>): Program | undefined {
  const text = printProgram(program);
  // Merged and joined dims have static sizes.
  if (/A\*B|B\+C/.test(text.slice(text.indexOf("{\n"))) && Object.keys(labels).length > 0) return undefined;
  const renamed = Object.entries(labels).reduce(
    (all, [from, to]) => all.replaceAll(new RegExp(`(?<![\\w+*])${from}(?![\\w+*])`, "g"), to),
    text.replace(/^dims \{.*\}$/m, (dims) =>
      Object.keys(labels).reduce(
        (d, label) => d.replace(new RegExp(`(?<![\\w+*])${label} = \\d+`), `${label} = ?`),
        dims,
      ),
    ),
  );
  return parseProgram(renamed);
}

const VARIANTS: readonly Readonly<Record<string, string>>[] = [{}, { A: "T" }, { B: "T" }, { A: "T", B: "S" }];

test.skipIf(!HAS_WEBGPU)(
  "random programs on WebGPU",
  async () => {
    const randoms = fc.sample(randomProgram, { numRuns: 14, seed: 21 });
    const cases = randoms.flatMap((random, i) =>
      VARIANTS.flatMap((labels, v) => {
        const program = relabeled(runPasses(withGradients(random)), labels);
        const sizes = Object.fromEntries(
          Object.entries(labels).map(([from, to]) => [to, SIZES[from as keyof typeof SIZES]]),
        );
        return program === undefined
          ? []
          : [{ random, program: { ...program, name: `${i % 2 === 0 ? "p" : "draft."}${i}_${v}` }, sizes }];
      }),
    );
    expect(cases.length).toBeGreaterThan(25);
    const session = await onWebGpu(cases.map(({ program }) => program));
    for (const { random, program, sizes } of cases) {
      const values = givenInputs(random.inputs);
      const want = runProgram(program, { sizes, values }, { precision: "f64" }).outputs;
      const inputs = Object.fromEntries(
        program.ops.flatMap(({ name, attrs, results }) => {
          const input = String(attrs["name"]);
          return name === "program.input" ? [[input, encoded(values.get(input)!.data, results[0]!.type.dtype)]] : [];
        }),
      );
      const got = await session.run({ program: program.name, sizes, inputs });
      expect(Object.keys(got).toSorted()).toEqual([...want.keys()].toSorted());
      for (const [name, { data }] of want) {
        const worst = Math.max(...Array.from(data, (x, i) => Math.abs(got[name]![i]! - x) / Math.max(1, Math.abs(x))));
        expect([program.name, name, worst < 1e-6]).toEqual([program.name, name, true]);
      }
    }
    session.close();
  },
  300_000,
);
