/** The names of a model's parts, as `recompute`, `keep_bf16`, `shard` and `overlap` use them. */
import type { Block, Module } from "../../../compiler/model-ir/types.ts";

/** Kinds of work inside a block that have no name of their own: projections out of a latent, and the ops that matter. */
const WORK = ["up", "softmax", "dispatch", "combine", "matmul", "activation"] as const;

/** `SwiGlu` is called `swiglu`, `RmsNorm` `rmsnorm`: block names in lower case. */
function folded(name: string): string {
  return name.toLowerCase();
}

function addMembers(block: Block, names: Set<string>): void {
  for (const name of block.uses.keys()) names.add(name);
  for (const [name, store] of block.stores) if (store.kind !== "cache") names.add(name);
}

/**
 * Everything that may stand in the path of a part: the names of uses, params and states in any block, the model's blocks by their
 * names in lower case, and kinds of work. `norm` means every part of that name; in a path each word lies inside the one
 * before it.
 */
export class Parts {
  readonly #blocks: readonly Block[];

  constructor(module: Module) {
    this.#blocks = [...new Set([module.root, ...module.blocks.values()])];
  }

  /** The words that can start a path. */
  get names(): ReadonlySet<string> {
    const names = new Set<string>(WORK);
    for (const block of this.#blocks) {
      addMembers(block, names);
      for (const name of block.names) names.add(folded(name));
    }
    return names;
  }

  /** The first word of the path that names nothing, with what could stand there. */
  unknown(path: readonly string[]): { readonly index: number; readonly names: ReadonlySet<string> } | undefined {
    let inside: readonly Block[] | undefined;
    for (const [index, word] of path.entries()) {
      const names = inside === undefined ? this.names : membersOf(inside);
      if (!names.has(word)) return { index, names };
      inside = this.#inside(word, inside);
    }
    return undefined;
  }

  /** The blocks that a word stands for. */
  #inside(word: string, within: readonly Block[] | undefined): Block[] {
    const found = new Set<Block>();
    for (const block of within ?? this.#blocks) {
      if (within === undefined && block.names.some((name) => folded(name) === word)) found.add(block);
      const use = block.uses.get(word);
      if (use?.kind === "block" || use?.kind === "ahead") found.add(use.block);
      if (use?.kind === "stack") for (const layer of use.layers) found.add(layer.block);
    }
    return [...found];
  }
}

function membersOf(blocks: readonly Block[]): ReadonlySet<string> {
  const names = new Set<string>(WORK);
  for (const block of blocks) addMembers(block, names);
  return names;
}
