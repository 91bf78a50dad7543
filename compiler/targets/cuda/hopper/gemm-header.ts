/** What the file of a matrix product says about it. */
import { originLines } from "../../../kernel-ir/print.ts";
import { sizeOfWord } from "../../reserved.ts";
import { type GemmPlan, TOKENS } from "./gemm-plan.ts";
import { ROWS } from "./gemm-shape.ts";
import { FEW_ROWS } from "./tiles.ts";

/** Its name, its operands, what it costs, and its tiles: lines of a comment. */
export function headerOf({ kernel, tile, problem, loops, parts }: GemmPlan, name: string): string[] {
  const { m, n, batches, elementBytes, resultBytes, codeBytes = elementBytes } = problem;
  const flops = loops.reduce(
    (sum, _, i) => sum + 2 * m * n * batches * problem.loops[i]!.k * problem.loops[i]!.products,
    0,
  );
  const bytes =
    batches *
    (problem.loops.reduce((sum, { k, products }) => sum + k * (elementBytes * m + codeBytes * products * n), 0) +
      m * n * resultBytes);
  // Limits of an H200: 790 TFLOPS in bf16 and 4.3 TB/s were measured; products in eight bits are taken to be twice as fast.
  const [byFlops, byBytes] = [flops / (elementBytes === 1 ? 1580e6 : 790e6), bytes / 4.3e6];
  const bound = byFlops > byBytes ? "tensor cores" : "memory";
  const shapes = kernel.args.map((arg) => `${arg.access} ${arg.name}: ${arg.dtype}[${arg.shape.join(", ")}]`);
  const axes = [...kernel.m, ...kernel.n, ...kernel.batch, ...loops.flatMap(({ k }) => k)];
  const symbolic = [...new Set(axes.map(({ extent }) => extent))].filter((extent) => typeof extent === "string");
  const [dims, tiles] = [true, false].map((isDim) =>
    symbolic.filter((each) => (sizeOfWord(each, TOKENS) === TOKENS) === isDim),
  );
  const sizes = [
    ...(dims!.length === 0 ? [] : [`${dims!.join(" = ")} = ${TOKENS}`]),
    ...tiles!.map((each) => `${each} = ${sizeOfWord(each, TOKENS)}`),
  ];
  const taken = parts === undefined ? sizes.join(", ") : `${FEW_ROWS} rows`;
  const at = symbolic.length === 0 ? "" : `With ${taken}: `;
  return [
    `${name}: gemm for the tensor cores of sm_90a`,
    ...originLines(kernel),
    ...shapes.map((shape) => `  ${shape}`),
    `${at}${(flops / 1e9).toFixed(1)} GFLOP, ${(bytes / 1e6).toFixed(1)} MB; an H200 needs ${Math.ceil(Math.max(byFlops, byBytes))} us, bound by ${bound}.`,
    `Tiles of ${tile.consumers * ROWS}x${tile.tileN}x${problem.depth}, ${tile.stages} stages: ${tile.why}.`,
  ];
}
