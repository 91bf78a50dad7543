/** An optimizer with a clipped gradient in few launches: tensors of odd sizes, more of them than a table has room for. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { printKernels } from "../../../../compiler/kernel-ir/print.ts";
import { verifyKernels } from "../../../../compiler/kernel-ir/verify.ts";
import type { KernelModule } from "../../../../compiler/kernel-ir/types.ts";
import { lowerPrograms } from "../../../../compiler/lower/lower.ts";
import { PRINTERS } from "../../../../compiler/package/package.ts";
import { runProgram } from "../../../../compiler/reference/run.ts";
import { ProgramBuilder } from "../../../../compiler/tensor-ir/builder.ts";
import type { Program, TensorType, Value } from "../../../../compiler/tensor-ir/types.ts";
import { type CudaSession, openCudaSession } from "../../../../runtime/device/cuda/session.ts";
import { decoded, encoded } from "../../../../runtime/device/elements.ts";
import { REAL, realPackage } from "../../../support/cuda/real.ts";
import { simulatedPackage } from "../../../support/on-cuda.ts";

const SCALAR: TensorType = { dtype: "f32", dims: [] };
const MOMENTS = { m: 0.9, v: 0.95 } as const;

/** Adam on params of these sizes, gradients in f32 and every third one in bf16, moments in bf16 where asked for; clips at a norm of 1. */
function adam(name: string, sizes: readonly number[], moments: "f32" | "bf16"): Program {
  const builder = new ProgramBuilder(new Map(sizes.map((size, i) => [`D${i}`, size])));
  const op = (what: string, operands: readonly Value[], type: TensorType, attrs = {}): Value =>
    builder.emit(what, operands, type, attrs);
  const constant = (value: number): Value => op("tensor.constant", [], SCALAR, { value });
  const wide = (x: Value): Value => op("tensor.cast", [x], { ...x.type, dtype: "f32" });
  const params = sizes.map((_, i) => {
    const type: TensorType = { dtype: "f32", dims: [`D${i}`] };
    const given = op("program.input", [], { ...type, dtype: i % 3 === 2 ? "bf16" : "f32" }, { name: `gradient.${i}` });
    return { type, path: `${name}.${i}`, gradient: i % 3 === 2 ? wide(given) : given };
  });
  const squares = params.map(({ gradient, type }) =>
    op("tensor.reduce", [op("math.square", [gradient], type)], SCALAR, { kind: "sum" }),
  );
  const norm = op("math.sqrt", [squares.reduce((a, b) => op("math.add", [a, b], SCALAR))], SCALAR);
  builder.effect("program.output", [norm], { name: "norm" });
  const scale = op("math.min", [op("math.recip", [norm], SCALAR), constant(1)], SCALAR);
  for (const { type, path, gradient } of params) {
    const own = (what: string, operands: readonly Value[]): Value => op(what, operands, type);
    const grad = own("math.mul", [gradient, scale]);
    const [m, v] = (["m", "v"] as const).map((state) => {
      const stored = op("model.state", [], { ...type, dtype: moments }, { name: `${state}.${path}` });
      const before = moments === "f32" ? stored : wide(stored);
      const now = state === "m" ? grad : own("math.square", [grad]);
      const after = own("math.add", [
        own("math.mul", [before, constant(MOMENTS[state])]),
        own("math.mul", [now, constant(1 - MOMENTS[state])]),
      ]);
      const kept = moments === "f32" ? after : op("tensor.cast", [after], { ...type, dtype: moments });
      builder.effect("model.update", [kept], { name: `${state}.${path}` });
      return after;
    });
    const weight = op("model.param", [], type, { name: `w.${path}` });
    const step = own("math.div", [m!, own("math.add", [own("math.sqrt", [v!]), constant(1e-8)])]);
    const moved = own("math.sub", [weight, own("math.mul", [step, constant(0.01)])]);
    builder.effect("model.update", [moved], { name: `w.${path}` });
  }
  return builder.finish(name);
}

const sizes = fc.oneof(fc.constantFrom(1, 3, 127, 4096, 4097, 16_385), fc.integer({ min: 1, max: 700 }));
const [drawn, other] = fc.sample(fc.array(sizes, { minLength: 9, maxLength: 18 }), { seed: 5, numRuns: 2 });
const CASES = {
  edges: { sizes: [1, 3, 127, 4097, 16_384, 1, 32_773], moments: "f32" },
  drawn: { sizes: drawn!, moments: "f32" },
  rounded: { sizes: other!, moments: "bf16" },
  // A table has room for 100 of f32 and for more of sums.
  many: { sizes: Array.from({ length: 260 }, (_, i) => 2 + ((i * 5) % 9)), moments: "f32" },
} as const;
const programs = Object.entries(CASES).map(([name, { sizes: all, moments }]) => adam(name, all, moments));

const module = lowerPrograms(programs);
/** A session on a package, opened when somebody asks for it. */
function session({ kernels, programs: launches }: KernelModule): () => Promise<CudaSession> {
  let opened: Promise<CudaSession> | undefined;
  const open = async (): Promise<CudaSession> => {
    const files = new Map([...PRINTERS.cuda(kernels)].map(([name, text]) => [`kernels/${name}`, text]));
    files.set("program.json", JSON.stringify({ format: 1, programs: launches }));
    return openCudaSession(REAL ? await realPackage(files) : await simulatedPackage(files), { profile: true });
  };
  return () => (opened ??= open());
}

const together = session(module);
const apart = session({ ...module, programs: module.programs.map((program) => ({ ...program, together: [] })) });

function randoms(count: number, seed: number): number[] {
  let word = Math.imul(seed, 2_654_435_761) >>> 0;
  return Array.from({ length: count }, () => {
    word = (Math.imul(word, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.fround((word / 2 ** 31 - 1) * 0.3);
  });
}

/** What a step makes of random weights, moments and gradients, by name. */
async function step(on: CudaSession, program: Program): Promise<Map<string, Float64Array>> {
  const inputs: Record<string, ReturnType<typeof encoded>> = {};
  const all = given(program);
  for (const [name, { type, data }] of all) {
    if (name.startsWith("gradient.")) inputs[name] = encoded(data, type.dtype);
    else on.write(name, encoded(data, type.dtype));
  }
  const { norm } = await on.run({ program: program.name, sizes: {}, inputs });
  const results = new Map([["norm", Float64Array.from(norm as Float32Array)]]);
  for (const [name, { type }] of all)
    if (!name.startsWith("gradient.")) results.set(name, Float64Array.from(decoded(on.read(name), type.dtype)));
  return results;
}

function given(program: Program): Map<string, { type: TensorType; data: number[] }> {
  const all = program.ops.filter(({ name }) => ["program.input", "model.param", "model.state"].includes(name));
  return new Map(
    all.map(({ attrs, results }, seed) => {
      const { type } = results[0]!;
      const data = randoms(program.dims.get(type.dims[0]!)!, seed + 1);
      const name = String(attrs["name"]);
      const fitting = name.startsWith("v.") ? data.map(Math.abs) : data;
      return [name, { type, data: Array.from(decoded(encoded(fitting, type.dtype), type.dtype)) }] as const;
    }),
  );
}

test("the formula is in one kernel for a dtype, whatever the sizes", () => {
  expect(verifyKernels(module)).toEqual([]);
  const kernels = module.kernels.filter((kernel) => printKernels({ kernels: [kernel], programs: [] }).includes("0.95"));
  // Gradients in f32 and in bf16, moments in f32 and in bf16.
  expect(kernels).toHaveLength(4);
});

test.each(programs.map((program) => [program.name, program] as const))(
  "%s: what the interpreter says",
  async (_, program) => {
    const all = given(program);
    const values = new Map([...all].map(([name, { data }]) => [name, { data }]));
    const want = runProgram(program, { sizes: {}, values });
    const got = await step(await together(), program);
    const far: string[] = [];
    for (const [name, { data }] of [...want.outputs, ...want.updates]) {
      const { dtype } = all.get(name)?.type ?? SCALAR;
      const most = Math.max(...Array.from(data, (x, i) => Math.abs(got.get(name)![i]! - x)));
      // Weights move by 0.01; rounding to bf16 may go either way.
      if (!(most < (dtype === "bf16" ? 2 ** -9 : name === "norm" ? 1e-5 : 2e-6))) far.push(`${name}: ${most}`);
    }
    expect(far).toEqual([]);
  },
  240_000,
);

test.each(programs.map((program) => [program.name, program] as const))(
  "%s: the same bits apart, and again",
  async (_, program) => {
    const alone = await step(await apart(), program);
    expect(await step(await together(), program)).toEqual(alone);
    expect(await step(await together(), program)).toEqual(alone);
  },
  240_000,
);

test("few launches", async () => {
  const { launches, together: groups = [] } = module.programs.find(({ name }) => name === "many")!;
  const launched = (on: CudaSession): number =>
    on.profile().filter(({ program, calls }) => program === "many" && calls > 0).length;
  expect(launched(await apart())).toBe(launches.length);
  expect(launched(await together())).toBe(launches.length - groups.reduce((sum, { count }) => sum + count - 1, 0));
  // Casts of gradients in bf16, squares and updates of both dtypes, and what makes the norm and the scale.
  expect(launched(await together())).toBeLessThan(12);
});
