/** A document on its way from a file to tokens. */
export interface TokenDocument {
  readonly tokens: readonly number[];
  /** 1 for tokens that are targets; all are when it is not given. */
  readonly counted?: readonly number[];
  /** 32 bits of a hash of the content, the same for every tokenizer. */
  readonly hash: number;
}

/** FNV-1a over UTF-16 code units, mixed at the end so that all bits are even. */
export function hashText(text: string): number {
  let hash = HASH_START;
  for (let i = 0; i < text.length; i++) hash = hashStep(hash, text.charCodeAt(i));
  return mix(hash);
}

export const HASH_START = 0x811c9dc5;

export function hashStep(hash: number, value: number): number {
  return Math.imul(hash ^ value, 0x01000193);
}

/** A bijection of 32 bits in which every bit depends on all (the finalizer of MurmurHash3). */
export function mix(hash: number): number {
  let h = hash;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
