/** What differs between the languages in which kernels for workgroups of threads are printed. */
import type { Grid } from "../../../runtime/program/grids.ts";
import type { Arg, GemmKernel, Kernel, Local, Reduction, ScalarType, SoloKernel, Stmt } from "../../kernel-ir/types.ts";
import type { Language, Names } from "../scalars.ts";
import type { FewRows } from "./few-rows.ts";
import type { Frame } from "./frame.ts";
import type { Rows } from "./sorted-tiles.ts";
import type { Statements } from "./statements.ts";
import type { Tiles } from "./tiles.ts";

/** A parameter of a function. */
export type Parameter = readonly [name: string, dtype: ScalarType];

export interface Dialect {
  /** A printer of its own, for kernels that the language has a better one for. */
  special?(kernel: SoloKernel, part?: Part): Frame | undefined;
  /** Scalar expressions of a kernel, and statements that give them names. */
  language(kernel: Kernel): Language;
  names(stores: readonly (Arg | Local)[]): Names;
  readonly threads: Threads;
  /** Words of shared memory that locals of a kernel may take; the rest is for reductions and tiles. */
  sharedWords(kernel: Kernel, part?: Part): number;

  /** The type that a value is computed in. */
  type(dtype: ScalarType): string;
  /** What sums and orders are made in. */
  wide(dtype: ScalarType): ScalarType;
  fold(reduction: Reduction, dtype: ScalarType, a: string, b: string): string;
  /** Threads that fold values without a barrier, where the language has such: they may have a result for themselves. */
  readonly warp?: number;
  /** The fold of the values of all threads that execute a statement together, which each of them gets. */
  together(frame: Frame, reduction: Reduction, dtype: ScalarType, value: string, team: Team): string;
  select(condition: string, yes: string, no: string): string;
  /** Prints an order of its own, where the language has a better way than to compare all pairs. */
  order?(frame: Frame, statements: Statements, stmt: Stmt & { kind: "top_k" | "rank" }): boolean;
  /**
   * Prints the entry point `sort` and its arrays `order` and `starts`, as those of sort.ts are, where the language has a better way than one
   * workgroup for all.
   */
  sort?(frame: Frame, rows: Rows): Grid;
  /** Whether element i with value x comes before element j with value y. */
  before(dtype: ScalarType, x: string, i: string, y: string, j: string): string;
  /** A statement that counts one where a condition holds. */
  count(name: string, condition: string): string;

  /** A statement that declares a variable. */
  variable(name: string, dtype: ScalarType, value?: string): string;
  /** A statement that declares an array that each thread has for itself. */
  array(name: string, dtype: ScalarType, size: number): string;
  /** The declaration of an array that a workgroup shares; neighbors of a row's may be moved together. */
  shared(name: string, dtype: ScalarType, size: number, isRow?: boolean): string;
  /** The head of a loop. */
  loop(i: string, from: string, to: string, step?: string): string;
  /** The same of one that may have more than 2^31 steps. */
  longLoop(i: string, from: string, to: string, step: string): string;
  loopDown(i: string, size: string): string;
  /** Waits until all threads of a workgroup are here, and sees what they wrote to memory of a kind. */
  barrier(memory: "shared" | "stored" | "both"): readonly string[];
  /** The same for threads that execute statements together, where they are fewer. */
  teamBarrier(team: Team): readonly string[];
  /** Stores an element of an argument or an array. */
  store(store: Arg | Local, offset: string, value: string): string;
  /** Values that one thread may find for all: `compute` prints how and returns them. */
  uniform(frame: Frame, shared: string, name: string, compute: () => readonly string[]): readonly string[];

  /** The number of a thread in its workgroup. */
  readonly thread: string;
  /** The number of a workgroup in a launch of one dimension, and how many there are. */
  readonly group: string;
  readonly groups: string;
  /** The number of a workgroup in any launch. */
  readonly item: string;
  /** A value that a launch gives. */
  given(name: string): string;
  /** Statements at the start of an entry point, and of a function, that give names to what a launch gives. */
  opening(extents: readonly string[]): readonly string[];
  /** The condition under which a workgroup has nothing to do, where there may be such ones. */
  noItem?(item: string): string;
  /** Says which scratch arrays are a workgroup's, or a team's, own. */
  own(index: string): readonly string[];

  readonly tiles: Tiles;
  /** The language's own ways of few rows, the fewest first; none where it has none that takes the kernel. */
  fewRows?(kernel: GemmKernel, part?: Part): readonly FewRows[];
}

/** A kernel that is one of several in a launch: they share what a workgroup has. */
export interface Part {
  readonly parts: number;
}

/** Threads that execute statements together, and those of the workgroup that they are part of. */
export interface Team {
  readonly threads: number;
  readonly group: number;
}

export interface Threads {
  /** Workgroups, at most, that share out what could be done by one; one does it where this is not given. */
  readonly spread?: number;
  /** Of a row with so many values. */
  row(work: number, part?: Part): number;
  readonly serial: number;
  /** Of a workgroup that has few rows of a product: each has a column. */
  readonly few: number;
  /** Of a workgroup that takes rows of a plane, and of each row. */
  readonly plane: number;
  readonly planeRow: number;
}
