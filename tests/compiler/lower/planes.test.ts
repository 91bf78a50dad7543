/** Kernels between tokens and positions: which programs have them, their values, and that a row always has the same bits. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import { scoreProgram } from "../../../compiler/elaborate/score.ts";
import { serveProgram } from "../../../compiler/elaborate/serve.ts";
import type { PlaneKernel } from "../../../compiler/kernel-ir/types.ts";
import { lowerPrograms } from "../../../compiler/lower/lower.ts";
import { lowered } from "../../../compiler/package/package.ts";
import { runProgram } from "../../../compiler/reference/run.ts";
import type { Program } from "../../../compiler/tensor-ir/types.ts";
import { checkFile } from "../../../dsl/semantics/check.ts";
import type { CpuSession } from "../../../runtime/device/cpu/session.ts";
import { onCpu } from "../../support/on-cpu.ts";
import {
  inputsOf,
  type Packing,
  planeInputs,
  type PlaneInputs,
  planeProgram,
  type PlaneSpec,
} from "../../support/plane-programs.ts";

/** `H | T | enter, row, leave_rows`: what there is a copy of, what rows count, what a kernel does. */
function shapes(program: Program): { readonly planes: string[]; readonly stored: string[] } {
  const { kernels, programs } = lowered([program]);
  const names = (axes: readonly { readonly name: string }[]): string => axes.map(({ name }) => name).join(" ");
  return {
    planes: kernels
      .filter((kernel): kernel is PlaneKernel => kernel.family === "plane")
      .map(({ batch, rows, body }) => {
        const kinds = body.map(({ kind }) => kind).filter((kind, i, all) => kind !== all[i - 1]);
        return `${names(batch)} | ${names(rows)} | ${kinds.join(", ")}`;
      }),
    stored: programs[0]!.buffers
      .filter(({ kind, shape }) => kind === "temp" && shape.includes("T") && shape.includes("S"))
      .map(({ dtype, shape }) => `${dtype}[${shape.join(", ")}]`),
  };
}

function moduleOf(path: string, text: string): Parameters<typeof scoreProgram>[0] {
  const [model] = checkFile({ path, text }, new Diagnostics()).models.values();
  return model!.module;
}

function around(mixer: string): Parameters<typeof scoreProgram>[0] {
  return moduleOf(
    "specs/probe.dsk",
    `edition 2026
import { Gqa, Mha, Mla, Mqa } from "std/attention"
import { Rope } from "std/rope"
model Probe {
  dim V = 8
  dim D = 16
  dim H = 4
  dim R = 4
  param table: [V, D]
  use mixer = ${mixer}
  fn forward(tokens: i32[T], pos: i32[T]) -> f32[T, D] { return mixer(gather[V](table, tokens), pos) }
}
`,
  );
}

const FORWARD = "enter, row, leave_rows";
const BACKWARD = "enter, row, leave_columns, leave_rows, leave_columns";

describe("regions", () => {
  const MLA = "Mla[D, H](Q: 12, C: 8, N: 8, R: R, Vh: 8, rope: Rope[R])";

  test.each([
    ["Mha[D, H, 8]", "H | T |"],
    ["Mqa[D, H, 8]", " | T H |"],
    ["Gqa[D, 2, 3, 8]", "G | T M |"],
    ["Gqa[D, 2, 3, 8](window: 16)", "G | T M |"],
  ])("%s: one kernel forward, one backward", (mixer, space) => {
    const module = around(mixer);
    const expected = [`${space} ${FORWARD}`, `${space} ${BACKWARD}`];
    expect(shapes(scoreProgram(module, { gradients: true }))).toEqual({ planes: expected, stored: [] });
    for (const name of ["prefill", "decode"] as const)
      expect(shapes(serveProgram(module, name))).toEqual({ planes: expected.slice(0, 1), stored: [] });
  });

  test("Mla: heads have keys of their own, but in decode, where they all read the latents", () => {
    const module = around(MLA);
    const backward = `${BACKWARD}, leave_rows, leave_columns`;
    expect(shapes(scoreProgram(module, { gradients: true }))).toEqual({
      planes: [`H | T | ${FORWARD}`, `H | T | ${backward}`],
      stored: [],
    });
    expect(shapes(serveProgram(module, "decode"))).toEqual({ planes: [` | T H | ${FORWARD}`], stored: [] });
  });

  test.each(["capped-window-attention", "differential-attention", "gated-linear-attention"])(
    "%s stores no plane, forward and backward",
    (name) => {
      const path = `specs/blocks/${name}.dsk`;
      const { planes, stored } = shapes(scoreProgram(moduleOf(path, readFileSync(path, "utf8")), { gradients: true }));
      expect(stored).toEqual([]);
      expect(planes.some((plane) => plane.includes("leave_columns"))).toBe(true);
    },
  );

  test("sparse attention stores what the indexer scores and whom it chooses, and nothing for each head", () => {
    const path = "specs/blocks/sparse-mla.dsk";
    const { planes, stored } = shapes(scoreProgram(moduleOf(path, readFileSync(path, "utf8")), { gradients: true }));
    expect(planes).toEqual([`H | T | ${FORWARD}`, `H | T | ${BACKWARD}, leave_rows, leave_columns`]);
    expect(new Set(stored)).toEqual(new Set(["f32[T, S, 2]", "bool[T, S]"]));
  });

  test("a plane that is an output is stored, and no kernel of planes", () => {
    const program = planeProgram(SPECS[0]!, false);
    const weights = program.ops.find(({ name }) => name === "nn.softmax")!.results[0]!;
    const output = { name: "program.output", operands: [weights], results: [], attrs: { name: "weights" } };
    const { kernels } = lowerPrograms([{ ...program, ops: [...program.ops, output] }]);
    expect(kernels.map(({ family }) => family)).not.toContain("plane");
  });
});

const SPECS: readonly PlaneSpec[] = [
  { name: "mha", heads: ["H"], shared: ["H"], scores: [{ sum: ["N"] }], seen: "causal", weights: "softmax" },
  { name: "gqa", heads: ["G", "M"], shared: ["G"], scores: [{ sum: ["V"] }], seen: "window", weights: "softmax" },
  {
    name: "mla",
    heads: ["H"],
    shared: ["H"],
    scores: [{ sum: ["V"] }, { sum: ["R", "P"], shared: [] }],
    seen: "causal",
    weights: "softmax",
  },
  {
    name: "absorbed",
    heads: ["M"],
    shared: [],
    scores: [{ sum: ["C"] }, { sum: ["R"] }],
    seen: "causal",
    weights: "softmax",
  },
  { name: "given", heads: ["H"], shared: ["H"], scores: [{ sum: ["N"] }], seen: "given", weights: "softmax" },
  { name: "capped", heads: ["G", "M"], shared: [], scores: [{ sum: ["N"] }], seen: "window", weights: "capped" },
  { name: "sigmoid", heads: ["H"], shared: ["H"], scores: [{ sum: ["N"] }], seen: "given", weights: "sigmoid" },
  { name: "all", heads: ["H"], shared: [], scores: [{ sum: ["N"] }], seen: "all", weights: "sigmoid" },
];

const packings: fc.Arbitrary<Packing> = fc
  .array(
    fc
      .tuple(fc.integer({ min: 1, max: 90 }), fc.integer({ min: 1, max: 90 }))
      .map(([positions, tokens]) => ({ positions, tokens: Math.min(positions, tokens) })),
    { minLength: 1, maxLength: 4 },
  )
  .map((sequences) => ({ sequences }));

/** Longer than a piece of a sum, a chunk of columns, and a window. */
const LONG: Packing = {
  sequences: [
    { positions: 30, tokens: 2 },
    { positions: 1300, tokens: 70 },
    { positions: 540, tokens: 3 },
  ],
};

describe("on the CPU", () => {
  const programs = SPECS.flatMap((spec) => [planeProgram(spec, false), planeProgram(spec, true)]);
  const sessions: { one?: CpuSession; three?: CpuSession } = {};
  beforeAll(async () => {
    sessions.one = await onCpu(programs, { threads: 1 });
    sessions.three = await onCpu(programs, { threads: 3 });
  }, 300_000);
  afterAll(() => {
    sessions.one?.close();
    sessions.three?.close();
  });

  const run = (session: CpuSession | undefined, { name }: Program, { sizes, values }: PlaneInputs) =>
    session!.run({ program: name, sizes, inputs: values });

  async function expectValues(program: Program, inputs: PlaneInputs): Promise<void> {
    const values = new Map(Object.entries(inputs.values).map(([name, data]) => [name, { data }]));
    const want = runProgram(program, { sizes: inputs.sizes, values }, { precision: "f64" }).outputs;
    const got = await run(sessions.one, program, inputs);
    for (const [name, { data }] of want) {
      const size = Math.max(1, ...Array.from(data, Math.abs));
      const worst = Math.max(0, ...Array.from(data, (x, i) => Math.abs(Number(got[name]![i]) - x)));
      expect([program.name, name, worst / size < 3e-6]).toEqual([program.name, name, true]);
    }
  }

  test.each(SPECS.map((spec, i) => [spec.name, programs[2 * i + 1]!] as const))(
    "%s: values and gradients are those of the interpreter",
    async (_, program) => {
      await fc.assert(
        fc.asyncProperty(packings, (packing) => expectValues(program, planeInputs(program, packing))),
        { numRuns: 6, seed: 11 },
      );
      await expectValues(program, planeInputs(program, LONG));
    },
    120_000,
  );

  test.each(SPECS.map((spec, i) => [spec.name, programs[2 * i + 1]!] as const))(
    "%s: sums over tokens are right where sequences of tokens lie in another order than those of positions",
    async (_, program) => {
      const packing: Packing = { sequences: [40, 3, 90, 64, 1, 70].map((tokens) => ({ positions: tokens, tokens })) };
      const places = [...planeTokens(packing)];
      for (const order of [
        [0, 2, 1, 3, 5, 4],
        [5, 4, 3, 2, 1, 0],
      ]) {
        const tokens = order.flatMap((sequence) => places.filter(({ seq }) => seq === sequence));
        await expectValues(program, inputsOf(program, tokens, places));
      }
    },
    60_000,
  );

  test.each(programs.map((program) => [program.name, program] as const))(
    "%s: the same bits with one thread and with three",
    async (_, program) => {
      const inputs = planeInputs(program, LONG);
      expect(await run(sessions.three, program, inputs)).toEqual(await run(sessions.one, program, inputs));
    },
    60_000,
  );

  test.each(SPECS.map((spec, i) => [spec.name, programs[2 * i]!] as const))(
    "%s: a row has the same bits whatever else is in the call",
    async (_, program) => {
      const places = LONG.sequences.flatMap(({ positions }, seq) =>
        Array.from({ length: positions }, (__, pos) => ({ seq, pos })),
      );
      const tokens = [...planeTokens(LONG)];
      const whole = await run(sessions.one, program, inputsOf(program, tokens, places));
      const size = whole["out"]!.length / tokens.length;
      const rowsOf = (from: number, to: number) => whole["out"]!.slice(from * size, to * size);
      // In parts, down to a single one.
      for (const [from, to] of [
        [0, 1],
        [1, 40],
        [40, 74],
        [74, 75],
      ] as const) {
        const part = await run(sessions.one, program, inputsOf(program, tokens.slice(from, to), places));
        expect(part["out"]).toEqual(rowsOf(from, to));
      }
      // Alone, and behind others: where masks are of sequences, positions of others do not matter.
      if (!program.ops.some(({ attrs }) => attrs["name"] === "seq")) return;
      let first = 0;
      for (const [seq, { tokens: count }] of LONG.sequences.entries()) {
        const own = await run(
          sessions.three,
          program,
          inputsOf(
            program,
            tokens.slice(first, first + count),
            places.filter((place) => place.seq === seq),
          ),
        );
        expect(own["out"]).toEqual(rowsOf(first, first + count));
        first += count;
      }
    },
    60_000,
  );
});

function* planeTokens({ sequences }: Packing): Generator<{ readonly seq: number; readonly pos: number }> {
  for (const [seq, { positions, tokens }] of sequences.entries())
    for (let i = positions - tokens; i < positions; i++) yield { seq, pos: i };
}
