/** Files of token numbers. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { endianness } from "node:os";
import { readRange } from "../files.ts";
import { BadFile } from "./text.ts";

export interface Shard {
  readonly path: string;
  /** Where the tokens begin, in bytes. */
  readonly at: number;
  readonly width: 2 | 4 | 8;
  readonly tokens: number;
}

/** Headers of llm.c: 256 words of 4 bytes, the third one the number of tokens. */
const LLM_C: ReadonlyMap<number, 2 | 4> = new Map([
  [20_240_520, 2],
  [20_240_801, 4],
]);

/**
 * What a file of tokens holds: `.npy` says it itself, as does the header of llm.c; other `.bin` files have 2 bytes a token,
 * or 4 where the vocabulary needs them.
 * @throws BadFile when it is of no such form
 */
export function openShard(path: string, vocabulary: number): Shard {
  const fd = openSync(path, "r");
  try {
    const { size } = fstatSync(fd);
    if (size === 0) return { path, at: 0, width: 2, tokens: 0 };
    const head = Buffer.alloc(Math.min(size, 1 << 16));
    readSync(fd, head, 0, head.length, 0);
    if (head.toString("latin1", 0, 6) === "\u0093NUMPY") return numpyShard(path, size, head);
    const width = size >= 1024 ? LLM_C.get(head.readInt32LE(0)) : undefined;
    if (width !== undefined) return fitting({ path, at: 1024, width, tokens: head.readInt32LE(8) }, size);
    const plain = vocabulary <= 1 << 16 ? 2 : 4;
    if (size % plain === 0) return { path, at: 0, width: plain, tokens: size / plain };
    throw new BadFile(
      `its ${size} bytes are no whole number of tokens of ${plain} bytes (a vocabulary of ${vocabulary})`,
    );
  } finally {
    closeSync(fd);
  }
}

function fitting(shard: Shard, size: number): Shard {
  const wanted = shard.at + shard.width * shard.tokens;
  if (wanted === size) return shard;
  throw new BadFile(`its header says ${shard.tokens} tokens, which are ${wanted} bytes, but it has ${size}`);
}

/** https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html; rows of more dims follow each other. */
function numpyShard(path: string, size: number, head: Buffer): Shard {
  const wide = head[6]! >= 2;
  const at = wide ? 12 + head.readUInt32LE(8) : 10 + head.readUInt16LE(8);
  const text = head.toString("latin1", wide ? 12 : 10, at);
  const type = /'descr':\s*'([^']+)'/.exec(text)?.[1];
  const shape = /'shape':\s*\(([^)]*)\)/.exec(text)?.[1]?.match(/\d+/g)?.map(Number) ?? [];
  const width = type === undefined ? undefined : /^[<|][ui]([248])$/.exec(type)?.[1];
  if (width === undefined)
    throw new BadFile(`its elements are ${type ?? "of no known type"}, not little-endian integers`);
  if (/'fortran_order':\s*True/.test(text) && shape.length > 1)
    throw new BadFile("its columns come first (fortran_order)");
  const tokens = shape.reduce((a, b) => a * b, 1);
  return fitting({ path, at, width: Number(width) as Shard["width"], tokens }, size);
}

/** Tokens `from` up to and without `to` of an open shard; numbers from 2^31 on come out negative. */
export function readTokens(
  fd: number,
  { at, width }: Omit<Shard, "path" | "tokens">,
  from: number,
  to: number,
): Int32Array {
  const bytes = readRange(fd, at + from * width, (to - from) * width);
  if (endianness() === "BE") throw new Error("token files are little-endian, this machine is not");
  if (width === 2) return Int32Array.from(new Uint16Array(bytes.buffer));
  const words = new Int32Array(bytes.buffer);
  if (width === 4) return words;
  // A number that needs more than 32 bits is no token: it becomes -1.
  return Int32Array.from({ length: to - from }, (_, i) => (words[2 * i + 1] === 0 ? words[2 * i]! : -1));
}
