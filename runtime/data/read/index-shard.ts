/** Where the documents of a token file begin and end. */
import { closeSync, openSync } from "node:fs";
import type { Region } from "../stored.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { HASH_START, hashStep, mix } from "./document.ts";
import { openShard, readTokens } from "./shards.ts";
import { BadFile } from "./text.ts";

const CHUNK = 1 << 20;

/**
 * Looks for the token that ends a document. Documents that are not ended within `longest` tokens are cut there.
 * @param found told the length and the hash of each document, in order
 * @throws BadFile for files of no known form, and with the byte of a number that is no token
 */
export function* indexShard(
  path: string,
  { size, eos }: Tokenizer,
  longest: number,
  found: (length: number, hash: number) => void,
): Generator<undefined, Region> {
  const shard = openShard(path, size);
  const region = { path, at: shard.at, width: shard.width };
  const fd = openSync(path, "r");
  let documents = 0;
  let [length, hash] = [0, HASH_START];
  const end = (): void => {
    found(length, mix(hash));
    documents++;
    [length, hash] = [0, HASH_START];
  };
  try {
    for (let at = 0; at < shard.tokens; at += CHUNK) {
      const tokens = readTokens(fd, region, at, Math.min(at + CHUNK, shard.tokens));
      for (let i = 0; i < tokens.length; i++) {
        const token = tokens[i]!;
        if (token < 0 || token >= size) throw new BadFile(outOfRange(token, region, at + i, size));
        length++;
        hash = hashStep(hash, token);
        if (token === eos || length === longest) end();
      }
      yield;
    }
    if (length > 0) end();
    return { ...region, documents };
  } finally {
    closeSync(fd);
  }
}

function outOfRange(token: number, { at, width }: Omit<Region, "documents">, index: number, size: number): string {
  const shown = token < 0 ? "a number of more than 31 bits" : `number ${token}`;
  return `token ${index + 1} (byte ${at + index * width}) is ${shown}; the tokenizer has ${size} tokens`;
}
