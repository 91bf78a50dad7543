/**
 * How matrix products are cut into tiles: a cost for each candidate, in cycles of the whole device, from the traffic of both
 * caches and the rate of the tensor cores (the model of DeepGEMM's sm90 heuristics, csrc/jit_kernels/heuristics). It is a pure
 * function of shapes: the same kernel always gets the same tiles. Measured choices come before it (tuning.ts).
 */
import { SHARED_BYTES } from "./schedule.ts";
import { TUNING } from "./tuning.ts";

/** Of an H100 or H200 (SXM). */
const PROCESSORS = 132;
/** Operations of the tensor cores of one multiprocessor in a cycle, for bf16. */
const FLOPS_PER_CYCLE = 4096;
/** Bytes in a cycle: shared memory of a multiprocessor; the second-level cache to one multiprocessor, and to all. */
const SHARED_PER_CYCLE = 128;
const CACHE_PER_CYCLE = 64;
const CACHE_IN_ALL = 8e6 / 1.3e3;
/** Stages below which copies do not stay ahead of products. */
const FEWEST_STAGES = 3;
const MOST_STAGES = 8;
/** Shared memory for barriers. */
const BARRIER_BYTES = 1024;

export interface TileProblem {
  readonly m: number;
  readonly n: number;
  /** Terms of each loop, and how many products it makes of one A. */
  readonly loops: readonly { readonly k: number; readonly products: number }[];
  readonly batches: number;
  /** Of an element of the operands, and of all results at one place. */
  readonly elementBytes: number;
  readonly resultBytes: number;
  readonly staged: boolean;
  /** Where threads gather, this many stages at least. */
  readonly fewestStages?: number;
  /** Shared memory for other things. */
  readonly sharedBytes?: number;
  readonly depth: number;
}

export interface Tile {
  readonly consumers: 1 | 2;
  readonly tileN: number;
  readonly stages: number;
}

export interface Candidate extends Tile {
  /** Cycles, when nothing rules it out. */
  readonly cost: number;
  readonly tiles: number;
  readonly waves: number;
  /** Why it can't be, or what bounds it. */
  readonly why: string;
  readonly fits: boolean;
}

/** All candidates, the best first, those that do not fit last. */
export function candidates(problem: TileProblem): Candidate[] {
  const found: Candidate[] = [];
  for (const consumers of [2, 1] as const)
    for (const tileN of [256, 192, 128, 64]) found.push(candidate(problem, consumers, tileN));
  return found.toSorted((a, b) => Number(b.fits) - Number(a.fits) || a.cost - b.cost);
}

function candidate(problem: TileProblem, consumers: 1 | 2, tileN: number): Candidate {
  const {
    m,
    n,
    loops,
    batches,
    elementBytes,
    resultBytes,
    staged,
    fewestStages = FEWEST_STAGES,
    sharedBytes = 0,
    depth,
  } = problem;
  const tileM = 64 * consumers;
  const most = Math.max(...loops.map(({ products }) => products));
  const stageBytes = (tileM + most * tileN) * depth * elementBytes;
  const room =
    SHARED_BYTES - BARRIER_BYTES - Math.ceil(sharedBytes / 1024) * 1024 - (staged ? consumers * 2 * 8192 : 0);
  const stages = Math.min(MOST_STAGES, Math.floor(room / stageBytes));
  const products = loops.reduce((sum, loop) => sum + loop.products, 0);
  const sums = (products * tileN) / 2;
  const tiles = Math.ceil(m / tileM) * Math.ceil(n / tileN) * batches;
  const waves = Math.ceil(tiles / PROCESSORS);
  const tile = { consumers, tileN, stages, tiles, waves };
  const no = (why: string): Candidate => ({ ...tile, cost: Infinity, why, fits: false });
  if (sums > 160) return no(`${sums} registers for sums`);
  if (stages < fewestStages) return no(`${stages} stages of ${stageBytes / 1024} KiB, fewer than ${fewestStages}`);
  if (tileN >= 2 * n && tileN > 64) return no(`half of its ${tileN} columns are beyond ${n}`);
  let loaded = 0;
  let shared = 0;
  let flops = 0;
  for (const loop of loops) {
    loaded += loop.k * (tileM + loop.products * tileN) * elementBytes;
    shared += 2 * loop.k * (tileM + loop.products * tileN) * elementBytes;
    flops += 2 * tileM * tileN * loop.products * Math.ceil(loop.k / depth) * depth;
  }
  const results = tileM * tileN * resultBytes;
  const efficiency = tiles / (waves * PROCESSORS);
  const bounds = {
    "tensor cores": (tiles * flops) / (FLOPS_PER_CYCLE * PROCESSORS),
    "second-level cache": (tiles * (loaded + results)) / Math.min(CACHE_PER_CYCLE * PROCESSORS, CACHE_IN_ALL),
    "shared memory": (tiles * (shared + 2 * results)) / (SHARED_PER_CYCLE * PROCESSORS),
  };
  const [why, cycles] = Object.entries(bounds).reduce((a, b) => (b[1] > a[1] ? b : a));
  return {
    ...tile,
    cost: Math.round(cycles / efficiency),
    why: `${why}; ${Math.round(100 * efficiency)} % of ${waves} waves`,
    fits: true,
  };
}

/** The tile that a kernel gets, and why; undefined when none fits. */
export function chosenTile(kernel: string, problem: TileProblem): (Tile & { readonly why: string }) | undefined {
  const all = candidates(problem);
  const measured = TUNING.find((line) => line.kernel === kernel);
  const own = all.find((one) => one.fits && one.consumers === measured?.consumers && one.tileN === measured.tileN);
  if (own !== undefined) return { ...own, why: `measured: ${measured!.source}` };
  const [best, second] = all;
  if (best === undefined || !best.fits) return undefined;
  const rows = (one: Candidate): string => `${64 * one.consumers}x${one.tileN}`;
  const other = second?.fits ? `; ${rows(second)} costs ${Math.round(100 * (second.cost / best.cost - 1))} % more` : "";
  return { ...best, why: `${best.tiles} tiles, bound by ${best.why}${other}` };
}
