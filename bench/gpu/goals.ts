/** What each family has to reach: first a gate, below which a kernel is not good enough, then a goal. */

/**
 * In which unit: times as fast as the best peer that computes the same, TFLOPS, the share of the measured limit, or microseconds, of
 * which fewer are better. Rates of memory are shares, since an H100 has slower memory than an H200.
 */
export type Unit = "x peer" | "TFLOPS" | "of limit" | "us";

export interface Goal {
  readonly unit: Unit;
  readonly gate: number;
  readonly goal: number;
}

const goal = (unit: Unit, gate: number, reached: number): Goal => ({ unit, gate, goal: reached });

/** Those that hold for all shapes of a family. GB/s of the founders' table were for an H200 that copies 4.3 TB/s. */
export const GOALS = {
  gemm: goal("x peer", 0.85, 1),
  "gemm-few": goal("x peer", 0.85, 1),
  grouped: goal("TFLOPS", 540, 650),
  attention: goal("TFLOPS", 450, 580),
  "attention-backward": goal("TFLOPS", 330, 470),
  "mla-decode": goal("TFLOPS", 450, 620),
  "mla-decode-memory": goal("of limit", 3 / 4.3, 3.7 / 4.3),
  "mla-decode-short": goal("us", 140, 105),
  rows: goal("of limit", 0.8, 0.92),
  transpose: goal("of limit", 0.6, 0.85),
  optimizer: goal("of limit", 0.8, 0.92),
  // 22 and 18 ms for the 12.9 TFLOP of 4096 x 4096 x 128256.
  loss: goal("TFLOPS", 587, 718),
  "loss-forward": goal("TFLOPS", 550, 700),
  // 2.4 and 3.2 TB/s; 2.2 and 3.1.
  "fp8-few": goal("of limit", 2.4 / 4.3, 3.2 / 4.3),
  "fp8-decode": goal("of limit", 2.2 / 4.3, 3.1 / 4.3),
  "fp8-up": goal("TFLOPS", 950, 1200),
  "fp8-down": goal("TFLOPS", 850, 1080),
  "fp8-weight": goal("TFLOPS", 700, 900),
  // Of dense products, which reach the limit.
  moe: goal("of limit", 0.7, 0.85),
  // 60 and 78 % backward, which is twice as much.
  "moe-training": goal("of limit", 3 / (1 / 0.7 + 2 / 0.6), 3 / (1 / 0.85 + 2 / 0.78)),
  // 25 and 38 % of the 989 TFLOPS that the data sheet says.
  "v2lite-train": goal("TFLOPS", 247, 376),
} as const;

export type Verdict = "below" | "gate" | "goal";

/** What was measured, as far as it could be. */
export interface Measured {
  readonly us: number;
  readonly tflops: number;
  /** Of the measured limit. */
  readonly share: number | undefined;
  /** Times as fast as the best peer. */
  readonly ratio: number | undefined;
}

/** What is reached; undefined where that cannot be told without a peer or a limit. */
export function verdictOf({ unit, gate, goal: wanted }: Goal, measured: Measured): Verdict | undefined {
  const own = { "x peer": measured.ratio, TFLOPS: measured.tflops, "of limit": measured.share, us: -measured.us }[unit];
  if (own === undefined) return undefined;
  const sign = unit === "us" ? -1 : 1;
  return own >= sign * wanted ? "goal" : own >= sign * gate ? "gate" : "below";
}
