/**
 * How matrix products are cut into tiles: a cost for each candidate, in cycles of the whole device, from the traffic of both
 * caches and the rate of the tensor cores (the model of DeepGEMM's sm90 heuristics, csrc/jit_kernels/heuristics). It is a pure
 * function of shapes: the same kernel always gets the same tiles. Measured choices come before it (tuning.ts). Few rows have tiles of their
 * own, whose cost is that of reading the weights.
 */
import { SHARED_BYTES } from "./schedule.ts";
import { type Measured, TUNING } from "./tuning.ts";

/** Of an H100 or H200 (SXM). */
const PROCESSORS = 132;
/** Operations of the tensor cores of one multiprocessor in a cycle, for operands of so many bytes. */
const FLOPS_PER_CYCLE: Readonly<Record<number, number>> = { 1: 8192, 2: 4096 };
/** Bytes in a cycle: shared memory of a multiprocessor; the second-level cache to one multiprocessor, and to all. */
const SHARED_PER_CYCLE = 128;
const CACHE_PER_CYCLE = 64;
const CACHE_IN_ALL = 8e6 / 1.3e3;
/** Stages below which copies do not stay ahead of products. */
const FEWEST_STAGES = 3;
const MOST_STAGES = 8;
/** Cycles from a product's end to the next one, beside those of adding. */
const PROMOTION_CYCLES = 60;
/**
 * Cycles of a multiprocessor for a code of so many bytes, where a warp on each of its four schedulers makes bf16 of them: for two codes, three (of
 * four bits: two) instructions of the kind that takes two cycles and two that take one, and a part of those that copy.
 */
const CYCLES_OF_CODE: Readonly<Record<number, number>> = { 1: 4.5 / 128, 0.5: 3.5 / 128 };
/** From the last code of a block until the first one of the next block is there: the second-level cache answers. */
const CODE_LATENCY = 300;
/** Shared memory for barriers. */
const BARRIER_BYTES = 128;

export interface TileProblem {
  readonly m: number;
  readonly n: number;
  /** Terms of each loop, and how many products it makes of one A. */
  readonly loops: readonly { readonly k: number; readonly products: number }[];
  readonly batches: number;
  /** Of an element of the operands, and of all results at one place. */
  readonly elementBytes: number;
  readonly resultBytes: number;
  /** Arrays of sums: products that go on with those of another one have none of their own. */
  readonly sums: number;
  /** Slots of 64 rows and 128 bytes that results wait in. */
  readonly slots: number;
  /** Where threads gather, this many stages at least. */
  readonly fewestStages?: number;
  /** Shared memory for other things. */
  readonly sharedBytes?: number;
  /** What comes with each column of a block of terms. */
  readonly columnBytes?: number;
  /** Registers of a thread that a tile's results take beside sums; none more than usual when not given. */
  readonly resultRegisters?: (tile: Pick<Tile, "consumers" | "tileN">) => number;
  readonly depth: number;
  /** Of an element of B in memory, where it is stored as codes, which a warpgroup makes bf16 of. */
  readonly codeBytes?: number;
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
    slots,
    fewestStages = FEWEST_STAGES,
    sharedBytes = 0,
    columnBytes = 0,
    depth,
    codeBytes,
  } = problem;
  const tileM = 64 * consumers;
  const most = Math.max(...loops.map(({ products }) => products));
  const stageBytes = (tileM + most * tileN) * depth * elementBytes + most * tileN * columnBytes;
  const room = SHARED_BYTES - BARRIER_BYTES - sharedBytes - consumers * slots * 8192;
  const stages = Math.min(MOST_STAGES, Math.floor(room / stageBytes));
  const sums = registersOfSums(problem.sums, tileN, elementBytes);
  const tiles = Math.ceil(m / tileM) * Math.ceil(n / tileN) * batches;
  const waves = Math.ceil(tiles / PROCESSORS);
  const tile = { consumers, tileN, stages, tiles, waves };
  const no = (why: string): Candidate => ({ ...tile, cost: Infinity, why, fits: false });
  if (sums > mostSums(elementBytes)) return no(`${sums} registers for sums`);
  // Sums of a block are gone when results are computed.
  const whole = (problem.sums * tileN) / 2;
  const beside = problem.resultRegisters?.({ consumers, tileN }) ?? 0;
  if (beside > 0 && whole + beside > mostSums(2) + (consumers === 1 ? ALONE : 0))
    return no(`${whole} registers for sums, and ${beside} for results`);
  if (stages < fewestStages) return no(`${stages} stages of ${stageBytes / 1024} KiB, fewer than ${fewestStages}`);
  if (tileN >= 2 * n && tileN > 64) return no(`half of its ${tileN} columns are beyond ${n}`);
  if (codeBytes !== undefined && tileN === 192) return no("its columns are not shared out evenly among threads");
  let loaded = 0;
  let shared = 0;
  let flops = 0;
  for (const loop of loops) {
    loaded += loop.k * (tileM * elementBytes + loop.products * tileN * (codeBytes ?? elementBytes));
    shared += 2 * loop.k * (tileM + loop.products * tileN) * elementBytes;
    flops += 2 * tileM * tileN * loop.products * Math.ceil(loop.k / depth) * depth;
  }
  const results = tileM * tileN * resultBytes;
  // Nothing else is multiplied while the only consumer promotes its sums: two of 128 threads' in a cycle.
  const promotions = loops.reduce((n, loop) => n + loop.products * Math.ceil(loop.k / depth), 0);
  const waiting = elementBytes === 1 && consumers === 1 ? promotions * (tileN / 2 + PROMOTION_CYCLES) : 0;
  const efficiency = tiles / (waves * PROCESSORS);
  const codes = loops.reduce((n, { k, products }) => n + cyclesOfCodes(problem, k, products * tileN), 0);
  const bounds = {
    "tensor cores": (tiles * (flops / FLOPS_PER_CYCLE[elementBytes]! + waiting)) / PROCESSORS,
    "second-level cache": (tiles * (loaded + results)) / Math.min(CACHE_PER_CYCLE * PROCESSORS, CACHE_IN_ALL),
    codes: (tiles * codes) / PROCESSORS,
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

/** Cycles in which a warpgroup makes bf16 of a tile's codes: none where B is no codes. */
function cyclesOfCodes({ codeBytes, depth }: TileProblem, k: number, columns: number): number {
  if (codeBytes === undefined) return 0;
  return Math.ceil(k / depth) * (depth * columns * CYCLES_OF_CODE[codeBytes]! + CODE_LATENCY);
}

/** Of a thread: in eight bits, a product's sums of a block beside those of all. */
function registersOfSums(products: number, tileN: number, elementBytes: number): number {
  return ((products + (elementBytes === 1 ? 1 : 0)) * tileN) / 2;
}

/** What leaves enough for addresses; sums of a block need none while they are promoted. */
function mostSums(elementBytes: number): number {
  return elementBytes === 1 ? 192 : 160;
}

/** Registers of a thread that one consumer has more than each of two. */
const ALONE = 16;

/** Rows up to which products have tiles, and shares of their terms, of their own: one row of tiles. */
export const FEW_ROWS = 128;
const FEW_CONSUMERS = 2;
/** Bytes of memory in a cycle of the whole device (4.3 TB/s at 1.7 GHz). */
const MEMORY_PER_CYCLE = 2530;
/** What a ring takes in a cycle: on an H200, 28 blocks with tiles of 128 x 256 had 85 GB/s each. */
const RING_PER_CYCLE = 48;
/** Cycles of a launch, of filling the ring, and of what comes behind the products; of filling the ring of the block that comes next. */
const LAUNCH_CYCLES = 6000;
const FILL_CYCLES = 1500;
/** Of an exchange of sums: two barriers of a cluster; and the bytes that blocks send each other in a cycle of the whole device (3 TB/s). */
const EXCHANGE_CYCLES = 1500;
const SENT_PER_CYCLE = 1760;
/**
 * Blocks of clusters of so many that surely run at once: a cluster lies in one GPC. Of these an H100 has eight, most with 16 multiprocessors,
 * some with 18, or with fewer.
 */
const CLUSTERED: Readonly<Record<number, number>> = { 1: PROCESSORS, 2: PROCESSORS, 4: 120, 8: 112 };
/** What few rows must save to have a kernel of their own. */
const WORTH = 0.1;

export interface FewTile extends Tile {
  /** Blocks that share the terms of a tile: a cluster. */
  readonly parts: number;
}

export interface FewCandidate extends FewTile {
  readonly cost: number;
  readonly why: string;
}

/**
 * Ways to cut products of few rows, the best first: weights are read once, so enough multiprocessors should read. Where there are fewer
 * tiles, the blocks of a cluster share a tile's terms, and send each other their sums.
 */
export function fewCandidates(problem: TileProblem): FewCandidate[] {
  const { n, loops, batches, elementBytes, depth, codeBytes } = problem;
  const [loop] = loops;
  if (loops.length !== 1) return [];
  const all = Math.ceil(loop!.k / depth);
  const found: FewCandidate[] = [];
  for (const tileN of [256, 192, 128, 64]) {
    if ((tileN > 64 && tileN >= 2 * n) || (codeBytes !== undefined && tileN === 192)) continue;
    const stageBytes = (FEW_ROWS + loop!.products * tileN) * depth * elementBytes;
    const stages = Math.min(MOST_STAGES, Math.floor((SHARED_BYTES - BARRIER_BYTES) / stageBytes));
    const sums = registersOfSums(loop!.products, tileN, elementBytes);
    if (stages < FEWEST_STAGES || sums > mostSums(elementBytes)) continue;
    const tiles = Math.ceil(n / tileN) * batches;
    for (const parts of [1, 2, 4, 8]) {
      if (all < 2 * parts && parts > 1) continue;
      const tile = { consumers: FEW_CONSUMERS, tileN, stages, parts } as const;
      const blocks = tiles * parts;
      const waves = Math.ceil(blocks / CLUSTERED[parts]!);
      const of = `${Math.ceil(all / parts) * depth} terms in ${waves} ${waves === 1 ? "wave" : "waves"}`;
      found.push({
        ...tile,
        cost: costOfFew(problem, tile),
        why: `${blocks} ${blocks === 1 ? "block" : "blocks"} of ${of}`,
      });
    }
  }
  return found.toSorted((a, b) => a.cost - b.cost || a.parts - b.parts);
}

/** The best of them, where it saves enough beside the tile that many rows have. */
export function chosenFew(problem: TileProblem, many: Tile): FewCandidate | undefined {
  const [best] = fewCandidates(problem);
  // Blocks of many rows go from tile to tile, and their rings are always full.
  const worth = best !== undefined && best.cost < (1 - WORTH) * costOfFew(problem, { ...many, parts: 1 }, 0);
  return worth ? best : undefined;
}

/**
 * Cycles that few rows take. A wave of blocks takes no less than reading its weights, than what a ring takes, than what all of them ask of
 * the second-level cache, and than its products; the last wave may have few blocks, which cannot read as fast as all.
 */
function costOfFew(problem: TileProblem, { consumers, tileN, parts }: FewTile, fill = FILL_CYCLES): number {
  const { n, loops, batches, elementBytes, depth, codeBytes = elementBytes } = problem;
  const [{ k, products }] = loops as [TileProblem["loops"][0]];
  const tileM = 64 * consumers;
  const blocks = Math.ceil(FEW_ROWS / tileM) * Math.ceil(n / tileN) * batches * parts;
  const terms = Math.ceil(Math.ceil(k / depth) / parts) * depth;
  const weights = terms * products * tileN * codeBytes;
  const loaded = weights + terms * tileM * elementBytes;
  const flops = 2 * tileM * tileN * products * terms;
  const wave = (together: number): number =>
    Math.max(
      (together * weights) / MEMORY_PER_CYCLE,
      (together * loaded) / CACHE_IN_ALL,
      loaded / RING_PER_CYCLE,
      flops / FLOPS_PER_CYCLE[elementBytes]!,
      cyclesOfCodes(problem, terms, products * tileN),
    );
  const most = CLUSTERED[parts]!;
  const [whole, rest] = [Math.floor(blocks / most), blocks % most];
  const waves = whole * wave(most) + (rest === 0 ? 0 : wave(rest)) + (Math.ceil(blocks / most) - 1) * fill;
  const sent = 4 * FEW_ROWS * n * batches * products * (parts - 1);
  const exchange = parts === 1 ? 0 : EXCHANGE_CYCLES + sent / SENT_PER_CYCLE;
  return Math.round(LAUNCH_CYCLES + waves + exchange);
}

/** The tile that products of a shape get, and why; undefined when none fits. */
export function chosenTile(
  problem: TileProblem,
  tuning: readonly Measured[] = TUNING,
): (Tile & { readonly why: string }) | undefined {
  const all = candidates(problem);
  const shape = ({ m, n, loops, elementBytes }: TileProblem | Measured): string =>
    JSON.stringify([m, n, elementBytes, loops.map(({ k, products }) => [k, products])]);
  const measured = tuning.find((line) => shape(line) === shape(problem));
  const own = all.find((one) => one.fits && one.consumers === measured?.consumers && one.tileN === measured.tileN);
  if (own !== undefined) return { ...own, why: `measured: ${measured!.source}` };
  const [best, second] = all;
  if (best === undefined || !best.fits) return undefined;
  const rows = (one: Candidate): string => `${64 * one.consumers}x${one.tileN}`;
  const other = second?.fits ? `; ${rows(second)} costs ${Math.round(100 * (second.cost / best.cost - 1))} % more` : "";
  return { ...best, why: `${best.tiles} tiles, bound by ${best.why}${other}` };
}
