import { runForward } from "../elaborate/forward.ts";
import { ProgramHost } from "../elaborate/host.ts";
import { type Frame, Inliner } from "../elaborate/inline.ts";
import { runAhead } from "../elaborate/look-ahead.ts";
import { joinPath } from "../model-ir/places.ts";
import type { Module } from "../model-ir/types.ts";
import { stringAttr } from "../tensor-ir/attrs.ts";
import { liveOps } from "../tensor-ir/liveness.ts";
import type { Op, Value } from "../tensor-ir/types.ts";

/** The forward pass of a model over whole sequences, taken apart by place. Look-ahead modules add to `routed` only. */
export interface Probe {
  readonly logits: Value;
  /** What the logits depend on, in order, each with the place it belongs to. */
  readonly ops: readonly { readonly op: Op; readonly path: string }[];
  /** Routed copies by path. */
  readonly routed: ReadonlyMap<string, Routed>;
}

/** The dim of the copies, and the dim that counts how many of them a token visits. */
export interface Routed {
  readonly experts: string;
  readonly slot: string;
}

class ProbeHost extends ProgramHost {
  readonly routed = new Map<string, Routed>();
  readonly #marks = [{ from: 0, path: "" }];

  enter(path: string): void {
    this.#marks.push({ from: this.builder.ops.length, path });
  }

  override call(frame: Frame, op: Op, args: readonly Value[]): void {
    super.call(frame, op, args);
    const { attrs } = op;
    if (attrs.slot === undefined) return;
    const path = joinPath(frame.path, stringAttr(attrs, "use"));
    this.routed.set(path, { experts: stringAttr(attrs, "over"), slot: stringAttr(attrs, "slot") });
  }

  placed(live: ReadonlySet<Op>): { op: Op; path: string }[] {
    const { ops } = this.builder;
    return this.#marks.flatMap(({ from, path }, i) => {
      const part = ops.slice(from, this.#marks[i + 1]?.from ?? ops.length);
      return part.filter((op) => live.has(op)).map((op) => ({ op, path }));
    });
  }
}

export function probe(module: Module): Probe {
  const host = new ProbeHost(module, { caches: "whole", metrics: false, losses: false });
  const inliner = new Inliner(module, host);
  const logits = runForward(module, host, inliner);
  runAhead(module, host, inliner);
  return { logits, ops: host.placed(liveOps(host.builder.ops, [logits])), routed: host.routed };
}
