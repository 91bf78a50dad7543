/** Tensor IR to kernel IR: units of ops become kernels, values that cross their borders become buffers. */
import type { Launch, LaunchProgram } from "../../runtime/program/launch.ts";
import type { Kernel, KernelModule, RowsKernel } from "../kernel-ir/types.ts";
import { stringAttr } from "../tensor-ir/attrs.ts";
import type { Op, Program, Value } from "../tensor-ir/types.ts";
import { buildColumns, buildGemm } from "./build-products.ts";
import { type Built, buildRows, buildSerial } from "./build-rows.ts";
import { buildPlane } from "./build-plane.ts";
import { Classes } from "./classes.ts";
import { flattened } from "./flatten.ts";
import { fuseEpilogues } from "./fuse-epilogues.ts";
import { fuseSums } from "./fuse-sums.ts";
import type { Fusion, LowerOptions } from "./fusions.ts";
import { KernelTable } from "./kernel-table.ts";
import { placeEffects } from "./place-effects.ts";
import { type Cut, narrowed } from "./narrow.ts";
import { planesOf } from "./planes.ts";
import { Storage } from "./storage.ts";
import { type StoredWeights, storedWeights } from "./stored-weights.ts";
import { type Grouped, type Unit, unitsOf } from "./units.ts";

/** Lowers programs of one model together: kernels that they share are one. */
export function lowerPrograms(programs: readonly Program[], options: LowerOptions = {}): KernelModule {
  const table = new KernelTable();
  const { weights } = options;
  const own = programs.filter(({ name }) => weights?.programs.has(name));
  const stored: StoredWeights = weights === undefined ? new Map() : storedWeights(own, weights.form);
  const lowered = programs.map((program) =>
    lowerProgram(program, table, options, own.includes(program) ? stored : new Map()),
  );
  return { kernels: table.kernels, programs: lowered };
}

function lowerProgram(
  source: Program,
  table: KernelTable,
  { without = new Set(), target }: LowerOptions,
  stored: StoredWeights,
): LaunchProgram {
  const off =
    target === undefined || target.families.includes("plane") ? without : new Set([...without, "fuse-planes"] as const);
  const grouped = placeEffects(fused(source, off), off);
  const { program } = grouped;
  const classes = Classes.of(program);
  let cut: Cut = { units: unitsOf(grouped, classes, off), spilled: new Set() };
  const make = (): Made => buildAll(program, cut, classes, new Storage(program, target, stored));
  let made = make();
  for (;;) {
    const next = target === undefined ? undefined : narrowed(cut, made, target, classes);
    if (next === undefined) break;
    cut = next;
    made = make();
  }
  const launches = cut.units.map((unit, i): Launch => {
    const { kernel, buffers } = made.built[i]!;
    const flat = kernel.family === "rows" ? flattened(kernel as RowsKernel) : undefined;
    const { name, extents } = table.add((flat?.kernel ?? kernel) as Kernel, unit);
    const given = flat === undefined ? extents : [flat.elements];
    return { kernel: name, args: buffers, extents: given, note: noteOf(unit) };
  });
  const dims = [...program.dims].flatMap(([label, size]) => (size === null ? [label] : []));
  return { name: program.name, dims, buffers: made.storage.buffers, launches };
}

interface Made {
  readonly storage: Storage;
  readonly built: Built<Kernel>[];
}

function buildAll(program: Program, cut: Cut, classes: Classes, storage: Storage): Made {
  const caches = store(program, cut, classes, storage);
  return { storage, built: cut.units.map((unit) => build(unit, classes, storage, caches)) };
}

/** What fusions make of a program. */
function fused(source: Program, without: ReadonlySet<Fusion>): Grouped {
  const planes = without.has("fuse-planes") ? { program: source, groups: [] } : planesOf(source);
  const sums = without.has("fuse-sums") ? planes : fuseSums(planes);
  return without.has("fuse-epilogues") ? sums : fuseEpilogues(sums);
}

function build(unit: Unit, classes: Classes, storage: Storage, caches: ReadonlyMap<number, number>): Built<Kernel> {
  const [op] = unit.ops;
  switch (unit.kind) {
    case "plane":
      return buildPlane(unit.region!, classes, storage);
    case "row":
      return buildRows(unit.ops, classes, storage, caches);
    case "gemm":
      return buildGemm(unit.ops, classes, storage);
    case "columns":
      return buildColumns(unit.ops, classes, storage);
    case "serial":
      return buildSerial(op!, classes, storage);
  }
}

/** Gives a buffer to every value that is read outside of the kernel that makes it. */
function store(program: Program, { units, spilled }: Cut, classes: Classes, storage: Storage): Map<number, number> {
  const unitOf = new Map(units.flatMap((unit) => unit.ops.map((op) => [op, unit] as const)));
  const caches = new Map<number, number>();
  for (const op of program.ops) {
    const [result] = op.results;
    switch (op.name) {
      case "program.input":
        storage.put(result!, storage.named("input", stringAttr(op.attrs, "name"), result!.type));
        break;
      case "model.param":
      case "model.state": {
        const kind = op.name === "model.param" ? "param" : "state";
        storage.put(result!, storage.named(kind, stringAttr(op.attrs, "name"), result!.type));
        break;
      }
      case "cache.append": {
        const at = stringAttr(op.attrs, "at");
        const rest = result!.type.dims.filter((label) => label !== at);
        const buffer = storage.named("cache", stringAttr(op.attrs, "cache"), { dtype: result!.type.dtype, dims: rest });
        const slots = storage.named("input", "cache.slot", { dtype: "i32", dims: [at] });
        storage.putCached(result!, buffer, at, slots);
        caches.set(result!.id, buffer);
        break;
      }
      default:
        if (classes.of(op) === "effect") putEffect(op, storage);
    }
  }
  const bounds = new Set(
    units.flatMap(({ region }) => (region?.span === undefined ? [] : [region.span.from, region.span.to])),
  );
  for (const op of program.ops) {
    const unit = unitOf.get(op);
    const [result] = op.results;
    if (unit === undefined || storage.of(result!) !== undefined) continue;
    // What a product or a sum is made for is stored even where nobody reads it; rows and planes have locals.
    const inside = unit.kind === "row" || unit.kind === "plane" || op !== unit.ops.at(-1);
    if (!inside || bounds.has(result!) || spilled.has(result!.id) || readOutside(result!, unit, unitOf, classes))
      storage.temp(result!);
  }
  return caches;
}

function putEffect(op: Op, storage: Storage): void {
  const put = (value: Value, name: string): void => storage.put(value, storage.named("output", name, value.type));
  const [value] = op.operands;
  const name = stringAttr(op.attrs, "name");
  switch (op.name) {
    case "program.output":
      return put(value!, name);
    case "metric.emit":
      return put(value!, `metric.${name}`);
    case "model.update":
      return storage.put(value!, storage.kept(name));
    default:
      throw new Error(`${op.name} is no effect`);
  }
}

function readOutside(value: Value, unit: Unit, unitOf: ReadonlyMap<Op, Unit>, classes: Classes): boolean {
  const seen = [...(classes.users.get(value.id) ?? [])];
  for (let i = 0; i < seen.length; i++) {
    const user = seen[i]!;
    if (classes.of(user) === "view") seen.push(...(classes.users.get(user.results[0]!.id) ?? []));
    else if (unitOf.get(user) !== unit) return true;
  }
  return false;
}

function noteOf({ ops }: Unit): string {
  const named = ops.flatMap(({ results }) => results.flatMap(({ name }) => (name === undefined ? [] : [name])));
  const what = new Set(named.length > 0 ? named : ops.map(({ name }) => name));
  return [...what].slice(0, 6).join(", ");
}
