import { chosenDocuments, type Documents } from "./documents.ts";

export interface Split {
  readonly train: Documents;
  readonly valid: Documents;
}

/**
 * Holds out about a share of the documents, by the hash of their content: equal documents are on the same side, and a
 * document stays on its side when others come and go. One is held out at least, unless there is only one or the share is 0.
 */
export function splitDocuments(documents: Documents, share: number): Split {
  const limit = share * 2 ** 32;
  const numbers = Uint32Array.from({ length: documents.count }, (_, i) => i);
  let held: Uint32Array = numbers.filter((document) => documents.hash(document) < limit);
  if (held.length === 0 && share > 0) held = lowest(documents, numbers);
  if (held.length === documents.count) held = new Uint32Array(0);
  const isHeld = new Uint8Array(documents.count);
  for (const document of held) isHeld[document] = 1;
  const trained = numbers.filter((document) => isHeld[document] === 0);
  return { train: chosenDocuments(documents, trained), valid: chosenDocuments(documents, held) };
}

/** The documents with the lowest hash. */
function lowest(documents: Documents, numbers: Uint32Array): Uint32Array {
  let least = Infinity;
  for (const document of numbers) least = Math.min(least, documents.hash(document));
  return numbers.filter((document) => documents.hash(document) === least);
}
