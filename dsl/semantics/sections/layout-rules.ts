/** What a layout must fulfil as a whole: the axes make the mesh, and the model divides over them. */
import type { Module } from "../../../compiler/model-ir/types.ts";
import type { Context } from "./context.ts";
import type { Entries } from "./entries.ts";
import { callAt, meshAt, numberAt, numberOf, placeOf, scheduleOf } from "./look-up.ts";
import type { CheckedSection } from "./sections.ts";

/** Sizes of the axes; undefined for one that cannot be told. */
type Axes = ReadonlyMap<string, number | undefined>;

export function checkLayout(c: Context, { entries }: CheckedSection, train: CheckedSection | undefined): void {
  const axes = checkAxes(c, entries);
  checkExperts(c, entries, axes);
  checkPipeline(c, entries, axes);
  checkRoute(c, entries, axes);
  checkBatch(c, entries, axes, train);
}

/** The product of the axes is the mesh; one of them may take the rest. */
function checkAxes(c: Context, entries: Entries): Axes {
  const axes = new Map<string, number | undefined>();
  let rest: string | undefined;
  for (const [path, { value, span }] of entries) {
    if (!path.startsWith("axes.")) continue;
    const name = path.slice("axes.".length);
    axes.set(name, numberOf(value));
    if (value.kind !== "word") continue;
    if (rest !== undefined) c.diagnostics.report("DSK3002", span, {});
    rest ??= name;
  }
  const mesh = meshAt(entries, "mesh");
  const sizes = [...axes].filter(([name]) => name !== rest);
  if (mesh === undefined || axes.size === 0 || sizes.some(([, size]) => size === undefined)) return axes;
  const product = sizes.reduce((all, [, size]) => all * size!, 1);
  const share = mesh.gpus / product;
  if (rest === undefined ? share !== 1 : !Number.isInteger(share)) {
    const text = sizes.map(([name, size]) => `${name} ${size}`).join(" x ");
    const at = placeOf(entries, `axes.${sizes[0]![0]}`)!;
    const help = rest === undefined ? { help: "one axis may be `rest`" } : {};
    c.diagnostics.report(
      "DSK3001",
      at,
      { axes: text, product, gpus: mesh.gpus },
      {
        secondary: [{ span: mesh.span, text: `${mesh.gpus} GPUs` }],
        ...help,
      },
    );
  } else if (rest !== undefined) axes.set(rest, share);
  return axes;
}

/** The sizes of the dims that blocks are copied over: the experts. */
export function expertCounts({ blocks, dims }: Module): number[] {
  const counts = new Set<number>();
  for (const block of blocks.values()) {
    for (const use of block.uses.values()) {
      const size = use.kind === "block" && use.over !== undefined ? dims.get(use.over) : undefined;
      if (typeof size === "number") counts.add(size);
    }
  }
  return [...counts];
}

function checkExperts(c: Context, entries: Entries, axes: Axes): void {
  const ep = axes.get("ep");
  if (c.model === undefined || ep === undefined) return;
  const experts = expertCounts(c.model.module).find((count) => count % ep !== 0);
  if (experts !== undefined) c.diagnostics.report("DSK3005", placeOf(entries, "axes.ep")!, { experts, ep });
}

/** The layers of the model's stacks. */
function layersOf({ root }: Module): number {
  const stacks = [...root.uses.values()].filter((use) => use.kind === "stack");
  return stacks.flatMap((stack) => stack.layers).reduce((all, layer) => all + layer.count, 0);
}

/** Chunks of layers that each rank holds. */
const CHUNKS: Readonly<Record<string, number>> = { zbv: 2, dualpipe: 2, dualpipev: 2 };

function checkPipeline(c: Context, entries: Entries, axes: Axes): void {
  const pipeline = callAt(entries, "pipeline");
  const stages = axes.get("pp");
  if (pipeline !== undefined && !axes.has("pp")) {
    const needs = "an axis pp";
    c.diagnostics.report("DSK3007", pipeline.span, { pipeline: `\`${pipeline.fn}\``, needs, found: "there is none" });
    return;
  }
  if (stages === undefined) return;
  if (pipeline?.fn === "dualpipe" && stages % 2 === 1) {
    const found = `pp is ${stages}`;
    c.diagnostics.report("DSK3007", pipeline.span, {
      pipeline: "`dualpipe`",
      needs: "an even number of stages",
      found,
    });
  }
  const layers = c.model === undefined ? 0 : layersOf(c.model.module);
  const chunks = numberOf(pipeline?.args.get("chunks")) ?? CHUNKS[pipeline?.fn ?? ""] ?? 1;
  // Both directions of DualPipe run through the same stages.
  const parts = pipeline?.fn === "dualpipe" ? stages : stages * chunks;
  if (layers > 0 && parts > layers) {
    const at = placeOf(entries, "axes.pp") ?? pipeline!.span;
    c.diagnostics.report("DSK3006", at, { stages: parts, layers });
  }
}

/** Experts of a token lie on some of the nodes or devices that all experts lie on. */
function checkRoute(c: Context, entries: Entries, axes: Axes): void {
  const count = callAt(entries, "route")?.args.get("count");
  const mesh = meshAt(entries, "mesh");
  if (count?.kind !== "number" || mesh === undefined) return;
  const gpus = axes.get("ep") ?? mesh.gpus;
  const nodes = Math.ceil(gpus / (mesh.gpus / mesh.nodes));
  const most = count.measure === "nodes" ? nodes : gpus;
  if (count.value <= most) return;
  const of = axes.has("ep") ? `ep = ${gpus} is ${counted(nodes)}` : `${counted(mesh.nodes)}, ${mesh.gpus} GPUs`;
  c.diagnostics.report("DSK3004", count.span, { route: `${count.value} ${count.measure!}`, of });
}

function counted(nodes: number): string {
  return nodes === 1 ? "1 node" : `${nodes} nodes`;
}

/** Least micro-batches of a schedule over `pp` stages. */
const LEAST: Readonly<Record<string, (stages: number) => number>> = {
  dualpipe: (stages) => 2 * stages,
  dualpipev: (stages) => 2 * stages,
};

/** The full batch divides into micro-batches for each copy, as many as the pipeline needs. */
function checkBatch(c: Context, entries: Entries, axes: Axes, train: CheckedSection | undefined): void {
  const batch = train?.entries.get("batch")?.value;
  const last = scheduleOf(batch)?.pieces.at(-1)?.shape.to;
  const tokens = batch?.kind === "number" && batch.measure === "tokens";
  const micro = numberAt(entries, "microbatch");
  const [dp, ep] = ["dp", "ep"].map((name) => (axes.has(name) ? axes.get(name) : 1));
  if (last === undefined || tokens || micro === undefined || dp === undefined || ep === undefined) return;
  // Devices that share out the experts read different sequences, as copies do.
  const copies = dp * ep;
  const at = placeOf(entries, "axes.dp") ?? placeOf(entries, "axes.ep");
  if (at === undefined) return;
  if (last % (copies * micro) !== 0) {
    const over = micro === 1 ? "dp x ep" : "dp x ep x microbatch";
    c.diagnostics.report("DSK3008", at, { batch: last, over, by: copies * micro });
    return;
  }
  const pipeline = callAt(entries, "pipeline");
  const least = LEAST[pipeline?.fn ?? ""]?.(axes.get("pp") ?? 1) ?? 1;
  const found = last / (copies * micro);
  if (found < least) {
    const needs = `${least} micro-batches for pp = ${axes.get("pp")}`;
    c.diagnostics.report("DSK3007", pipeline!.span, {
      pipeline: `\`${pipeline!.fn}\``,
      needs,
      found: `a batch has ${found}`,
    });
  }
}
