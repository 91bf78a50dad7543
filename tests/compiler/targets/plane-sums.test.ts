/**
 * Sums over tokens (gradients of keys and values) in bf16, on every target: they are rounded once, when all tokens are in them, and not
 * whenever some more are added.
 */
import { expect, test } from "vitest";
import { runProgram } from "../../../compiler/reference/run.ts";
import type { Program } from "../../../compiler/tensor-ir/types.ts";
import { decoded, encoded } from "../../../runtime/device/elements.ts";
import type { Elements, Session } from "../../../runtime/device/session.ts";
import type { Sizes } from "../../../runtime/program/launch.ts";
import { bits, valueOf } from "../../support/bf16.ts";
import { onCpu } from "../../support/on-cpu.ts";
import { onCuda } from "../../support/on-cuda.ts";
import { HAS_WEBGPU, onWebGpu } from "../../support/on-webgpu.ts";
import { planeInputs, planeProgram, type PlaneSpec } from "../../support/plane-programs.ts";

const TOKENS = 1100;
/** Of one rounding to nearest: a bf16 has eight bits. A sum in f32 of so many terms adds less than a hundredth of it. */
const TOLERANCE = 1.01 * 2 ** -9;

/** A program, what it is given, rounded, and what it should give. */
interface Case {
  readonly program: Program;
  readonly sizes: Sizes;
  readonly given: ReadonlyMap<string, ArrayLike<number>>;
  readonly exact: ReadonlyMap<string, ArrayLike<number>>;
}

const SUMS = ["d.k_0", "d.v"];

function caseOf(weights: PlaneSpec["weights"]): Case {
  const scores = [{ sum: ["V"] }];
  const program = planeProgram(
    { name: weights, heads: [], shared: [], scores, seen: "causal", weights, dtype: "bf16" },
    true,
  );
  const { sizes, values } = planeInputs(program, { sequences: [{ positions: TOKENS, tokens: TOKENS }] });
  const given = new Map(
    Object.entries(values).map(([name, data]) => [
      name,
      data instanceof Float32Array ? data.map((x) => valueOf(bits(x))) : data,
    ]),
  );
  const tensors = new Map([...given].map(([name, data]) => [name, { data }]));
  const { outputs } = runProgram(program, { sizes, values: tensors }, { precision: "f64" });
  return { program, sizes, given, exact: new Map([...outputs].map(([name, { data }]) => [name, data])) };
}

/** A row with a truth value of its own is not computed a second time by blocks of columns. */
const CASES = (["softmax", "gated"] as const).map(caseOf);

/** How far sums over tokens lie from those without rounding, by name: the norm of the difference over that of the whole. */
async function errorsOf({ program, sizes, given, exact }: Case, session: Session): Promise<[string, number][]> {
  const inputs = [...given].map(([name, data]): [string, Elements] => [
    name,
    data instanceof Float32Array ? encoded(data, "bf16") : (data as Elements),
  ]);
  const got = await session.run({ program: program.name, sizes, inputs: Object.fromEntries(inputs) });
  return SUMS.map((name) => {
    const own = decoded(got[name]!, "bf16");
    let [apart, whole] = [0, 0];
    for (const [i, wanted] of Array.from(exact.get(name)!).entries()) {
      apart += (own[i]! - wanted) ** 2;
      whole += wanted ** 2;
    }
    return [name, Math.sqrt(apart / whole)];
  });
}

async function check(on: (programs: readonly Program[]) => Promise<Session>): Promise<void> {
  const session = await on(CASES.map(({ program }) => program));
  for (const one of CASES) {
    const far = (await errorsOf(one, session)).filter(([, error]) => !(error < TOLERANCE));
    expect([one.program.name, ...far]).toEqual([one.program.name]);
  }
  session.close();
}

test("on the CPU", () => check(onCpu), 300_000);
test("on CUDA", () => check(onCuda), 300_000);
test.skipIf(!HAS_WEBGPU)("on WebGPU", () => check(onWebGpu), 300_000);
