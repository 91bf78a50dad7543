/**
 * Products of square f32 matrices on WebGPU beside jax-js and onnxruntime-web, in one page of Chromium, in turn:
 * `npm install --ignore-scripts @jax-js/jax onnxruntime-web` in a folder, then `node bench/run.mjs webgpu --peer FOLDER`.
 */
import { parseArgs } from "node:util";
import { median } from "../compiler/cli/bench/statistics.ts";
import { axis, load } from "../compiler/kernel-ir/expr.ts";
import type { GemmKernel } from "../compiler/kernel-ir/types.ts";
import { printWebGpu } from "../compiler/targets/webgpu/print.ts";
import type { LaunchProgram } from "../runtime/program/launch.ts";
import type { SimtKernels } from "../runtime/program/grids.ts";
import { openChromiumPage } from "./peers/chromium-page.ts";
import type { Page, PeerName, Product } from "./peers/webgpu-page.ts";

const { values: options } = parseArgs({
  args: process.argv.slice(3),
  options: {
    peer: { type: "string" },
    size: { type: "string", multiple: true, default: ["512", "1024"] },
    rounds: { type: "string", default: "7" },
  },
});
if (options.peer === undefined) throw new Error("--peer FOLDER: where @jax-js/jax and onnxruntime-web are installed");
const names: readonly PeerName[] = ["dskc", "jax-js", "onnxruntime-web"];

function productOf(n: number): Product {
  const name = `product_${n}`;
  const shape = [n, n];
  const at = (...axes: string[]): ReturnType<typeof axis>[] => axes.map(axis);
  const kernel: GemmKernel = {
    family: "gemm",
    name,
    from: [],
    args: [
      { name: "a", dtype: "f32", shape, access: "read" },
      { name: "b", dtype: "f32", shape, access: "read" },
      { name: "c", dtype: "f32", shape, access: "write" },
    ],
    extents: [],
    batch: [],
    m: [{ name: "M", extent: n }],
    n: [{ name: "N", extent: n }],
    products: [
      {
        name: "product",
        dtype: "f32",
        k: [{ name: "K", extent: n }],
        a: load("a", at("M", "K"), "f32"),
        b: load("b", at("K", "N"), "f32"),
      },
    ],
    epilogue: [{ kind: "assign", axes: [], to: "c", at: at("M", "N"), value: load("product", [], "f32") }],
  };
  const files = printWebGpu([kernel]);
  const program: LaunchProgram = {
    name,
    dims: [],
    buffers: [
      { kind: "param", name: "a", dtype: "f32", shape },
      { kind: "param", name: "b", dtype: "f32", shape },
      { kind: "output", name: "c", dtype: "f32", shape },
    ],
    launches: [{ kernel: name, args: [0, 1, 2], extents: [] }],
  };
  const { kernels } = JSON.parse(files.get("webgpu.json")!) as SimtKernels;
  return { n, program, kernels, sources: { [name]: files.get(`${name}.wgsl`)! }, onnx: onnxProduct(n) };
}

/** The protocol buffer of a model with one MatMul (onnx.proto3, opset 17). */
function onnxProduct(n: number): number[] {
  const varint = (value: number): number[] => (value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)]);
  const message = (field: number, bytes: readonly number[]): number[] => [
    ...varint((field << 3) | 2),
    ...varint(bytes.length),
    ...bytes,
  ];
  const number = (field: number, value: number): number[] => [...varint(field << 3), ...varint(value)];
  const text = (field: number, value: string): number[] => message(field, [...Buffer.from(value)]);
  const dim = message(1, number(1, n));
  const type = message(2, message(1, [...number(1, 1), ...message(2, [...dim, ...dim])]));
  const value = (field: number, name: string): number[] => message(field, [...text(1, name), ...type]);
  const node = message(1, [...text(1, "a"), ...text(1, "b"), ...text(2, "c"), ...text(4, "MatMul")]);
  const graph = [...node, ...text(2, "product"), ...value(11, "a"), ...value(11, "b"), ...value(12, "c")];
  return [...number(1, 8), ...message(8, number(2, 17)), ...message(7, graph)];
}

const page = await openChromiumPage<Page>("bench/peers/webgpu-page.ts", options.peer);
try {
  for (const n of options.size.map(Number)) {
    const at = [0, n + 3, (n * n) / 2 + 7, n * n - 1].map(Math.floor);
    const exact = await page.call<number[]>("exact", n, at);
    for (const name of names) {
      await page.call("open", name, productOf(n));
      const got = await page.call<number[]>("check", name, n, at);
      const worst = Math.max(...got.map((x, i) => Math.abs(x - exact[i]!)));
      if (!(worst < 1e-3)) throw new Error(`${name}: elements of the product of ${n} differ by ${worst}`);
    }
    const times = new Map<PeerName, number[]>(names.map((name) => [name, []]));
    for (let round = 0; round < Number(options.rounds); round++)
      for (const name of names) times.get(name)!.push(await page.call<number>("multiply", name, n));
    const own = median(times.get("dskc")!);
    for (const name of names) {
      const time = median(times.get(name)!);
      const speed = (2 * n ** 3) / time / 1e6;
      process.stdout.write(
        `${n}^3 ${name.padEnd(16)} ${time.toFixed(0).padStart(6)} ms ${speed.toFixed(2).padStart(7)} GFLOP/s   dskc is ${(time / own).toFixed(2)}x\n`,
      );
    }
  }
} finally {
  await page.close();
}
