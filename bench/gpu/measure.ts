/**
 * Measures cases here and in PyTorch, in turn. Each side is a process: what one of them does to its context (an address that is none, a
 * barrier that nobody reaches) would be the other one's end, too, and neither has the other's libraries in its way. They never run at
 * the same time, so the GPU is whole for each of them.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { median } from "../../compiler/cli/bench/statistics.ts";
import type { Case, Limit, Tolerance } from "./case.ts";
import { GOALS, type Verdict, verdictOf } from "./goals.ts";
import type { Opened } from "./ours.ts";
import { Talk } from "./talk.ts";
import type { Whole } from "./v2lite.ts";
import type { KernelTime, WholeTimes } from "./whole.ts";

/** What the peer measured of the GPU: bytes a second of a copy, read and written; operations a second of products of 8192 cubed. */
export interface Limits {
  readonly gpu: string;
  readonly torch: string;
  readonly copy: number;
  readonly bf16: number;
  readonly fp8?: number;
}

export interface PeerTime {
  readonly us: number;
  /** Times as fast ours is. */
  readonly ratio: number;
  /** Whether it computes the same. */
  readonly same: boolean;
}

/** How much faster ours is than the best peer that computes the same; undefined without one. */
export function ratioOf(peers: Readonly<Record<string, PeerTime>>): number | undefined {
  const ratios = Object.values(peers).flatMap(({ ratio, same }) => (same ? [ratio] : []));
  return ratios.length === 0 ? undefined : Math.min(...ratios);
}

/** Of each result. */
type Distances = Readonly<Record<string, Tolerance>>;

export interface Row {
  readonly name: string;
  readonly limit: Limit;
  readonly flops: number;
  readonly bytes: number;
  /** `wrong` when results differ, `failed` when there are none, with the reason in `why`. The table has no times of them. */
  readonly status: "measured" | "wrong" | "failed" | "skipped";
  readonly why?: string;
  readonly gpu?: string;
  /** Entry points. */
  readonly kernels?: readonly string[];
  readonly us?: number;
  readonly runs?: number;
  readonly tflops?: number;
  readonly gbps?: number;
  readonly share?: number;
  readonly peers: Readonly<Record<string, PeerTime>>;
  /** What was found apart, by result; or why nobody looked. */
  readonly compared: Distances | string;
  readonly theirs?: Distances;
  readonly verdict?: Verdict;
  /** Of a whole model. */
  readonly whole?: {
    readonly layers: number;
    readonly tokensPerSecond: number;
    readonly times: readonly KernelTime[];
    readonly refused: readonly string[];
  };
  /** Of the whole case, both sides. */
  readonly seconds: number;
}

export interface MeasureOptions {
  readonly rounds: number;
  /** How ours is started, and the peer; undefined for none. */
  readonly ours: () => Talk;
  readonly peer: (() => Talk) | undefined;
  /** Milliseconds that a case may take until it has a result, here and at the peer, which may have to compile; and a call that measures; and a whole model. */
  readonly patience: Readonly<Record<"open" | "peer" | "time" | "whole", number>>;
}

/** Microseconds. */
const SLOW = 150_000;

interface PeerOpened {
  readonly peers: readonly string[];
  /** Those of them that compute something else, as far as that can be compared at all. */
  readonly others: readonly string[];
  readonly compared: Distances;
  /** How far the first peer is from the same, where that is no peer's but computed in f32. */
  readonly theirs: Distances;
  /** Peers that this machine does not have, with the reason. */
  readonly without: Readonly<Record<string, string>>;
}

export class Bench {
  readonly #options: MeasureOptions;
  readonly #exchange: string;
  #ours: Talk | undefined;
  #peer: Talk | undefined;
  /** Reasons by what is not there: told once. */
  readonly without = new Map<string, string>();
  limits: Limits | undefined;

  constructor(options: MeasureOptions) {
    this.#options = options;
    this.#exchange = mkdtempSync(join(tmpdir(), "dskc-bench-gpu-"));
  }

  /** @returns false where there is no peer, and why in `without` */
  async measureLimits(): Promise<boolean> {
    if (this.#options.peer === undefined) return false;
    try {
      this.limits = await this.#theirs().ask<Limits>({ do: "limits" }, this.#options.patience.peer);
      return true;
    } catch (error) {
      this.without.set("peers", (error as Error).message);
      return false;
    }
  }

  async measure(one: Case): Promise<Row> {
    const start = performance.now();
    const { name, limit, flops, bytes } = one;
    const rest = { name, limit, flops, bytes };
    const row = await this.#row(one).catch((error: Error): Omit<Row, keyof typeof rest | "seconds"> => ({
      status: "failed",
      why: error.message,
      peers: {},
      compared: "there is no result",
    }));
    await this.#forget();
    return { ...rest, ...row, seconds: (performance.now() - start) / 1000 };
  }

  /** Of a whole model there is no peer. */
  async measureWhole({ name, kind }: Whole): Promise<Row> {
    const start = performance.now();
    const limit = kind === "train" ? "bf16" : "memory";
    const base = { name, limit, peers: {}, compared: "there is no peer" } as const;
    try {
      const request = { do: "whole", name };
      const found = await this.#own().ask<WholeTimes>(request, this.#options.patience.whole);
      const { gpu, layers, us, tokens, flops, bytes, kernels, refused } = found;
      const tflops = flops / us / 1e6;
      const share = this.#share({ flops, bytes, limit }, us);
      const verdict =
        kind === "train" ? verdictOf(GOALS["v2lite-train"], { us, tflops, share, ratio: undefined }) : undefined;
      return {
        ...base,
        flops,
        bytes,
        status: "measured",
        gpu,
        kernels: kernels.map(({ kernel }) => kernel),
        us,
        tflops,
        gbps: bytes / us / 1e3,
        ...(share === undefined ? {} : { share }),
        ...(verdict === undefined ? {} : { verdict }),
        whole: { layers, tokensPerSecond: (1e6 * tokens) / us, times: kernels, refused },
        seconds: (performance.now() - start) / 1000,
      };
    } catch (error) {
      const seconds = (performance.now() - start) / 1000;
      return { ...base, flops: 0, bytes: 0, status: "failed", why: (error as Error).message, seconds };
    }
  }

  close(): void {
    this.#ours?.end();
    this.#peer?.end();
    rmSync(this.#exchange, { recursive: true, force: true });
  }

  async #row(one: Case): Promise<Omit<Row, "name" | "limit" | "flops" | "bytes" | "seconds">> {
    const { patience, rounds } = this.#options;
    const ours = this.#own();
    const opened = await ours.ask<Opened>({ do: "open", name: one.name, exchange: this.#exchange }, patience.open);
    const { gpu, kernels } = opened;
    const theirs = await this.#openPeer(one, opened);
    const compared = typeof theirs === "string" ? theirs : theirs.compared;
    const apart = typeof theirs === "string" ? undefined : differing(one, theirs);
    // What takes so long is known well enough after one run.
    const slow = opened.us > SLOW;
    const times: number[] = slow ? [opened.us] : [];
    const names = typeof theirs === "string" ? [] : theirs.peers;
    const others = new Map(names.map((peer) => [peer, [] as number[]]));
    // The first round warms both up.
    for (let round = 0; round <= (slow ? 1 : rounds); round++) {
      const { us } = slow ? { us: times } : await ours.ask<{ us: number[] }>({ do: "time" }, patience.time);
      if (round > 0 && !slow) times.push(...us);
      for (const [peer, all] of others) {
        const answer = await this.#theirs().ask<{ us: number[] }>({ do: "time", peer, runs: us.length }, patience.time);
        if (round > 0) all.push(...answer.us);
      }
    }
    const us = median(times);
    const elsewhere = typeof theirs === "string" ? [] : theirs.others;
    const peers = Object.fromEntries(
      [...others].map(([peer, all]): [string, PeerTime] => [
        peer,
        { us: median(all), ratio: median(all) / us, same: !elsewhere.includes(peer) },
      ]),
    );
    const tflops = one.flops / us / 1e6;
    const share = this.#share(one, us);
    const ratio = ratioOf(peers);
    const verdict = apart === undefined ? one.goal && verdictOf(one.goal, { us, tflops, share, ratio }) : undefined;
    return {
      ...(apart === undefined ? { status: "measured" } : { status: "wrong", why: apart }),
      gpu,
      kernels,
      us,
      runs: times.length,
      tflops,
      gbps: one.bytes / us / 1e3,
      ...(share === undefined ? {} : { share }),
      peers,
      compared,
      ...(typeof theirs === "string" || Object.keys(theirs.theirs).length === 0 ? {} : { theirs: theirs.theirs }),
      ...(verdict === undefined ? {} : { verdict }),
    };
  }

  #share({ flops, bytes, limit }: Pick<Case, "flops" | "bytes" | "limit">, us: number): number | undefined {
    const most = limit === "memory" ? this.limits?.copy : this.limits?.[limit];
    return most === undefined ? undefined : (limit === "memory" ? bytes : flops) / (us / 1e6) / most;
  }

  async #openPeer(one: Case, { inputs, results }: Opened): Promise<PeerOpened | string> {
    if (this.limits === undefined) return this.without.get("peers") ?? "there is no peer";
    try {
      const request = { do: "open", ...one.peer, inputs, results };
      const opened = await this.#theirs().ask<PeerOpened>(request, this.#options.patience.peer);
      for (const [peer, why] of Object.entries(opened.without)) this.without.set(`${one.name}: ${peer}`, why);
      return opened;
    } catch (error) {
      this.without.set(`${one.name}: peers`, (error as Error).message);
      return (error as Error).message;
    }
  }

  /** Frees what a case has on the GPU; a process that does not answer is ended. */
  async #forget(): Promise<void> {
    for (const talk of [this.#ours, this.#peer])
      if (talk?.ended === false) await talk.ask({ do: "close" }, this.#options.patience.time).catch(() => talk.end());
  }

  #own(): Talk {
    if (this.#ours === undefined || this.#ours.ended) this.#ours = this.#options.ours();
    return this.#ours;
  }

  #theirs(): Talk {
    if (this.#peer === undefined || this.#peer.ended) this.#peer = this.#options.peer!();
    return this.#peer;
  }
}

/** Which result is too far away: further than roundings explain, and than twice what the peer is. */
function differing({ tolerance }: Case, { compared, theirs }: PeerOpened): string | undefined {
  for (const [name, { mean, worst }] of Object.entries(compared)) {
    const peer = theirs[name] ?? { mean: 0, worst: 0 };
    const most = { mean: Math.max(tolerance.mean, 2 * peer.mean), worst: Math.max(tolerance.worst, 2 * peer.worst) };
    if (mean <= most.mean && worst <= most.worst) continue;
    const text = (value: number): string => value.toExponential(1);
    return `${name} differs: ${text(mean)} in the mean (at most ${text(most.mean)}), ${text(worst)} at worst (at most ${text(most.worst)})`;
  }
  return undefined;
}
