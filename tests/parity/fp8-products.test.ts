/** Products in eight bits against DeepSeek-V3's inference/kernel.py and DeepGEMM (fixture j2): codes, scales and sums. */
import { expect, test } from "vitest";
import { quantizeProducts } from "../../compiler/elaborate/quantize-products.ts";
import { runProgram } from "../../compiler/reference/run.ts";
import { ProgramBuilder } from "../../compiler/tensor-ir/builder.ts";
import type { Program, Value } from "../../compiler/tensor-ir/types.ts";
import { verifyProgram } from "../../compiler/tensor-ir/verify.ts";
import type { Session } from "../../runtime/device/session.ts";
import { e4m3Number } from "../support/e4m3.ts";
import { fixtureTensors } from "../support/fixture.ts";
import { onCpu } from "../support/on-cpu.ts";
import { onCuda } from "../support/on-cuda.ts";
import { HAS_WEBGPU, onWebGpu } from "../support/on-webgpu.ts";

const tensor = fixtureTensors("j2_fp8_gemm", "fp8_gemm.safetensors");
const [a, b] = [tensor("a"), tensor("b")];

/** c[T, N] = a[T, K] b[N, K], in eight bits, with the codes (as numbers) and scales of both as outputs. */
function program(): Program {
  const builder = new ProgramBuilder(
    new Map([
      ["T", null],
      ["N", 256],
      ["K", 256],
    ]),
  );
  const x = builder.emit("program.input", [], { dtype: "f32", dims: ["T", "K"] }, { name: "a" });
  const w = builder.emit("model.param", [], { dtype: "f32", dims: ["N", "K"] }, { name: "b" });
  const c = builder.emit("tensor.contract", [x, w], { dtype: "f32", dims: ["T", "N"] });
  builder.effect("program.output", [c], { name: "c" });
  const eight = quantizeProducts(builder.finish("products"), {
    activations: 128,
    weights: [128, 128],
    quantizes: () => true,
  });
  const outputs = eight.ops.flatMap(({ results }) =>
    results.filter(({ name }) => name === "codes" || name === "scale"),
  );
  const more = new ProgramBuilder(new Map(eight.dims), 1000);
  for (const op of eight.ops) more.push(op);
  // The param comes first: what a product needs of it does not depend on the call.
  const names = ["b.codes", "b.scale", "a.codes", "a.scale"];
  const order = outputs.toSorted(
    (p, q) => Number(p.type.dims.includes("T")) - Number(q.type.dims.includes("T")) || (p.name === "codes" ? -1 : 1),
  );
  for (const [i, value] of order.entries()) {
    const plain: Value =
      value.name === "codes" ? more.emit("tensor.cast", [value], { ...value.type, dtype: "f32" }) : value;
    more.effect("program.output", [plain], { name: names[i]! });
  }
  return more.finish("products");
}

interface Allowed {
  /** How far a quotient may be off, in units of its last place: WGSL allows 2.5 (WGSL, section 15.7.4). */
  readonly ulps?: number;
  /** Of each sum: what the device's sums of eight-bit products may be off by. */
  readonly sums?: readonly number[];
}

/**
 * Hopper's tensor cores cut each addend of a sum of 32 products behind the 13th bit of the largest one (DeepSeek-V3, arXiv 2412.19437,
 * section 3.5.2): what all products of a block and the sums so far can lose.
 */
function hopperSums(): number[] {
  const [codes, others] = ["a_code", "b_code"].map((name) => tensor(name).data.map(e4m3Number)) as [number[], number[]];
  const [scales, otherScales] = [tensor("a_scale").data, tensor("b_scale").data];
  const [K, N, blocks] = [256, 256, 2];
  return Array.from({ length: 17 * N }, (_, at) => {
    const [t, n] = [Math.floor(at / N), at % N];
    let lost = 0;
    for (let block = 0; block < blocks; block++) {
      const scale = scales[t * blocks + block]! * otherScales[Math.floor(n / 128) * blocks + block]!;
      let [sum, inBlock] = [0, 0];
      for (let first = block * 128; first < (block + 1) * 128; first += 32) {
        let largest = Math.abs(sum);
        for (let k = first; k < first + 32; k++) {
          const product = codes[t * K + k]! * others[n * K + k]!;
          largest = Math.max(largest, Math.abs(product));
          sum += product;
        }
        inBlock += 33 * largest * 2 ** -13;
      }
      lost += inBlock * scale;
    }
    return lost;
  });
}

function check(outputs: Readonly<Record<string, ArrayLike<number>>>, { ulps = 0, sums }: Allowed = {}): void {
  const near = (name: string, want: readonly number[]): void => {
    const wrong = want.filter((x, i) => Math.abs(outputs[name]![i]! - x) > ulps * 2 ** -23 * Math.abs(x));
    expect([name, outputs[name]!.length, wrong]).toEqual([name, want.length, []]);
  };
  near("b.scale", tensor("b_scale").data);
  near("a.scale", tensor("a_scale").data);
  if (ulps === 0) {
    near("a.codes", tensor("a_code").data.map(e4m3Number));
    near("b.codes", tensor("b_code").data.map(e4m3Number));
  }
  const c = tensor("c").data;
  const worst = Math.max(
    ...c.map((x, i) => Math.abs(outputs["c"]![i]! - x) / (2e-4 + 1e-5 * Math.abs(x) + (sums?.[i] ?? 0))),
  );
  expect(worst).toBeLessThan(1);
  const plain = tensor("c_unquantised").data;
  expect(Math.max(...plain.map((x, i) => Math.abs(outputs["c"]![i]! - x)))).toBeGreaterThan(0.1);
}

async function checkOn(session: Session, allowed?: Allowed): Promise<void> {
  session.write("b", Float32Array.from(b.data));
  const inputs = { a: Float32Array.from(a.data) };
  check(
    (await session.run({ program: "products", sizes: { T: 17 }, inputs })) as Record<string, Float32Array>,
    allowed,
  );
  session.close();
}

test("interpreter", () => {
  const eight = program();
  expect(verifyProgram(eight)).toEqual([]);
  const values = new Map([a, b].map(({ data }, i) => ["ab"[i]!, { data }] as const));
  const { outputs } = runProgram(eight, { sizes: { T: 17 }, values });
  check(Object.fromEntries([...outputs].map(([name, { data }]) => [name, data])));
});

test("cpu", async () => checkOn(await onCpu([program()])), 60_000);

test("cuda", async () => checkOn(await onCuda([program()]), { sums: hopperSums() }), 300_000);

test.skipIf(!HAS_WEBGPU)("webgpu", async () => checkOn(await onWebGpu([program()]), { ulps: 2.5 }), 60_000);
