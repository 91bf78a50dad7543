/** Which entry point of a kernel's table runs, by the sizes of a launch. */
import { describe, expect, test } from "vitest";
import { type Entry, type Grid, type TensorMap, workOf } from "../../../runtime/program/grids.ts";

const grid = (name: string, maps: readonly TensorMap[] = []): Grid => ({
  name,
  workgroupSize: 128,
  workgroups: [{ of: ["T"] }],
  maps,
});
const map = (dim: string): TensorMap => ({
  arg: "x",
  dtype: "bf16",
  dims: [[64], [dim]],
  strides: [[64]],
  box: [64, 64],
  swizzle: 128,
});

/** The names of the grids that run. */
function ran(entries: readonly Entry[], sizes: Readonly<Record<string, number>>): string[] {
  const { runs } = workOf({ name: "k", args: ["x"], writes: [], extents: ["S", "T"], scratch: [], entries }, sizes);
  return runs.flatMap(({ grids }) => grids.map(({ grid: { name } }) => name));
}

describe("an entry point with tensor maps of no elements is passed over", () => {
  const plain = grid("main");

  test("its own", () => {
    const entries = [grid("tensor", [map("S")]), plain];
    expect(ran(entries, { S: 1, T: 4 })).toEqual(["tensor"]);
    expect(ran(entries, { S: 0, T: 4 })).toEqual(["main"]);
  });

  test("those of what runs before it", () => {
    const entries = [{ ...grid("tensor"), before: { ...grid("pack"), before: grid("rows", [map("S")]) } }, plain];
    expect(ran(entries, { S: 1, T: 4 })).toEqual(["rows", "pack", "tensor"]);
    expect(ran(entries, { S: 0, T: 4 })).toEqual(["main"]);
  });
});
