import { runForward } from "../elaborate/forward.ts";
import { ProgramHost } from "../elaborate/host.ts";
import { type Frame, Inliner } from "../elaborate/inline.ts";
import { runAhead } from "../elaborate/look-ahead.ts";
import { joinPath } from "../model-ir/places.ts";
import type { Block, Module } from "../model-ir/types.ts";
import { stringAttr } from "../tensor-ir/attrs.ts";
import { liveOps } from "../tensor-ir/liveness.ts";
import type { Op, Value } from "../tensor-ir/types.ts";

/**
 * The forward pass of a model over whole sequences, taken apart by place. Of layers that are alike only the first one is in
 * it. Look-ahead modules add to `routed` only.
 */
export interface Probe {
  readonly logits: Value;
  /** What the logits depend on, in order, each with the place it belongs to. */
  readonly ops: readonly { readonly op: Op; readonly path: string }[];
  /** Routed copies by path, those of all layers. */
  readonly routed: ReadonlyMap<string, Routed>;
  /** A path, and the same path in the layers that are like its own. */
  readonly alike: (path: string) => readonly string[];
}

/** The dim of the copies, and the dim that counts how many of them a token visits. */
export interface Routed {
  readonly experts: string;
  readonly slot: string;
}

class ProbeHost extends ProgramHost {
  readonly routed = new Map<string, Routed>();
  /** By the path of a layer that runs: those that are like it. */
  readonly #copies = new Map<string, string[]>();
  readonly #first = new Map<Block, string>();
  readonly #marks = [{ from: 0, path: "" }];

  enter(path: string): void {
    this.#marks.push({ from: this.builder.ops.length, path });
  }

  skip(path: string, block: Block): boolean {
    const first = this.#first.get(block);
    // A block may stand in two stacks, or beside one.
    if (first === undefined || parentOf(first) !== parentOf(path)) {
      this.#first.set(block, path);
      this.#copies.set(path, []);
      return false;
    }
    this.#copies.get(first)!.push(path);
    return true;
  }

  alike(path: string): readonly string[] {
    for (let dot = path.length; dot > 0; dot = path.lastIndexOf(".", dot - 1)) {
      const layer = path.slice(0, dot);
      const copies = this.#copies.get(layer);
      if (copies === undefined) continue;
      const rest = path.slice(dot);
      return [layer, ...copies].flatMap((copy) => this.#around(copy).map((whole) => whole + rest));
    }
    return [path];
  }

  /** The layer in all layers around its stack that are alike. */
  #around(layer: string): readonly string[] {
    const stack = parentOf(layer);
    return this.alike(stack).map((path) => path + layer.slice(stack.length));
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

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("."));
}

export function probe(module: Module): Probe {
  const host = new ProbeHost(module, { caches: "whole", metrics: false, losses: false });
  const inliner = new Inliner(module, host);
  const logits = runForward(module, host, inliner);
  runAhead(module, host, inliner);
  const alike = (path: string): readonly string[] => host.alike(path);
  const routed = new Map(
    [...host.routed].flatMap(([path, copies]) => alike(path).map((each) => [each, copies] as const)),
  );
  return { logits, ops: host.placed(liveOps(host.builder.ops, [logits])), routed, alike };
}
