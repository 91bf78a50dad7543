import { deepStrictEqual as equal, ok } from "node:assert";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { Checkpoint } from "../../runtime/io/safetensors/read.ts";

const root = resolve(import.meta.dirname, "../fixtures/models");

/** Folders of a model in miniature each, with the numbers that another implementation computes with it. */
export const MODEL_FIXTURES = [
  "a1_v3_plain",
  "a2_v3_yarn",
  "a3_v3_halfrope_ungrouped",
  "b1_v2lite_greedy",
  "b2_v2_group_limited",
  "b3_v2lite_yarn",
  "c1_moe16b",
  "d1_llama_gqa_llama3rope",
  "d2_llama_mqa",
  "d3_llama_mha",
  "d4_qwen2_gqa",
  "d5_mixtral",
  "d6_qwen3_moe",
  "d7_qwen3",
  "m1_v3_every_other_layer",
  "m2_v32_sparse",
  "m3_qwen2_windows",
  "m4_qwen3_moe_windows",
  "m5_glm4_moe",
  "m6_olmoe",
  "m7_llama_biases",
  "m8_mixtral_window",
];

interface Manifest {
  readonly aux?: { readonly alpha: number };
  readonly files: Readonly<
    Record<
      string,
      {
        readonly tensors?: Readonly<
          Record<string, { readonly tolerance?: { readonly atol: number; readonly rtol: number } }>
        >;
      }
    >
  >;
}

/** What a fixture holds, and comparisons of what dskc computes with it. */
export class ModelFixture {
  readonly dir: string;
  readonly manifest: Manifest;
  readonly io: Checkpoint;
  readonly tokens: readonly (readonly number[])[];

  /** What the manifest's tolerances are multiplied with. */
  readonly #factor: number;

  constructor(name: string, factor = 1) {
    this.#factor = factor;
    this.dir = join(root, name);
    this.manifest = JSON.parse(readFileSync(join(this.dir, "manifest.json"), "utf8")) as Manifest;
    this.io = new Checkpoint(join(this.dir, "io.safetensors"));
    const ids = this.io.tensor("input_ids");
    const [rows, length] = ids.shape as [number, number];
    this.tokens = Array.from({ length: rows }, (_, r) => [...ids.read().subarray(r * length, (r + 1) * length)]);
  }

  /** Every element within the manifest's tolerance of its tensor. */
  compare(data: ArrayLike<number>, file: string, tensor: string): void {
    const want = (file === "io.safetensors" ? this.io : new Checkpoint(join(this.dir, file))).tensor(tensor).read();
    const { atol, rtol } = this.manifest.files[file]!.tensors![tensor]!.tolerance!;
    equal(data.length, want.length);
    for (let i = 0; i < want.length; i++) {
      const difference = Math.abs(data[i]! - want[i]!);
      if (!(difference <= this.#factor * (atol + rtol * Math.abs(want[i]!))))
        throw new Error(`${tensor}[${i}] is ${data[i]}, not ${want[i]}`);
    }
  }

  /** What `dskc score --hidden` wrote: logits, loss, and the residual stream after every layer. */
  compareForward(got: Checkpoint): void {
    for (const tensor of ["logits", "loss"]) this.compare(got.tensor(tensor).read(), "io.safetensors", tensor);
    this.compare(got.tensor("hidden.0").read(), "io.safetensors", "hidden.embed");
    const layers = this.io.names.filter((n) => /^hidden\.layer\d+$/.test(n)).length;
    ok(layers > 1);
    for (let layer = 0; layer < layers; layer++)
      this.compare(got.tensor(`hidden.${layer + 1}`).read(), "io.safetensors", `hidden.layer${layer}`);
    equal(got.has(`hidden.${layers + 1}`), false);
  }

  /** What `--routing` wrote: the same experts for every token. */
  compareRouting(got: Checkpoint): void {
    for (const tensor of this.io.names.filter((n) => n.endsWith(".topk_idx"))) {
      const layer = /layer(\d+)/.exec(tensor)![1]!;
      const slots = this.io.tensor(tensor).shape.at(-1)!;
      const chosen = (data: ArrayLike<number>): number[][] =>
        Array.from({ length: data.length / slots }, (_, t) =>
          Array.from({ length: slots }, (_unused, k) => data[t * slots + k]!).toSorted((a, b) => a - b),
        );
      equal(chosen(got.tensor(`trunk.${layer}.ffn.chosen`).read()), chosen(this.io.tensor(tensor).read()));
    }
  }

  /** What `--grad` wrote: the gradient of every parameter of the checkpoint. */
  compareGradients(got: Checkpoint): void {
    const wanted = new Checkpoint(join(this.dir, "grads.safetensors"));
    const weights = new Checkpoint(this.dir).names.filter((n) => !n.endsWith("e_score_correction_bias"));
    const gradients = got.names.filter((n) => n.startsWith("grad."));
    equal(gradients.toSorted(), weights.map((n) => `grad.${n}`).toSorted());
    for (const tensor of wanted.names) this.compare(got.tensor(`grad.${tensor}`).read(), "grads.safetensors", tensor);
    // Experts that no token visits have no entry: their gradient is zero.
    const idle = weights.filter((tensor) => !wanted.has(tensor));
    for (const tensor of idle) {
      const gradient = got.tensor(`grad.${tensor}`).read();
      ok(gradient.every((g) => g === 0));
    }
  }
}
