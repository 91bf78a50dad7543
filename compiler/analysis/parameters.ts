import { vocabularyOf } from "../elaborate/forward.ts";
import { type PlacedStore, storesOf } from "../model-ir/places.ts";
import type { Module } from "../model-ir/types.ts";
import { stringAttr } from "../tensor-ir/attrs.ts";
import type { Op } from "../tensor-ir/types.ts";
import { elementsOf } from "./bytes.ts";
import type { Probe } from "./probe.ts";

/** Numbers of params. States (routing biases) are not params; look-ahead modules are counted apart. */
export interface ParameterFacts {
  readonly total: number;
  /** Used for one token, input embedding and output head included. */
  readonly activated: number;
  /** Without the input embedding, unless it is the output head as well. */
  readonly activatedNoInputEmbedding: number;
  readonly activatedNoEmbeddings: number;
  /** Of the look-ahead modules, without what they share. */
  readonly mtp: number;
  readonly embedding: number;
}

export function parameterFacts(module: Module, probe: Probe): ParameterFacts {
  const params = storesOf(module.root).filter(({ store }) => store.kind === "param");
  const main = params.filter(({ place }) => !place.ahead);
  const total = sum(main, (param) => elementsOf(param.type, module.dims));
  const activated = sum(main, (param) => activatedOf(param, module, probe));
  const { input, output } = embeddingsOf(probe);
  const count = (paths: ReadonlySet<string>): number =>
    sum(
      main.filter(({ path }) => paths.has(path)),
      (param) => elementsOf(param.type, module.dims),
    );
  return {
    total,
    activated,
    activatedNoInputEmbedding: activated - count(new Set([...input].filter((path) => !output.has(path)))),
    activatedNoEmbeddings: activated - count(new Set([...input, ...output])),
    mtp: sum(
      params.filter(({ place }) => place.ahead),
      (param) => elementsOf(param.type, module.dims),
    ),
    embedding: count(input),
  };
}

/** The elements that one token uses: of routed copies, as many as it visits. */
export function activatedOf({ path, type }: PlacedStore, { dims }: Module, { routed }: Probe): number {
  let elements = elementsOf(type, dims);
  for (let dot = path.indexOf("."); dot >= 0; dot = path.indexOf(".", dot + 1)) {
    const around = routed.get(path.slice(0, dot));
    if (around !== undefined) elements = (elements / dims.get(around.experts)!) * dims.get(around.slot)!;
  }
  return elements;
}

/**
 * Params that tokens pick rows of, and params that make the logits, by what is done with them: a gather by `tokens`, a
 * contraction whose result has the dim of the vocabulary.
 */
function embeddingsOf({ logits, ops, alike }: Probe): { input: Set<string>; output: Set<string> } {
  const vocabulary = vocabularyOf(logits);
  const source = new Map<number, Op>();
  for (const { op } of ops) for (const { id } of op.results) source.set(id, op);
  const paramOf = (id: number | undefined): string | undefined => {
    const op = id === undefined ? undefined : source.get(id);
    if (op?.name === "model.param") return stringAttr(op.attrs, "name");
    return op?.name === "tensor.cast" || op?.name === "tensor.broadcast" ? paramOf(op.operands[0]?.id) : undefined;
  };
  const input = new Set<string>();
  const output = new Set<string>();
  for (const { op } of ops) {
    const [first, second] = op.operands;
    if (op.name === "tensor.gather" && source.get(second!.id)?.attrs["name"] === "tokens") {
      const path = paramOf(first!.id);
      if (path !== undefined) alike(path).forEach((each) => input.add(each));
    } else if (op.name === "tensor.contract" && op.results[0]!.type.dims.includes(vocabulary)) {
      for (const { id } of op.operands) {
        const path = paramOf(id);
        if (path !== undefined) alike(path).forEach((each) => output.add(each));
      }
    }
  }
  return { input, output };
}

function sum<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((total, item) => total + value(item), 0);
}
