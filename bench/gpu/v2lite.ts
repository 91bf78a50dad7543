/**
 * DeepSeek-V2-Lite as a whole, with weights that are drawn: steps of generation with all 27 layers, and a training step with as many
 * layers as fit. Kernels are those of any number of layers, so all sizes of a kind are programs of one package.
 */
import { readFileSync } from "node:fs";
import { trainPlan } from "../../compiler/cli/train-plan.ts";
import { drawnCall } from "../../compiler/cli/bench/calls.ts";
import { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import { trainStepProgram } from "../../compiler/elaborate/train-step.ts";
import { serveProgram } from "../../compiler/elaborate/serve.ts";
import type { KernelModule } from "../../compiler/kernel-ir/types.ts";
import { lowered } from "../../compiler/package/package.ts";
import { printCuda } from "../../compiler/targets/cuda/print.ts";
import type { Program } from "../../compiler/tensor-ir/types.ts";
import { checkFile } from "../../dsl/semantics/check.ts";
import { SHORTLIST_FILE } from "../../compiler/targets/cuda/shortlist.ts";
import type { Call } from "../../runtime/device/session.ts";
import { type BufferSpec, elementsOf, type LaunchProgram } from "../../runtime/program/launch.ts";
import { factorBits, fillKernels, fillName } from "./fill.ts";

export interface Whole {
  readonly name: string;
  readonly kind: "decode" | "train";
  readonly sequences: number;
  /** Of decode what each sequence has in the cache before the new token. */
  readonly length: number;
}

/** Layers with a multilayer perceptron of their own: the first one. */
const DENSE = 1;

/** Layers that are tried, the most first. A param of a training takes 12 bytes, its gradient and copies 6 more. */
const LAYERS = { decode: [27], train: [12, 9, 6, 4] } as const;
/** The same kinds of layers in a size that a simulation of a GPU can run. */
const TINY_LAYERS = { decode: [3], train: [3, 2] } as const;

export function wholes(tiny: boolean): Whole[] {
  const [length, batch] = tiny ? [6, 2] : [1024, 64];
  return [
    { name: `v2lite-decode/1x${length}`, kind: "decode", sequences: 1, length },
    { name: `v2lite-decode/${batch}x${length}`, kind: "decode", sequences: batch, length },
    { name: `v2lite-train/2x${4 * length}`, kind: "train", sequences: 2, length: 4 * length },
  ];
}

/** The spec with fewer layers; tiny, with a narrow width and few experts, too. */
function specOf(layers: number, tiny: boolean): string {
  const text = readFileSync("specs/deepseek-v2-lite.dsk", "utf8")
    .replace("26 of Decoder", `${layers - DENSE} of Decoder`)
    .replaceAll(/^ *expect .*\n/gm, "");
  if (!tiny) return text;
  const sizes = [
    [/V = 102_400/, "V = 256"],
    [/D = 2_048/, "D = 64"],
    [/H = 16/, "H = 2"],
    [/10_944/, "128"],
    [/DeepSeekMoeV1\[D\]/, "DeepSeekMoeV1[D](E: 4, F: 64, K: 2)"],
  ] as const;
  return sizes.reduce((all, [from, to]) => all.replace(from, to), text);
}

function programOf(kind: Whole["kind"], layers: number, tiny: boolean): Program {
  const diagnostics = new Diagnostics();
  const { models, sections } = checkFile({ path: "v2-lite.dsk", text: specOf(layers, tiny) }, diagnostics);
  if (diagnostics.hasErrors) throw new Error(diagnostics.all.map(({ message }) => message).join("\n"));
  const [model] = models.values();
  if (kind === "decode") return serveProgram(model!.module, "decode");
  const section = sections.all.find((one) => one.kind === "train");
  const trained = model!.training();
  return trainStepProgram(trained.module, trainPlan(section, trained));
}

/** A model of so many layers. */
export interface Size {
  readonly layers: number;
  readonly program: LaunchProgram;
  /** What the program is called in the package, and the one that fills its params. */
  readonly names: { readonly program: string; readonly fill: string };
}

export interface WholePackage {
  readonly files: ReadonlyMap<string, string>;
  readonly kernels: KernelModule["kernels"];
  /** The largest one first. */
  readonly sizes: readonly Size[];
}

/** Matrices and vectors of a model: vectors are weights of norms. */
const DEVIATIONS = { matrix: 0.02, vector: 1 };

export function wholePackage(kind: Whole["kind"], tiny: boolean): WholePackage {
  const layers = (tiny ? TINY_LAYERS : LAYERS)[kind];
  const { kernels, programs } = lowered(layers.map((count) => programOf(kind, count, tiny)));
  const sizes = programs.map((program, i): Size => {
    const names = { program: `${layers[i]!}.${program.name}`, fill: `${layers[i]!}.fill` };
    return { layers: layers[i]!, program, names };
  });
  const all = sizes.flatMap(({ program, names }) => [
    { ...program, name: names.program },
    fillProgram(names.fill, program),
  ]);
  const texts = printCuda(kernels, [...fillKernels(), SHORTLIST_FILE]);
  const files = new Map([...texts].map(([name, text]) => [`kernels/cuda/${name}`, text]));
  files.set("program.json", `${JSON.stringify({ format: 1, programs: all })}\n`);
  return { files, kernels, sizes };
}

function fillProgram(name: string, program: LaunchProgram): LaunchProgram {
  const buffers = program.buffers.filter(({ kind }) => kind === "param");
  return {
    name,
    dims: [],
    buffers,
    launches: buffers.map((spec, i) => {
      const deviation = spec.shape.length > 1 ? DEVIATIONS.matrix : DEVIATIONS.vector;
      const extents = [elementsOf(spec, {}), i + 1, factorBits(deviation)];
      return { kernel: fillName(spec.dtype), args: [i], extents };
    }),
  };
}

/** What a call has to do, whoever does it. */
export interface Work {
  readonly call: Call;
  readonly tokens: number;
  readonly flops: number;
  readonly bytes: number;
}

/** Of the model: heads, widths of queries and keys, of values, and experts that a token visits. */
const [HEADS, QUERY, VALUE, CHOSEN] = [16, 192, 128, 6];

export function workOf({ kind, sequences, length }: Whole, { program, layers }: Size): Work {
  const params = program.buffers.filter((spec) => spec.kind === "param");
  const vocabulary = params.find(({ name }) => name === "embed.weight")!.shape[0] as number;
  const { call, tokens, seen } = drawnCall(program, { sequences, length }, vocabulary);
  const size = (specs: readonly BufferSpec[]): number => specs.reduce((sum, spec) => sum + elementsOf(spec, {}), 0);
  const experts = params.filter(({ name }) => name.includes(".experts."));
  const routed = size(experts);
  // Of the embedding a token reads its row.
  const dense = size(params.filter(({ name }) => name !== "embed.weight")) - routed;
  const share = CHOSEN / (experts[0]!.shape[0] as number);
  const forward = 2 * (dense + routed * share) * tokens + 2 * layers * HEADS * (QUERY + VALUE) * tokens * seen;
  // Backward is twice as much, as everybody counts it, whatever is computed again.
  if (kind === "train") return { call, tokens, flops: 3 * forward, bytes: 28 * size(params) };
  const cached = size(program.buffers.filter((spec) => spec.kind === "cache")) * tokens * seen;
  const touched = dense + routed * (1 - (1 - share) ** tokens);
  return { call, tokens, flops: forward, bytes: 2 * (touched + cached) };
}
