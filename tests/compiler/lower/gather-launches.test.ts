/** Launches of one kernel of lists next to each other: which of them move, and that what they do stays the same. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { gatherLaunches } from "../../../compiler/lower/gather-launches.ts";
import type { Arg, Kernel } from "../../../compiler/kernel-ir/types.ts";
import { planArena } from "../../../runtime/program/arena.ts";
import type { BufferSpec, Launch, LaunchProgram } from "../../../runtime/program/launch.ts";

const list = (name: string, access: Arg["access"]): Arg => ({ name, access, dtype: "f32", shape: ["elements"] });
const value = (name: string, access: Arg["access"]): Arg => ({ name, access, dtype: "f32", shape: [] });
const KERNELS: Readonly<Record<string, Pick<Kernel, "family" | "extents" | "args">>> = {
  make: { family: "gemm", extents: [], args: [{ ...list("out", "write"), shape: [4] }] },
  sum: { family: "columns", extents: ["elements"], args: [list("x", "read"), value("out", "write")] },
  update: {
    family: "rows",
    extents: ["elements"],
    args: [list("gradient", "read"), value("rate", "read"), list("weight", "update")],
  },
  norm: { family: "rows", extents: [], args: [value("a", "read"), value("b", "read"), value("out", "write")] },
  copy: { family: "rows", extents: ["elements"], args: [list("x", "read"), list("out", "write")] },
};

/** `update(g1, r, w1)`; what begins with w is a param, all others are temps. */
function gathered(text: string): string {
  const names = [...new Set(text.match(/\b[a-z]+\d*\b(?!\()/g))];
  const buffers = names.map((name): BufferSpec => ({
    kind: name.startsWith("w") ? "param" : "temp",
    name,
    dtype: "f32",
    shape: [],
  }));
  const launches = [...text.matchAll(/(\w+)\(([^)]*)\)/g)].map(([, kernel, args]): Launch => {
    const own = args!.split(", ").map((name) => names.indexOf(name));
    return { kernel: kernel!, args: own, extents: [] };
  });
  const { launches: after, together } = gatherLaunches(launches, (name) => KERNELS[name]!, buffers);
  const texts = after.map(({ kernel, args }) => `${kernel}(${args.map((arg) => names[arg]).join(", ")})`);
  for (const { first, count } of together.toReversed())
    texts.splice(first, count, `[${texts.slice(first, first + count).join(" ")}]`);
  return texts.join(" ");
}

describe("launches of lists", () => {
  test("sums go down to the last one, while what they read is needed later", () => {
    const updates = "update(g1, r, w1) update(g2, r, w2)";
    expect(gathered(`make(g1) sum(g1, s1) make(g2) sum(g2, s2) norm(s1, s2, r) ${updates}`)).toBe(
      "make(g1) make(g2) [sum(g1, s1) sum(g2, s2)] norm(s1, s2, r) [update(g1, r, w1) update(g2, r, w2)]",
    );
  });

  test("updates go up to the first one, so that gradients do not live longer", () => {
    expect(gathered("update(g1, r, w1) make(x) update(g2, r, w2)")).toBe(
      "[update(g1, r, w1) update(g2, r, w2)] make(x)",
    );
  });

  test("what others read in between stays before them", () => {
    expect(gathered("copy(w1, c1) make(c1) copy(w2, c2) make(c2)")).toBe("copy(w1, c1) make(c1) copy(w2, c2) make(c2)");
  });

  test("nothing is made earlier than it is needed, or kept longer", () => {
    expect(gathered("copy(t1, c1) make(x) copy(t2, c2)")).toBe("copy(t1, c1) make(x) copy(t2, c2)");
  });

  test("of other single values, or of what one of them makes, none are together", () => {
    expect(gathered("update(g1, r, w1) update(g2, q, w2)")).toBe("update(g1, r, w1) update(g2, q, w2)");
    expect(gathered("copy(w1, w2) copy(w2, w3)")).toBe("copy(w1, w2) copy(w2, w3)");
  });
});

/** Launches that read params and what was made before, and write params and temps; all that nobody reads is read in the end. */
const programs = fc
  .array(
    fc.record({
      kernel: fc.constantFrom(...Object.keys(KERNELS)),
      picks: fc.array(fc.nat(), { minLength: 3, maxLength: 3 }),
    }),
    {
      minLength: 2,
      maxLength: 24,
    },
  )
  .map((drawn): LaunchProgram => {
    const buffers = Array.from({ length: 4 }, (_, i): BufferSpec => ({
      kind: "param",
      name: `w${i}`,
      dtype: "f32",
      shape: [64],
    }));
    const isRead = new Set<number>();
    const launches = drawn.map(({ kernel, picks }): Launch => {
      const args: number[] = [];
      for (const [i, { access }] of KERNELS[kernel]!.args.entries()) {
        const known = [...buffers.keys()].filter(
          (buffer) => !args.includes(buffer) && (access === "read" || buffer < 4),
        );
        // Every second result is a temp.
        const made = access === "write" && picks[i]! % 2 === 0;
        args.push(made ? buffers.length : known[picks[i]! % known.length]!);
        if (access === "read") isRead.add(args[i]!);
      }
      for (const arg of args)
        buffers[arg] ??= { kind: "temp", name: `t${arg}`, dtype: "f32", shape: [16 << (arg % 3)] };
      return { kernel, args, extents: [] };
    });
    for (const [buffer] of buffers.entries())
      if (buffer >= 4 && !isRead.has(buffer)) launches.push({ kernel: "norm", args: [buffer, 0, 1], extents: [] });
    return { name: "p", dims: [], buffers, launches };
  });

test("whatever the launches, each finds what it found, and no more temps are alive", () => {
  let groups = 0;
  fc.assert(
    fc.property(programs, ({ launches: all, ...program }) => {
      const { launches: after, together } = gatherLaunches(all, (name) => KERNELS[name]!, program.buffers);
      groups += together.length;
      expect(after.toSorted(byText)).toEqual(all.toSorted(byText));
      expect(resultsOf(after)).toEqual(resultsOf(all));
      for (const { first, count } of together) {
        // In another order, as a device may run them.
        const turned = after.toSpliced(first, count, ...after.slice(first, first + count).toReversed());
        expect(resultsOf(turned)).toEqual(resultsOf(all));
      }
      const { peak } = planArena({ ...program, launches: all }, {});
      expect(planArena({ ...program, launches: after, together }, {}).peak).toBeLessThanOrEqual(peak);
    }),
    { seed: 3, numRuns: 3000 },
  );
  expect(groups).toBeGreaterThan(500);
});

function byText(a: Launch, b: Launch): number {
  return JSON.stringify(a) < JSON.stringify(b) ? -1 : 1;
}

/** What buffers hold in the end: who made them, of what. */
function resultsOf(launches: readonly Launch[]): Map<number, string> {
  const held = new Map<number, string>();
  for (const { kernel, args } of launches) {
    const own = KERNELS[kernel]!.args;
    const read = args.filter((_, i) => own[i]!.access !== "write").map((arg) => held.get(arg) ?? `#${arg}`);
    const made = `${kernel}(${read.join()})`;
    const name = made.length < 200 ? made : hash(made);
    for (const [i, arg] of args.entries()) if (own[i]!.access !== "read") held.set(arg, `${name}.${i}`);
  }
  return held;
}

function hash(text: string): string {
  let word = 0;
  for (const char of text) word = (Math.imul(word, 31) + char.charCodeAt(0)) | 0;
  return `${word}`;
}
