import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import { serveProgram } from "../../../compiler/elaborate/serve.ts";
import { assumedSizes, runPasses } from "../../../compiler/passes/pipeline.ts";
import { reorderContractions } from "../../../compiler/passes/reorder-contractions.ts";
import { runProgram } from "../../../compiler/reference/run.ts";
import { parseProgram } from "../../../compiler/tensor-ir/parse.ts";
import { printProgram } from "../../../compiler/tensor-ir/print.ts";
import { verifyProgram } from "../../../compiler/tensor-ir/verify.ts";
import { checkFile } from "../../../dsl/semantics/check.ts";

/** The contractions of a text, one per line, without what stands around them. */
function contractions(text: string): string[] {
  return text
    .split("\n")
    .filter((line) => line.includes("tensor.contract"))
    .map((line) => line.trim());
}

const scores = (name: string): string => `program @${name}
dims { T = ?, S = ?, H = 128, N = 128, C = 512 }
{
  %0 q: f32[T, H, N] = program.input {name = "q"}
  %1 latent: f32[S, C] = program.input {name = "latent"}
  %2 wk: f32[C, H, N] = model.param {name = "wk"}
  %3 k: f32[S, H, N] = tensor.contract %1, %2
  %4: f32[T, H, S] = tensor.contract %0, %3
  program.output %4 {name = "scores"}
}
`;

function reordered(text: string): string {
  const program = parseProgram(text);
  const result = reorderContractions.run(program, { sizes: assumedSizes(program.name) });
  expect(verifyProgram(result)).toEqual([]);
  return printProgram(result);
}

describe("reorder-contractions", () => {
  test("takes the weight to the query while decoding (DeepSeek-V2 section 2.1.2)", () => {
    expect(contractions(reordered(scores("decode")))).toEqual([
      "%3 k: f32[S, H, N] = tensor.contract %1, %2",
      "%5: f32[T, H, C] = tensor.contract %0, %2",
      "%4: f32[T, H, S] = tensor.contract %1, %5",
    ]);
  });

  test("keeps the expanded form for whole sequences", () => {
    expect(reordered(scores("prefill"))).toBe(scores("prefill"));
  });

  test("takes nothing apart that something else reads", () => {
    const twice = scores("decode").replace("  program.output", '  program.output %3 {name = "k"}\n  program.output');
    expect(reordered(twice)).toBe(twice);
  });

  test("does not mix up two sums over labels of one name", () => {
    const text = `program @decode
dims { T = ?, D = 4, N = 3 }
{
  %0: f32[D] = program.input {name = "a"}
  %1: f32[D, T] = program.input {name = "b"}
  %2: f32[D, N] = program.input {name = "c"}
  %3: f32[T] = tensor.contract %0, %1
  %4: f32[T, D, N] = tensor.contract %3, %2
  program.output %4 {name = "y"}
}
`;
    expect(reordered(text)).toBe(text);
  });

  test("keeps the result, whatever the sizes", () => {
    const text = `program @decode
dims { T = ?, A = 3, B = 4, C = 5, D = 2 }
{
  %0: f32[T, A] = program.input {name = "x"}
  %1: f32[A, B] = program.input {name = "y"}
  %2: f32[B, C] = program.input {name = "z"}
  %3: f32[C, D, T] = program.input {name = "w"}
  %4: f32[B, D, T] = tensor.contract %2, %3
  %5: f32[A, D, T] = tensor.contract %1, %4
  %6: f32[T, D] = tensor.contract %0, %5
  program.output %6 {name = "r"}
}
`;
    const program = parseProgram(text);
    const data = (n: number): Float64Array => Float64Array.from({ length: n }, (_, i) => Math.sin(i * 1.7 + n));
    const values = new Map(
      [
        ["x", 6],
        ["y", 12],
        ["z", 20],
        ["w", 20],
      ].map(([name, n]) => [name as string, { data: data(n as number) }]),
    );
    const run = (p: typeof program): number[] => [
      ...runProgram(p, { sizes: { T: 2 }, values }, { precision: "f64" }).outputs.get("r")!.data,
    ];
    const wanted = run(program);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 10_000 }), (tokens) => {
        const other = run(reorderContractions.run(program, { sizes: new Map([["T", tokens]]) }));
        other.forEach((value, i) => expect(value).toBeCloseTo(wanted[i]!, 12));
      }),
      { numRuns: 20, seed: 1 },
    );
  });

  test("absorbs the weights of DeepSeek-V3 in decode: no key or value is ever expanded", () => {
    const source = { path: "specs/deepseek-v3.dsk", text: readFileSync("specs/deepseek-v3.dsk", "utf8") };
    const { module } = checkFile(source, new Diagnostics()).models.get("DeepSeekV3")!;
    const expanded = (name: "prefill" | "decode"): number => {
      const { ops } = runPasses(serveProgram(module, name));
      const perPosition = ops.filter(
        (op) =>
          op.name === "tensor.contract" &&
          op.results[0]!.type.dims.includes("S") &&
          !op.results[0]!.type.dims.includes("T"),
      );
      return perPosition.length;
    };
    expect(expanded("decode")).toBe(0);
    expect(expanded("prefill")).toBe(2 * 61);
  });
});
