import { joinPath, storesOf } from "../model-ir/places.ts";
import type { Block, Module } from "../model-ir/types.ts";
import { bytesOf, elementsOf } from "./bytes.ts";
import { activatedOf } from "./parameters.ts";
import type { Probe } from "./probe.ts";

/** What a part of a model costs, everything inside it included. */
export interface Cost {
  readonly params: number;
  readonly activated: number;
  readonly flopsPerToken: number;
  readonly cacheBytesPerToken: number;
  readonly weightBytes: number;
}

/** One part of a model: a use, or all layers of a stack that are the same block. */
export interface Part extends Cost {
  /** `trunk.3-60`, then `mixer` inside it. */
  readonly name: string;
  readonly block: string;
  /** 0 for the uses of the root. */
  readonly depth: number;
}

const NOTHING: Cost = { params: 0, activated: 0, flopsPerToken: 0, cacheBytesPerToken: 0, weightBytes: 0 };

/** The parts of a model down to `levels` below the root, in the order of the text; parts that cost nothing are left out. */
export function breakdown(module: Module, probe: Probe, flops: ReadonlyMap<string, number>, levels: number): Part[] {
  const costs = costsByPath(module, probe, flops);
  const parts: Part[] = [];
  const add = (name: string, block: Block, paths: readonly string[], depth: number): void => {
    const cost = paths.map((path) => costs.get(path) ?? NOTHING).reduce(plus, NOTHING);
    if (Object.values(cost).every((value) => value === 0)) return;
    parts.push({ name, block: block.id, depth, ...cost });
    if (depth + 1 < levels) inside(block, paths, depth + 1);
  };
  const inside = (block: Block, paths: readonly string[], depth: number): void => {
    for (const [name, use] of block.uses) {
      const at = paths.map((path) => joinPath(path, name));
      if (use.kind === "block") add(name, use.block, at, depth);
      else if (use.kind === "stack") {
        let first = 0;
        for (const { count, block: layer } of use.layers) {
          const start = first;
          const layers = at.flatMap((path) => Array.from({ length: count }, (_, i) => joinPath(path, start + i)));
          add(`${name}.${start}${count === 1 ? "" : `-${start + count - 1}`}`, layer, layers, depth);
          first += count;
        }
      } else if (use.kind === "ahead") {
        for (let k = 0; k < use.depth; k++)
          add(
            joinPath(name, k),
            use.block,
            at.map((path) => joinPath(path, k)),
            depth,
          );
      }
    }
  };
  inside(module.root, [""], 0);
  return parts;
}

/** By path, what stands there and below. */
function costsByPath(module: Module, probe: Probe, flops: ReadonlyMap<string, number>): Map<string, Cost> {
  const costs = new Map<string, Cost>();
  const charge = (path: string, cost: Partial<Cost>): void => {
    for (let at = path; at !== ""; at = at.slice(0, Math.max(at.lastIndexOf("."), 0))) {
      costs.set(at, plus(costs.get(at) ?? NOTHING, { ...NOTHING, ...cost }));
    }
  };
  for (const placed of storesOf(module.root)) {
    const { store, type, place } = placed;
    const elements = elementsOf(type, module.dims);
    const bytes = elements * bytesOf(type.dtype);
    if (store.kind === "cache") charge(place.path, { cacheBytesPerToken: bytes });
    else if (store.kind === "state") charge(place.path, { weightBytes: bytes });
    else charge(place.path, { params: elements, activated: activatedOf(placed, module, probe), weightBytes: bytes });
  }
  for (const [path, flopsPerToken] of flops) charge(path, { flopsPerToken });
  return costs;
}

function plus(a: Cost, b: Cost): Cost {
  return {
    params: a.params + b.params,
    activated: a.activated + b.activated,
    flopsPerToken: a.flopsPerToken + b.flopsPerToken,
    cacheBytesPerToken: a.cacheBytesPerToken + b.cacheBytesPerToken,
    weightBytes: a.weightBytes + b.weightBytes,
  };
}
