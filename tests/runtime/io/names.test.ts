import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseLayout, placement, shapeOf } from "../../../runtime/io/names/layout.ts";
import { loadParams, storeParams } from "../../../runtime/io/names/load.ts";
import { findParams, readParams } from "../../../runtime/io/names/read-params.ts";
import { type Param, resolveNames } from "../../../runtime/io/names/resolve.ts";
import { readTable } from "../../../runtime/io/names/table.ts";
import { Checkpoint } from "../../../runtime/io/safetensors/read.ts";
import { writeSafetensors } from "../../../runtime/io/safetensors/write.ts";
import { f32 } from "../../../runtime/io/safetensors/written.ts";

const sizes = new Map(Object.entries({ H: 3, N: 2, V: 4, C: 5 }));

describe("layouts", () => {
  test.each([
    ["C H", [5, 3]],
    ["(H N) C", [6, 5]],
    ["(H (N | V)) C", [18, 5]],
  ])("%s", (text, shape) => expect(shapeOf(parseLayout(text), sizes)).toEqual(shape));

  test("place the parts of a joined tensor", () => {
    const layout = parseLayout("(H (N | V)) C");
    expect(placement(layout, sizes, ["C", "H", "N"])).toEqual({ base: 0, strides: [1, 30, 5] });
    expect(placement(layout, sizes, ["C", "H", "V"])).toEqual({ base: 10, strides: [1, 30, 5] });
  });
});

const table = readTable("dsl/std/hf", "deepseek");
const moe = ["DeepSeekMoe"];
const params: Param[] = [
  { path: "embed.weight", shape: [7, 4], blocks: ["Embedding"] },
  { path: "trunk.0.mixer.wk_b", shape: [5, 3, 2], blocks: ["Mla"] },
  { path: "trunk.0.mixer.wv_b", shape: [5, 3, 4], blocks: ["Mla"] },
  { path: "trunk.0.mixer.wq_b", shape: [2, 3, 4], blocks: ["Mla"] },
  { path: "trunk.0.ffn.gate", shape: [4, 6], blocks: ["SwiGlu"] },
  { path: "trunk.1.ffn.gate", shape: [4, 2], blocks: moe },
  { path: "trunk.1.ffn.experts.down", shape: [2, 3, 4], blocks: ["SwiGlu"] },
  { path: "mtp.0.join", shape: [8, 4], blocks: ["PredictAhead"] },
  { path: "mtp.0.layer.ffn.experts.up", shape: [2, 4, 3], blocks: ["SwiGlu"] },
];

function values(seed: number): Map<string, Float32Array> {
  return new Map(
    params.map((p) => [
      p.path,
      Float32Array.from({ length: p.shape.reduce((a, b) => a * b, 1) }, (_, i) => seed * 1_000 + i),
    ]),
  );
}

function inFile<T>(tensors: Parameters<typeof writeSafetensors>[1], use: (checkpoint: Checkpoint) => T): T {
  const dir = mkdtempSync(join(tmpdir(), "dskc-"));
  try {
    writeSafetensors(join(dir, "model.safetensors"), tensors);
    return use(new Checkpoint(dir));
  } finally {
    rmSync(dir, { recursive: true });
  }
}

describe("names", () => {
  test("say where everything lies", () => {
    const stored = storeParams(table, params, values(1));
    expect(stored.map(({ name, shape }) => [name, shape])).toEqual([
      ["model.embed_tokens.weight", [7, 4]],
      ["model.layers.0.self_attn.kv_b_proj.weight", [18, 5]],
      ["model.layers.0.self_attn.q_b_proj.weight", [12, 2]],
      ["model.layers.0.mlp.gate_proj.weight", [6, 4]],
      ["model.layers.1.mlp.gate.weight", [2, 4]],
      ["model.layers.1.mlp.experts.0.down_proj.weight", [4, 3]],
      ["model.layers.1.mlp.experts.1.down_proj.weight", [4, 3]],
      ["model.layers.2.eh_proj.weight", [4, 8]],
      ["model.layers.2.mlp.experts.0.up_proj.weight", [3, 4]],
      ["model.layers.2.mlp.experts.1.up_proj.weight", [3, 4]],
    ]);
  });

  test("storing and loading are inverse", () => {
    fc.assert(
      fc.property(fc.nat(100), (seed) => {
        const wanted = values(seed);
        expect(inFile(storeParams(table, params, wanted), (c) => loadParams(c, table, params))).toEqual(wanted);
      }),
      { numRuns: 10, seed: 1 },
    );
  });

  test.each([
    [
      "left over",
      [...storeParams(table, params, values(1)), f32("model.layers.0.extra", [1], [1])],
      "the model has no place for `model.layers.0.extra`",
    ],
    ["missing", storeParams(table, params, values(1)).slice(1), "there is no tensor `model.embed_tokens.weight`"],
    [
      "of another shape",
      [
        ...storeParams(table, params, values(1)).slice(1),
        f32("model.embed_tokens.weight", [4, 7], values(1).get("embed.weight")!),
      ],
      "tensor `model.embed_tokens.weight` has the shape [4, 7], the model needs [7, 4]",
    ],
    [
      "of integers",
      [
        ...storeParams(table, params, values(1)).slice(1),
        { ...f32("model.embed_tokens.weight", [7, 4], values(1).get("embed.weight")!), dtype: "I32" as const },
      ],
      "tensor `model.embed_tokens.weight` is I32, weights are floats",
    ],
  ])("a tensor that is %s", (_, tensors, message) => {
    expect(() => inFile(tensors, (c) => loadParams(c, table, params))).toThrow(message);
  });

  test("everything that is wrong is told at once", () => {
    const [embed, head, ...others] = storeParams(table, params, values(1));
    const tensors = [...others, f32(head!.name, [3], [1, 2, 3]), f32("a.b", [1], [1]), f32("c.d", [1], [1])];
    expect(() => inFile(tensors, (c) => readParams(c, table, params))).toThrow(
      [
        `there is no tensor \`${embed!.name}\``,
        "the model has no place for `a.b`, `c.d`",
        `tensor \`${head!.name}\` has the shape [3], the model needs [${head!.shape.join(", ")}]`,
      ].join("\n"),
    );
  });

  test("tensors that are called like the params are those of a training", () => {
    const own = params.map(({ path, shape }) => f32(path, shape, values(1).get(path)!));
    expect(inFile(own, (c) => readParams(c, undefined, params))).toEqual(values(1));
    const [first, second, ...others] = own;
    const tensors = [...others, f32(second!.name, [1], [1]), f32("odd", [1], [1])];
    expect(() => inFile(tensors, (c) => readParams(c, undefined, params))).toThrow(
      [
        `there is no tensor \`${first!.name}\``,
        `tensor \`${second!.name}\` has the shape [1], the model needs [${second!.shape.join(", ")}]`,
        "the model has no place for `odd`",
      ].join("\n"),
    );
    expect(() => inFile([f32("odd", [1], [1])], (c) => readParams(c, undefined, params))).toThrow(
      "its tensors are not called like the params of the model",
    );
  });

  test("a param that lies in the file as it is in the model has its place there", () => {
    const placed = (tensors: Parameters<typeof writeSafetensors>[1]): string[] =>
      inFile(tensors, (c) => {
        const found = findParams(c, table, params);
        for (const [path, { read }] of found) expect(read(), `${path}`).toEqual(values(1).get(path)!);
        const places = [...found].flatMap(([path, { place }]) => (place === undefined ? [] : [[path, place] as const]));
        for (const [path, { file, offset, dtype }] of places) {
          const bytes = readFileSync(file).subarray(offset, offset + values(1).get(path)!.byteLength);
          expect([dtype, new Float32Array(Uint8Array.from(bytes).buffer)]).toEqual(["F32", values(1).get(path)]);
        }
        return places.map(([path]) => path);
      });
    expect(placed(storeParams(table, params, values(1)))).toEqual(["embed.weight"]);
    const own = params.map(({ path, shape }) => f32(path, shape, values(1).get(path)!));
    expect(placed(own)).toEqual(params.map(({ path }) => path));
  });

  test("experts are counted before they are named", () => {
    const experts = (count: number): Param[] => [
      { path: "trunk.3.ffn.experts.down", shape: [count, 3, 4], blocks: ["SwiGlu"] },
    ];
    const { stored } = resolveNames(table, experts(1_000_000));
    expect(stored).toHaveLength(1_000_000);
    expect(stored.at(-1)).toMatchObject({
      name: "model.layers.3.mlp.experts.999999.down_proj.weight",
      parts: [{ first: 999_999 * 12, shape: [3, 4] }],
    });
    expect(() => resolveNames(table, experts(1e9))).toThrow(
      "the model has more than 1000000 tensors in a checkpoint: `trunk.3.ffn.experts.down` has the shape [1000000000, 3, 4]",
    );
  });

  test("what holds nothing of its own is passed over", () => {
    const more = [
      f32("model.layers.0.self_attn.rotary_emb.inv_freq", [1], [1]),
      f32("lm_head.weight", [7, 4], values(1).get("embed.weight")!),
    ];
    expect(() =>
      inFile([...storeParams(table, params, values(1)), ...more], (c) => loadParams(c, table, params)),
    ).not.toThrow();
  });

  test("look-ahead modules may be left out", () => {
    const tensors = storeParams(table, params, values(1)).filter(({ name }) => !name.startsWith("model.layers.2."));
    const optional = (p: Param): boolean => p.path.startsWith("mtp.");
    expect(
      [...inFile(tensors, (c) => loadParams(c, table, params, { optional })).keys()].filter((k) => k.startsWith("mtp")),
    ).toEqual([]);
  });

  test("a parameter that the table does not know", () => {
    const other: Param[] = [{ path: "trunk.0.mixer.odd", shape: [2], blocks: [] }];
    expect(() => storeParams(table, other, new Map([["trunk.0.mixer.odd", [1, 2]]]))).toThrow(
      "the name table does not know `trunk.0.mixer.odd`",
    );
    expect(() => readTable("dsl/std/hf", "../secret")).toThrow("there is no table of checkpoint names `../secret`");
  });
});
