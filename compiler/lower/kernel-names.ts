/**
 * Names of kernels, in the words of the `.dsk` text: `gemm_gate_up` multiplies by these params, `rows_chosen` stores that value,
 * `rows_rms_norm` does what is neither.
 */
import type { BufferSpec } from "../../runtime/program/launch.ts";
import { loadedBy } from "../kernel-ir/expr.ts";
import type { GemmKernel, Kernel } from "../kernel-ir/types.ts";
import type { Op } from "../tensor-ir/types.ts";
import { functionsOf } from "./provenance.ts";

/** What autodiff calls gradients of params: each is made by a product of its own, whatever that multiplies by. */
const GRADIENT = "grad";

/** What a product reads codes by, of whatever param: they say nothing about it. */
const FORMS = ["codes", "scale"];

/** How many params or values a name has. */
const MOST = 3;

type Nameless = Omit<Kernel, "name" | "from">;

export function nameFor(kernel: Nameless, ops: readonly Op[], buffers: readonly BufferSpec[]): string {
  const stored = storedBy(kernel, buffers);
  const what =
    (stored.includes(GRADIENT) ? GRADIENT : undefined) ??
    some(weightsOf(kernel as Kernel, buffers)) ??
    some(stored.slice(-1)) ??
    functionsOf(ops)
      .at(-1)
      ?.replaceAll(/(?<=[a-z0-9])(?=[A-Z])/g, "_")
      .toLowerCase() ??
    ops.at(-1)!.name.replace(/^.*\./, "");
  return `${kernel.family}_${what.replaceAll(/[^A-Za-z0-9]+/g, "_")}`;
}

function some(names: readonly string[]): string | undefined {
  return names.length === 0 ? undefined : [...new Set(names)].slice(0, MOST).join("_");
}

/** What products multiply by: params, or what is called like them where a product reads them in another dtype. */
function weightsOf(kernel: Kernel, buffers: readonly BufferSpec[]): string[] {
  const parts = kernel.family === "parts" ? kernel.parts : [kernel];
  const scales = new Set(buffers.flatMap(({ quantized }) => quantized?.scales ?? []));
  const weights = new Map(
    kernel.args.flatMap(({ name }, i) => {
      const { kind, name: path } = buffers[i]!;
      if (kind === "param") return scales.has(path) ? [] : [[name, lastOf(path)] as const];
      const hint = hintOf(name);
      return kind === "temp" && hint !== undefined && !FORMS.includes(hint) ? [[name, hint] as const] : [];
    }),
  );
  return parts
    .filter((part): part is GemmKernel => part.family === "gemm")
    .flatMap(({ products }) => products.flatMap(({ b }) => loadedBy(b)))
    .flatMap((name) => weights.get(name) ?? []);
}

/** `wq` of `trunk.3.mixer.wq`; a param that is only called `weight` has the name of its block. */
function lastOf(path: string): string {
  const parts = path.split(".").filter((part) => !/^\d+$/.test(part));
  const last = parts.at(-1) ?? path;
  return last === "weight" ? (parts.at(-2) ?? last) : last;
}

/** Values with a name, caches and outputs that it writes. */
function storedBy({ args }: Nameless, buffers: readonly BufferSpec[]): string[] {
  return args.flatMap(({ name, access }, i) => {
    const { kind, name: path } = buffers[i]!;
    if (access === "read" || kind === "param" || kind === "state") return [];
    return kind === "output" && path.startsWith(`${GRADIENT}.`) ? [GRADIENT] : (hintOf(name) ?? []);
  });
}

/** The name of a value, without the number behind it; of most values there is none. */
function hintOf(argument: string): string | undefined {
  const hint = argument.replace(/_\d+$/, "");
  return hint === "x" ? undefined : hint;
}
