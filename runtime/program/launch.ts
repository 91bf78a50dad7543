/**
 * The launch program: what a device runs, as data (`program.json` of a package). The compiler writes it; the runtime, the
 * planner and tests read it. One call of a program is one native call: no launch goes back to JavaScript.
 */

/** How elements are stored; `bool` is one byte, 0 or 1, and a byte has two of `i4`, the first one in its lower half. */
export type StorageType = "f64" | "f32" | "bf16" | "f16" | "f8e4m3" | "i32" | "bool" | "i8" | "i4";

/**
 * A number, or the name of a run-time dim: `T` tokens of this call, `S` positions, `B` sequences or wanted rows. `T/128` are its tiles of
 * 128, the last one filled up, `T/128*128` all of their elements, `T/128*8+64` 64 more than 8 for each of them.
 */
export type Extent = number | string;

/**
 * - `input`: given with the call, by name
 * - `param`, `state`: kept between calls, shared by all programs of a package, by name
 * - `cache`: kept between calls; its first dim counts physical rows of the session, not a run-time dim
 * - `output`: goes back with the call, by name
 * - `temp`: lives in the arena from its first to its last launch
 */
export type BufferKind = "input" | "param" | "state" | "cache" | "output" | "temp";

/** A weight as codes, whole numbers, and a scale for each group of them along one dim: an element is code * scale. */
export interface Quantized {
  /** The name of the param that has the scales: `dim` counts groups there, the last of which may be shorter. */
  readonly scales: string;
  /** Which of the dims. */
  readonly dim: number;
  /** Elements of a group. */
  readonly group: number;
}

export interface BufferSpec {
  readonly kind: BufferKind;
  /** Unique among the buffers of its kind in a program, but for temps. */
  readonly name: string;
  readonly dtype: StorageType;
  /** In memory order, without padding; of a cache: of one row. */
  readonly shape: readonly Extent[];
  /** Of a param whose elements are codes. */
  readonly quantized?: Quantized;
  /** Of a temp that holds one block of rows: the most elements of its first dim. See `Blocks`. */
  readonly block?: number;
}

export interface Launch {
  /** The name of a kernel of the package. */
  readonly kernel: string;
  /** Indices of buffers, in the order of the kernel's arguments. */
  readonly args: readonly number[];
  /** The values of the kernel's symbolic extents, in its order. */
  readonly extents: readonly Extent[];
  /** What it computes, for profiles: names of values. */
  readonly note?: string;
  /** Its place in the `.dsk` text, for errors: `model.dsk:12:5`. Not part of the text form. */
  readonly at?: string;
}

/** A launch in an error: `gemm_wo: h, model.dsk:12:5`. */
export function launchTitle({ kernel, note, at }: Launch): string {
  const about = [note, at].filter((text) => text !== undefined);
  return about.length === 0 ? kernel : `${kernel}: ${about.join(", ")}`;
}

/**
 * Launches that run for one block of rows after the other, so that what lies between them is never there for all rows.
 * Inside, `dim` has the size of the block: `rows`, in the last one what is left. A buffer whose first dim is `dim` begins at the
 * block's first row there, unless it holds one block only; all others are the same in every block. A multiple of 64 rows, so
 * that whatever was aligned stays so.
 */
export interface Blocks {
  readonly dim: string;
  readonly rows: number;
  /** The index of the first launch, and how many there are. */
  readonly first: number;
  readonly count: number;
}

/**
 * Neighboring launches of one kernel of lists, whose only extent is how many elements a list has: none of them touches what another
 * one writes, and a single value that the kernel reads is the same for all. A device may run them at once.
 */
export interface Together {
  /** The index of the first launch, and how many there are. */
  readonly first: number;
  readonly count: number;
}

export interface LaunchProgram {
  readonly name: string;
  /** Run-time dims that a call has to bind. */
  readonly dims: readonly string[];
  readonly buffers: readonly BufferSpec[];
  readonly launches: readonly Launch[];
  /** In order, apart from each other. */
  readonly blocks?: readonly Blocks[];
  /** In order, apart from each other and from blocks. */
  readonly together?: readonly Together[];
}

/** `program.json`. */
export interface PackagePrograms {
  readonly format: 1;
  readonly programs: readonly LaunchProgram[];
}

export const STORAGE_BYTES: Readonly<Record<StorageType, number>> = {
  f64: 8,
  f32: 4,
  bf16: 2,
  f16: 2,
  f8e4m3: 1,
  i32: 4,
  bool: 1,
  i8: 1,
  i4: 0.5,
};

/** The values of run-time dims in a call. */
export type Sizes = Readonly<Record<string, number>>;

/** The size of an extent in a call. @throws Error when a run-time dim is not bound */
export function sizeOf(extent: Extent, sizes: Sizes): number {
  if (typeof extent === "number") return extent;
  const size = sizes[extent];
  if (size !== undefined) return size;
  const { dim, by, times, plus } = runTimeDim(extent);
  const whole = sizes[dim];
  if (whole === undefined) throw new Error(`the run-time dim ${dim} is not bound`);
  return Math.ceil(whole / by) * times + plus;
}

/** The run-time dim that an extent's size follows from: it is ceil(size / by) * times + plus. */
export function runTimeDim(extent: string): Record<"by" | "times" | "plus", number> & { readonly dim: string } {
  const [, dim = extent, by = "1", times = "1", plus = "0"] =
    /^(.+?)\/(\d+)(?:\*(\d+))?(?:\+(\d+))?$/.exec(extent) ?? [];
  return { dim, by: Number(by), times: Number(times), plus: Number(plus) };
}

/** The values of a kernel's symbolic extents in a launch, by name. */
export function boundExtents(
  { extents }: Pick<Launch, "extents">,
  kernel: { readonly extents: readonly string[] },
  sizes: Sizes,
): Sizes {
  return Object.fromEntries(kernel.extents.map((name, i) => [name, sizeOf(extents[i]!, sizes)]));
}

/** Elements of a buffer in a call; of a cache: of one row. */
export function elementsOf({ shape, block = Infinity }: Pick<BufferSpec, "shape" | "block">, sizes: Sizes): number {
  return shape.reduce<number>(
    (product, extent, i) => product * (i === 0 ? Math.min(block, sizeOf(extent, sizes)) : sizeOf(extent, sizes)),
    1,
  );
}
