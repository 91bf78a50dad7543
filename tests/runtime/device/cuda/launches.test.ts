/** What the addon is told of a call: entries, blocks, numbers, places, tensor maps. */
import { describe, expect, test } from "vitest";
import { entriesOf, launchesOf } from "../../../../runtime/device/cuda/launches.ts";
import { planLayout } from "../../../../runtime/device/layout.ts";
import type { SimtKernel } from "../../../../runtime/program/grids.ts";
import type { LaunchProgram } from "../../../../runtime/program/launch.ts";
import { buffer } from "../../../support/kernels.ts";

const KERNELS: readonly SimtKernel[] = [
  {
    name: "product",
    args: ["x", "w", "out"],
    writes: ["out"],
    extents: ["T"],
    scratch: [{ shape: [10], each: true }],
    entries: [
      { name: "few", workgroupSize: 64, workgroups: [{ of: [4] }], upTo: { product: ["T"], most: 4 } },
      {
        name: "tile",
        workgroupSize: 128,
        workgroups: [{ of: ["T"], by: 64 }],
        most: 3,
        sharedBytes: 65536,
        cluster: 2,
        before: { name: "turn", workgroupSize: 32, workgroups: [{ of: ["T"] }] },
        maps: [{ arg: "w", dtype: "bf16", dims: [[64], ["T", 2]], strides: [[64]], box: [64, 8], swizzle: 128 }],
      },
    ],
  },
];

const PROGRAM: LaunchProgram = {
  name: "p",
  dims: ["T"],
  buffers: [
    buffer("input", "x", "f32", "T"),
    buffer("param", "w", "bf16", 64, 64),
    buffer("output", "out", "f32", "T"),
  ],
  launches: [{ kernel: "product", args: [0, 1, 2], extents: ["T"] }],
};

function launches(T: number, program = PROGRAM) {
  const kernels = program.launches.map(() => KERNELS[0]!);
  const layout = planLayout(program, { T }, kernels);
  const { numbers } = entriesOf(KERNELS);
  const kept = program.buffers.map(({ kind }) => (kind === "param" ? { space: 1, offset: 512 } : undefined));
  return { layout, ...launchesOf(program, kernels, numbers, kept, layout, { T }) };
}

describe("entries", () => {
  test("every entry point once, with what it takes", () => {
    expect(entriesOf(KERNELS).list).toEqual([
      { module: 0, symbol: "product_few", threads: 64, shared: 0, ints: 3, pointers: 4, maps: [] },
      { module: 0, symbol: "product_turn", threads: 32, shared: 0, ints: 3, pointers: 4, maps: [] },
      {
        module: 0,
        symbol: "product_tile",
        threads: 128,
        shared: 65536,
        ints: 3,
        pointers: 4,
        maps: [{ pointer: 1, type: 9, swizzle: 3, box: [64, 8] }],
      },
    ]);
  });

  test("a tensor map of nothing that the kernel has is refused", () => {
    const [kernel] = KERNELS;
    const map = { arg: "y", dtype: "bf16", dims: [[8]], strides: [], box: [8], swizzle: 0 } as const;
    const wrong = { ...kernel!, entries: [{ name: "main", workgroupSize: 1, workgroups: [], maps: [map] }] };
    expect(() => entriesOf([wrong])).toThrow(
      "the kernel product has a tensor map of y, which is none of its arguments",
    );
  });
});

describe("scratch arrays", () => {
  test("those of one entry point's workgroups count these", () => {
    const bytesOf = (of: string | undefined): number => {
      const [kernel] = KERNELS as [SimtKernel];
      const own = { ...kernel, scratch: [{ shape: [16], each: true, ...(of === undefined ? {} : { of }) }] };
      const program = { ...PROGRAM, buffers: PROGRAM.buffers.filter(({ kind }) => kind === "param"), launches: [] };
      const without = planLayout(program, { T: 100 }, []).bytes;
      const launched = { ...program, launches: [{ kernel: "product", args: [0, 0, 0], extents: ["T"] }] };
      return planLayout(launched, { T: 100 }, [own]).bytes - without;
    };
    // Two blocks of tiles run behind a hundred that turn.
    expect([bytesOf(undefined), bytesOf("turn"), bytesOf("tile"), bytesOf("few")]).toEqual([6400, 6400, 128, 0]);
  });
});

describe("launches", () => {
  test("few rows take their own entry; scratch is behind inputs and outputs", () => {
    const { numbers, bytes, items } = launches(3);
    // x and out take a line of 64 bytes each, then four blocks have ten words each.
    expect(numbers).toEqual([0, 0, 4, 4, 0, 3, 0, 0, 1, 512, 0, 64, 0, 128]);
    expect(bytes).toBe(128 + 192);
    expect([...items]).toEqual([4]);
  });

  test("what runs before comes first; blocks fill clusters; maps have their sizes and strides in bytes", () => {
    const { numbers } = launches(300);
    const pointers = [0, 0, 1, 512, 0, 1216, 0, 2432];
    const before = [0, 1, 300, 5, 300, 300, ...pointers];
    expect(numbers).toEqual([...before, 0, 2, 4, 5, 300, 300, ...pointers, 64, 600, 128]);
  });

  test("nothing to do is no launch", () => {
    expect(launches(0).numbers).toEqual([0, 0, 4, 4, 0, 0, 0, 0, 1, 512, 0, 0, 0, 0]);
    const none = { ...PROGRAM, launches: [] };
    expect(launches(5, none).numbers).toEqual([]);
  });

  test("launches in blocks begin at their rows", () => {
    const { numbers, items } = launches(150, { ...PROGRAM, blocks: [{ dim: "T", rows: 64, first: 0, count: 1 }] });
    const [x, out] = [0, 640];
    const scratch = 1280;
    const run = (rows: number, first: number): number[] => {
      const pointers = [0, x + 4 * first, 1, 512, 0, out + 4 * first, 0, scratch];
      return [0, 1, rows, 1, rows, rows, ...pointers, 0, 2, 2, 1, rows, rows, ...pointers, 64, 2 * rows, 128];
    };
    expect(numbers).toEqual([...run(64, 0), ...run(64, 64), ...run(22, 128)]);
    expect([...items]).toEqual([3]);
  });

  describe("kernels of lists", () => {
    const update: SimtKernel = {
      name: "update",
      args: ["rate", "gradient", "weight"],
      writes: ["weight"],
      extents: ["elements"],
      scratch: [],
      entries: [{ name: "main", workgroupSize: 256, workgroups: [{ of: ["elements"], by: 4096 }] }],
      lists: {
        entry: { name: "lists_main", workgroupSize: 256, workgroups: [{ of: ["elements"], by: 4096 }] },
        most: 100,
        args: ["gradient", "weight"],
      },
    };
    const updates = (sizes: readonly number[], more: Partial<LaunchProgram> = {}): number[] => {
      const program: LaunchProgram = {
        name: "p",
        dims: [],
        buffers: [
          buffer("param", "rate", "f32"),
          ...sizes.flatMap((size, i) => [
            buffer("param", `gradient.${i}`, "bf16", size),
            buffer("param", `weight.${i}`, "f32", size),
          ]),
        ],
        launches: sizes.map((size, i) => ({ kernel: "update", args: [0, 1 + 2 * i, 2 + 2 * i], extents: [size] })),
        ...more,
      };
      const kernels = sizes.map(() => update);
      const places = program.buffers.map((_, i) => ({ space: 1, offset: 64 * i }));
      const { numbers } = entriesOf([update]);
      return launchesOf(program, kernels, numbers, places, planLayout(program, {}, kernels), {}).numbers;
    };

    test("have an entry point whose last parameter is a table", () => {
      const { list, numbers } = entriesOf([update]);
      expect([...numbers.get("update")!]).toEqual([
        ["main", 0],
        ["lists_main", 1],
      ]);
      expect(list[0]).toMatchObject({ symbol: "update_main", ints: 3, pointers: 3 });
      expect(list[1]).toMatchObject({
        symbol: "update_lists_main",
        ints: 2,
        pointers: 1,
        lists: { most: 100, args: 2 },
      });
    });

    test("run once for launches that may run at once, and alone as others do", () => {
      const alone = [2, 0, 1, 1, 0, 7, 1, 0, 1, 64 * 5, 1, 64 * 6];
      const rows = [
        [0, 4097, 1, 64, 1, 128],
        [2, 10, 1, 192, 1, 256],
      ];
      expect(updates([4097, 10, 7], { together: [{ first: 0, count: 2 }] })).toEqual([
        ...[0, 1, 3, 3, 0, 1, 0, 2, 3].concat(...rows),
        ...alone,
      ]);
    });

    test("count a list of more elements than 32 bits do in several rows", () => {
      const elements = 256 * 7168 * 2048;
      const most = 2 ** 30;
      const [blocks, all] = [most / 4096, elements / 4096];
      const row = (i: number): number[] => {
        const first = i * most;
        return [i * blocks, Math.min(most, elements - first), 1, 64 + 2 * first, 1, 128 + 4 * first];
      };
      expect(updates([elements])).toEqual([0, 1, all, all, 0, 1, 0, 4, all, ...[0, 1, 2, 3].flatMap(row)]);
    });
  });

  test("what a kernel cannot count is refused, with its place", () => {
    const note = "model.dsk:3:1";
    const program = { ...PROGRAM, launches: [{ ...PROGRAM.launches[0]!, note }] };
    expect(() => launches(2 ** 31, program)).toThrow(
      "kernel product: model.dsk:3:1: T is 2,147,483,648, and kernels count to 2,147,483,647: make shorter calls",
    );
    const rows: SimtKernel = {
      ...KERNELS[0]!,
      entries: [{ name: "main", workgroupSize: 64, workgroups: [{ of: ["T", 4096], by: 64 }] }],
    };
    const [T] = [2 ** 20];
    const layout = planLayout(PROGRAM, { T }, [rows]);
    const kept = PROGRAM.buffers.map(() => ({ space: 1, offset: 0 }));
    expect(() => launchesOf(PROGRAM, [rows], entriesOf([rows]).numbers, kept, layout, { T })).toThrow(
      "kernel product: T * 4096 is 4,294,967,296, and kernels count to 2,147,483,647: make shorter calls",
    );
  });
});
