/** Which params the names of parts stand for: `norm`, `mixer.up`, `deepseekmoe.gate`. */
import { joinPath, placesOf } from "./places.ts";
import type { Block, Module } from "./types.ts";

/**
 * The paths of all params in parts of the model. A part is a path of words, each inside of the one before it: the name of a use,
 * of a param, or of a block in lower case. A word for work that no param does (`softmax`) stands for none.
 */
export function paramsOfParts(module: Module, parts: readonly (readonly string[])[]): ReadonlySet<string> {
  const found = new Set<string>();
  for (const { path, block } of placesOf(module.root)) {
    for (const words of parts) {
      const [first, ...rest] = words;
      if (first === undefined) continue;
      if (isCalled(block, path, first)) inside(block, path, rest, found);
      else if (rest.length === 0 && isParam(block, first)) found.add(joinPath(path, first));
    }
  }
  return found;
}

function isCalled(block: Block, path: string, word: string): boolean {
  // The layers of a stack and look-ahead modules have numbers behind the name of their use.
  const use = path
    .replace(/\.\d+$/, "")
    .split(".")
    .at(-1);
  return use === word || block.names.some((name) => name.toLowerCase() === word);
}

/** Adds the params of what the words lead to, or all of them when there are no more words. */
function inside(block: Block, path: string, words: readonly string[], found: Set<string>): void {
  const [word, ...rest] = words;
  for (const name of block.stores.keys())
    if (isParam(block, name) && (word === undefined || (word === name && rest.length === 0)))
      found.add(joinPath(path, name));
  if (word !== undefined && !block.uses.has(word)) return;
  const prefix = path === "" ? "" : `${path}.`;
  for (const place of placesOf(block)) {
    const [use, ...deeper] = place.path.split(".");
    const isLayer = deeper.length === 1 && /^\d+$/.test(deeper[0]!) && block.uses.get(use!)?.kind !== "block";
    if (place.path === "" || !(deeper.length === 0 || isLayer)) continue;
    if (word === undefined || use === word) inside(place.block, `${prefix}${place.path}`, rest, found);
  }
}

function isParam(block: Block, name: string): boolean {
  return block.stores.get(name)?.kind === "param";
}
