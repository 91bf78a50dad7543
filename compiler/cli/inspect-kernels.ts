/** `dskc inspect kernels FILE`: the launches of a program, what they cost, and how many a layer takes. */
import { setFlagsFromString } from "node:v8";
import { planArena } from "../../runtime/program/arena.ts";
import { vocabularySize } from "../elaborate/forward.ts";
import { type LaunchRow, launchRows } from "../kernel-ir/launch-table.ts";
import { loweredSource } from "../package/package.ts";
import { storedForms } from "../package/weight-form.ts";
import { drawnCall } from "./bench/calls.ts";
import { type Dispatches, onWebGpu } from "./inspect-dispatches.ts";
import { print, printJson } from "./io.ts";
import { loadModel } from "./load-model.ts";
import { PROGRAMS, trainSection } from "./named-programs.ts";
import { bytesText, countText, scaled, table } from "./text-table.ts";

export interface KernelOptions {
  readonly model?: string;
  readonly program: string;
  readonly train?: string;
  readonly sequences: number;
  readonly length?: number;
  readonly device: "cpu" | "webgpu";
  readonly json?: boolean;
}

/** A launch, and on WebGPU what it is there. */
type Launch = LaunchRow & Partial<Dispatches>;

interface Layer {
  readonly layer: string;
  readonly launches: readonly Launch[];
}

export function inspectKernels(
  file: string,
  { program: name, train, sequences, length, device, ...rest }: KernelOptions,
): void {
  // `inspect` is done before optimized code pays; lowering is not.
  setFlagsFromString("--opt");
  const loaded = loadModel(file, rest.model);
  if (loaded === undefined) return;
  const { kernels, programs } = loweredSource({
    programs: [PROGRAMS[name]!(loaded, trainSection(loaded, train))],
    ...storedForms(loaded.serves[0]),
  });
  const [program] = programs;
  const amount = { sequences, length: length ?? (name === "decode" || name.startsWith("draft.") ? 1024 : 512) };
  const { call, tokens, seen } = drawnCall(program!, amount, vocabularySize(loaded.module));
  const rows = launchRows(program!, kernels, call.sizes, { seen });
  const gpu = device === "webgpu" ? onWebGpu(program!, kernels, call.sizes) : undefined;
  const launches = rows.map((row, i): Launch => ({ ...row, ...gpu?.launches[i] }));
  const arenaBytes = gpu?.arenaBytes ?? planArena(program!, call.sizes).bytes;
  const facts = { model: loaded.module.name, program: name, ...amount, tokens, launches: launches.length, arenaBytes };
  const [named, layers] = [kernelRows(launches), layerRows(launches)];
  if (rest.json) printJson({ ...facts, kernels: named, layers });
  else print(text(facts, named, layers));
}

interface KernelRow {
  readonly kernel: string;
  readonly family: LaunchRow["family"];
  /** Launches in one call. */
  readonly count: number;
  /** Of one launch, the largest of them. */
  readonly items: number;
  /** Of all launches together. */
  readonly flops: number;
  readonly bytes: number;
  /** Of the launch at which most temps are alive. */
  readonly arena: number;
  /** On WebGPU, of all launches together, and the entry points. */
  readonly dispatches?: number;
  readonly workgroups?: number;
  readonly entries?: readonly string[];
  readonly computes: string;
}

/** Kernels in the order of their first launches. */
function kernelRows(launches: readonly Launch[]): KernelRow[] {
  return [...grouped(launches, ({ kernel }) => kernel)].map(([kernel, own]) => ({
    kernel,
    family: own[0]!.family,
    count: own.length,
    items: Math.max(...own.map(({ items }) => items)),
    flops: sum(own, "flops"),
    bytes: sum(own, "bytes"),
    arena: Math.max(...own.map(({ arena }) => arena)),
    ...(own[0]!.entries === undefined
      ? {}
      : {
          dispatches: sum(own, "dispatches"),
          workgroups: sum(own, "workgroups"),
          entries: [...new Set(own.flatMap(({ entries = [] }) => entries))],
        }),
    computes: own[0]!.note ?? "",
  }));
}

interface LayerRow {
  /** Empty for what belongs to no layer. */
  readonly layer: string;
  readonly launches: number;
  readonly flops: number;
  readonly bytes: number;
  readonly dispatches?: number;
  readonly kernels: readonly string[];
}

function layerRows(launches: readonly Launch[]): LayerRow[] {
  const layers = [...grouped(launches, ({ layer }) => layer ?? "")].map(([layer, own]): Layer => ({
    layer,
    launches: own,
  }));
  return layers.map(({ layer, launches: own }) => ({
    layer,
    launches: own.length,
    flops: sum(own, "flops"),
    bytes: sum(own, "bytes"),
    ...(own[0]!.dispatches === undefined ? {} : { dispatches: sum(own, "dispatches") }),
    kernels: own.map(({ kernel }) => kernel),
  }));
}

function grouped(launches: readonly Launch[], by: (launch: Launch) => string): Map<string, Launch[]> {
  const groups = new Map<string, Launch[]>();
  for (const launch of launches) {
    const own = groups.get(by(launch));
    if (own === undefined) groups.set(by(launch), [launch]);
    else own.push(launch);
  }
  return groups;
}

function sum(launches: readonly Launch[], of: "flops" | "bytes" | "dispatches" | "workgroups"): number {
  return launches.reduce((total, launch) => total + (launch[of] ?? 0), 0);
}

type Facts = Readonly<Record<"model" | "program", string>> &
  Readonly<Record<"sequences" | "length" | "tokens" | "launches" | "arenaBytes", number>>;

function text(facts: Facts, kernels: readonly KernelRow[], layers: readonly LayerRow[]): string {
  const { model, program, sequences, length, tokens, launches, arenaBytes } = facts;
  const onGpu = kernels[0]?.entries !== undefined;
  const kernelLines = kernels.map((row) => [
    row.kernel,
    row.family,
    String(row.count),
    countText(row.items),
    ...(onGpu ? [row.entries!.join(" "), String(row.dispatches), countText(row.workgroups!)] : []),
    scaled(row.flops),
    bytesText(row.bytes),
    bytesText(row.arena),
    row.computes,
  ]);
  const gpuHead = onGpu ? ["entries", "dispatches", "workgroups"] : [];
  const gpuAlign = onGpu ? (["left", "right", "right"] as const) : [];
  const layerLines = alike(layers).map((row) => [
    row.layer === "" ? "(no layer)" : row.layer,
    String(row.launches),
    ...(onGpu ? [String(row.dispatches)] : []),
    scaled(row.flops),
    bytesText(row.bytes),
  ]);
  const of = sequences === 1 ? "" : ` of each of ${sequences} sequences`;
  return [
    `model ${model}, program ${program}: ${countText(tokens)} new tokens, length ${countText(length)}${of}`,
    `${launches} launches of ${kernels.length} kernels, an arena of ${bytesText(arenaBytes)}`,
    "",
    table(
      [["kernel", "family", "count", "items", ...gpuHead, "FLOPs", "bytes", "arena", "computes"], ...kernelLines],
      ["left", "left", "right", "right", ...gpuAlign, "right", "right", "right", "left"],
    ),
    "",
    table(
      [["layer", "launches", ...(onGpu ? ["dispatches"] : []), "FLOPs", "bytes"], ...layerLines],
      ["left", "right", ...(onGpu ? (["right"] as const) : []), "right", "right"],
    ),
  ].join("\n");
}

/** Layers that follow each other and launch the same kernels as one row, `trunk.1-60`, with the numbers of one of them. */
function alike(layers: readonly LayerRow[]): LayerRow[] {
  const rows: (LayerRow & { readonly first: string })[] = [];
  for (const row of layers) {
    const before = rows.at(-1);
    const [, stack, index] = /^(.*\.)(\d+)$/.exec(row.layer) ?? [];
    if (before === undefined || index === undefined || before.kernels.join() !== row.kernels.join())
      rows.push({ ...row, first: row.layer });
    else if (before.first.startsWith(stack!)) rows[rows.length - 1] = { ...before, layer: `${before.first}-${index}` };
    else rows.push({ ...row, first: row.layer });
  }
  return rows;
}
