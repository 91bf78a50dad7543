/** The parts of a model that config.json speaks of: blocks of the standard library with their sizes and plain arguments. */
import type { Block, Use } from "../model-ir/types.ts";
import type { CheckedModel } from "../../dsl/semantics/check.ts";

/** A block with what its keys are made of. */
export interface Part {
  /** The name of the block in the text. */
  readonly name: string;
  /** A dim's size; 0 for a dim that the block does not have. */
  readonly size: (dim: string) => number;
  /** A number that the block was given, or its default; 0 for one that it does not take. */
  readonly number: (name: string) => number;
  readonly flag: (name: string) => boolean;
  /** The block behind a use, through aliases. */
  readonly use: (name: string) => Part | undefined;
}

export interface Parts {
  readonly model: Part;
  readonly embed: Part;
  readonly tied: boolean;
  readonly norm: Part;
  /** `Decoder`s, in order. */
  readonly layers: readonly Part[];
  /** Look-ahead modules, and the layer inside of each. */
  readonly ahead: number;
  readonly aheadLayer: Part | undefined;
  /** The deviation that the embedding starts with. */
  readonly deviation: number;
}

/** Undefined when the model is not an embedding, decoder layers, a norm and a head under their usual names. */
export function partsOf(model: CheckedModel): Parts | undefined {
  const { root } = model.module;
  const trunk = root.uses.get("trunk");
  const ahead = root.uses.get("mtp");
  const whole = part(model, root);
  const [embed, norm] = [whole.use("embed"), whole.use("norm")];
  const init = blockOf(root, "embed")?.stores.get("weight")?.init;
  if (trunk?.kind !== "stack" || embed === undefined || norm === undefined || init?.kind !== "normal") return undefined;
  const layers = trunk.layers.flatMap(({ count, block }) => Array.from({ length: count }, () => part(model, block)));
  if (layers.some((layer) => layer.use("mixer") === undefined || layer.use("ffn") === undefined)) return undefined;
  return {
    model: whole,
    embed,
    tied: root.uses.get("head")?.kind === "alias",
    norm,
    layers,
    ahead: ahead?.kind === "ahead" ? ahead.depth : 0,
    aheadLayer: ahead?.kind === "ahead" ? part(model, ahead.block).use("layer") : undefined,
    deviation: init.scale,
  };
}

function part(model: CheckedModel, block: Block): Part {
  const given = model.plainArguments(block);
  return {
    name: block.names[0]!,
    size: (dim) => model.module.dims.get(block.dims.get(dim) ?? "") ?? 0,
    number: (name) => Number(given.get(name) ?? 0),
    flag: (name) => given.get(name) === true,
    use: (name) => {
      const found = blockOf(block, name);
      return found === undefined ? undefined : part(model, found);
    },
  };
}

function blockOf(block: Block, name: string): Block | undefined {
  let use: Use | undefined = block.uses.get(name);
  while (use?.kind === "alias") use = block.uses.get(use.of);
  return use?.kind === "block" ? use.block : undefined;
}
