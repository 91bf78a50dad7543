/** Random programs with their gradients, with static dims and with dims that are bound at run time. */
import fc from "fast-check";
import { expect } from "vitest";
import { runPasses } from "../../compiler/passes/pipeline.ts";
import { runProgram } from "../../compiler/reference/run.ts";
import { parseProgram } from "../../compiler/tensor-ir/parse.ts";
import { printProgram } from "../../compiler/tensor-ir/print.ts";
import type { Program } from "../../compiler/tensor-ir/types.ts";
import { encoded } from "../../runtime/device/elements.ts";
import type { Session } from "../../runtime/device/session.ts";
import { givenInputs, randomProgram, type RandomProgram, SIZES, withGradients } from "./random-program.ts";

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

export interface RandomCase {
  readonly random: RandomProgram;
  readonly program: Program;
  readonly sizes: Readonly<Record<string, number>>;
}

export function randomCases(numRuns: number): RandomCase[] {
  return fc.sample(randomProgram, { numRuns, seed: 21 }).flatMap((random, i) =>
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
}

/** Every output is the interpreter's. */
export async function checkRandomCases(session: Pick<Session, "run">, cases: readonly RandomCase[]): Promise<void> {
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
}
