/** Tensor IR to kernel IR: units of ops become kernels, values that cross their borders become buffers. */
import type { Blocks, Launch, LaunchProgram, Together } from "../../runtime/program/launch.ts";
import type { Capability } from "../kernel-ir/capability.ts";
import type { KernelModule, SoloKernel } from "../kernel-ir/types.ts";
import { assumedSizes } from "../passes/pipeline.ts";
import { stringAttr } from "../tensor-ir/attrs.ts";
import { boundDims } from "../tensor-ir/tiles.ts";
import type { Op, Program, Value } from "../tensor-ir/types.ts";
import { buildColumns, buildGemm } from "./build-products.ts";
import { BLOCK_ROWS, blockProgram } from "./block-program.ts";
import { type Built, buildRows, buildSerial } from "./build-rows.ts";
import { buildPlane } from "./build-plane.ts";
import { Classes, rowDims } from "./classes.ts";
import { flattened } from "./flatten.ts";
import { gatherLaunches } from "./gather-launches.ts";
import { fuseEpilogues } from "./fuse-epilogues.ts";
import { fuseLaunches, type Piece } from "./fuse-launches.ts";
import { fuseLoss } from "./fuse-loss.ts";
import { fusePrologues } from "./fuse-prologues.ts";
import { fuseSums } from "./fuse-sums.ts";
import type { Fusion, LowerOptions } from "./fusions.ts";
import { KernelTable } from "./kernel-table.ts";
import { noteOf, placeOf } from "./provenance.ts";
import { placeEffects } from "./place-effects.ts";
import { type Cut, narrowed } from "./narrow.ts";
import { planesOf } from "./planes.ts";
import { Storage, type StoredForms } from "./storage.ts";
import { type StoredWeights, storedWeights } from "./stored-weights.ts";
import { type Grouped, type Unit, unitsOf } from "./units.ts";

/** Lowers programs of one model together: kernels that they share are one. */
export function lowerPrograms(programs: readonly Program[], options: LowerOptions = {}): KernelModule {
  const table = new KernelTable();
  const { weights, caches } = options;
  const own = programs.filter(({ name }) => weights?.programs.has(name));
  const stored: StoredWeights = weights === undefined ? new Map() : storedWeights(own, weights.form);
  const lowered = programs.map((program) =>
    lowerProgram(program, table, options, { weights: own.includes(program) ? stored : new Map(), caches }),
  );
  return { kernels: table.kernels, programs: lowered };
}

function lowerProgram(
  source: Program,
  table: KernelTable,
  { without = new Set(), target }: LowerOptions,
  forms: StoredForms,
): LaunchProgram {
  const off =
    target === undefined || target.families.includes("plane") ? without : new Set([...without, "fuse-planes"] as const);
  const grouped = placeEffects(fused(source, off), off);
  const made = make(grouped, () => new Storage(grouped.program, target, forms), { off, target });
  const { launches, blocks, together } = launchesOf(made, table, {
    target,
    joins: hasFewRows(source) && !off.has("fuse-launches") && (target?.families.includes("parts") ?? true),
  });
  const groups = {
    ...(blocks.length === 0 ? {} : { blocks }),
    ...(together.length === 0 ? {} : { together }),
  };
  return {
    name: source.name,
    dims: boundDims(grouped.program.dims),
    buffers: made.storage.buffers,
    launches,
    ...groups,
  };
}

/** Whether a call has one token, or few, so that a launch costs as much as what it does. */
function hasFewRows({ name }: Program): boolean {
  return assumedSizes(name).get("T") === 1;
}

interface Options {
  readonly off: ReadonlySet<Fusion>;
  readonly target: Capability | undefined;
}

/** Units with their kernels, or with what is made for each block. */
interface Made {
  readonly storage: Storage;
  readonly units: readonly { readonly unit: Unit; readonly made: Built<SoloKernel> | Made }[];
}

/**
 * Makes kernels that fit the target.
 * @param block the rows of a block, where this is the program of one
 */
function make(grouped: Grouped, storageFor: () => Storage, options: Options, block?: number): Made {
  const { program } = grouped;
  const { off, target } = options;
  const classes = Classes.of(program);
  for (let cut: Cut = { units: unitsOf(grouped, classes, off), spilled: new Set() }; ;) {
    let storage = storageFor();
    const caches = store(program, cut, classes, storage, block);
    const built = cut.units.map((unit) => (unit.kind === "blocks" ? undefined : build(unit, classes, storage, caches)));
    const next = target === undefined ? undefined : narrowed(cut, { built, storage }, target, classes);
    if (next !== undefined) {
      cut = next;
      continue;
    }
    const units = cut.units.map((unit, i) => {
      const kernel = built[i];
      if (kernel !== undefined) return { unit, made: kernel };
      const each = productsFused({ program: blockProgram(unit, classes, storage), groups: [] }, off);
      const outside = storage;
      const inside = make(each, () => outside.copy(), options, BLOCK_ROWS);
      storage = inside.storage;
      return { unit, made: inside };
    });
    return { storage, units };
  }
}

interface JoinOptions {
  readonly target: Capability | undefined;
  /** Whether independent kernels share a launch. */
  readonly joins: boolean;
}

function launchesOf(
  { units, storage }: Made,
  table: KernelTable,
  { target, joins }: JoinOptions,
): { launches: Launch[]; blocks: Blocks[]; together: Together[] } {
  const launches: Launch[] = [];
  const blocks: Blocks[] = [];
  const together: Together[] = [];
  let pieces: Piece<SoloKernel>[] = [];
  const launch = (): void => {
    const own = joins ? fuseLaunches(pieces, storage.buffers, target) : pieces;
    const gathered = gatherLaunches(
      own.map(({ kernel, buffers, extents, ops }) => ({
        kernel: table.add(
          kernel,
          ops,
          buffers.map((buffer) => storage.buffers[buffer]!),
        ),
        args: buffers,
        extents,
        note: noteOf(ops),
        ...placed(placeOf(ops)),
      })),
      (name) => table.kernel(name),
      storage.buffers,
    );
    together.push(...gathered.together.map(({ first, count }) => ({ first: first + launches.length, count })));
    launches.push(...gathered.launches);
    pieces = [];
  };
  for (const { unit, made } of units) {
    if ("units" in made) {
      launch();
      const each = launchesOf(made, table, { target, joins: false }).launches;
      blocks.push({ dim: "T", rows: BLOCK_ROWS, first: launches.length, count: each.length });
      launches.push(...each);
      continue;
    }
    const { kernel, buffers } = made;
    const flat = flattened(kernel);
    if (flat === undefined) pieces.push({ kernel, buffers, extents: kernel.extents, ops: unit.ops });
    else pieces.push({ kernel: flat.kernel, buffers, extents: [flat.elements], ops: unit.ops });
  }
  launch();
  return { launches, blocks, together };
}

/** What fusions make of a program. */
function fused(source: Program, without: ReadonlySet<Fusion>): Grouped {
  const planes = without.has("fuse-planes") ? { program: source, groups: [] } : planesOf(source);
  return productsFused(without.has("fuse-loss") ? planes : fuseLoss(planes), without);
}

function productsFused(grouped: Grouped, without: ReadonlySet<Fusion>): Grouped {
  const sums = without.has("fuse-sums") ? grouped : fuseSums(grouped);
  const products = without.has("fuse-epilogues") ? sums : fuseEpilogues(sums);
  return without.has("fuse-prologues") || !hasFewRows(grouped.program) ? products : fusePrologues(products);
}

function build(unit: Unit, classes: Classes, storage: Storage, caches: ReadonlyMap<number, number>): Built<SoloKernel> {
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
    case "blocks":
      throw new Error("blocks are several kernels");
  }
}

/** Gives a buffer to every value that is read outside of the kernel that makes it. */
function store(
  program: Program,
  { units, spilled }: Cut,
  classes: Classes,
  storage: Storage,
  block?: number,
): Map<number, number> {
  const unitOf = new Map(units.flatMap((unit) => unit.ops.map((op) => [op, unit] as const)));
  const sums = units.flatMap((unit) => unit.sums ?? []);
  const caches = new Map<number, number>();
  for (const op of program.ops) {
    const [result] = op.results;
    // Inputs and outputs of a block.
    if (storage.of(result ?? op.operands[0]!) !== undefined) continue;
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
  for (const {
    operands: [before],
    results: [after],
  } of sums) {
    if (storage.of(after!) === undefined) storage.temp(after!);
    storage.put(before!, storage.of(after!)!.buffer);
  }
  const bounds = new Set(
    units.flatMap(({ region }) => (region?.span === undefined ? [] : [region.span.from, region.span.to])),
  );
  for (const op of program.ops) {
    const unit = unitOf.get(op);
    const [result] = op.results;
    if (unit === undefined || storage.of(result!) !== undefined) continue;
    // What a product or a sum is made for is stored even where nobody reads it; rows and planes have locals.
    const inside = unit.kind === "row" || unit.kind === "plane" || unit.kind === "blocks" || op !== unit.ops.at(-1);
    const isKept = bounds.has(result!) || spilled.has(result!.id) || readOutside(result!, unit, unitOf, classes);
    const rows = rowDims(result!.type)[0] === "T" ? block : undefined;
    if (!inside || isKept) storage.temp(result!, rows, isSumForPlanes(op, unitOf, classes));
  }
  return caches;
}

/**
 * A row's sum that elements of planes are added to or multiplied by, and nothing else. In attention's backward pass each slope is the
 * distance to such a sum (Dao et al., FlashAttention, arXiv 2205.14135, appendix B.2): rounded, it would move all slopes of a row to one side.
 */
function isSumForPlanes(op: Op, unitOf: ReadonlyMap<Op, Unit>, classes: Classes): boolean {
  if (op.name !== "tensor.contract" || classes.of(op) !== "row") return false;
  return classes.readers(op).every((reader) => unitOf.get(reader)?.kind === "plane" && reader.name.startsWith("math."));
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

function placed(at: string | undefined): Pick<Launch, "at"> {
  return at === undefined ? {} : { at };
}
