import { isUtf8 } from "node:buffer";

const MAGIC: readonly (readonly [bytes: readonly number[], what: string])[] = [
  [[0x1f, 0x8b], "it is compressed by gzip"],
  [[0x28, 0xb5, 0x2f, 0xfd], "it is compressed by zstd"],
  [[0x42, 0x5a, 0x68], "it is compressed by bzip2"],
  [[0x50, 0x4b, 0x03, 0x04], "it is a zip archive"],
  [[0x50, 0x41, 0x52, 0x31], "it is a Parquet file"],
  [[0xff, 0xfe], "it is UTF-16"],
  [[0xfe, 0xff], "it is UTF-16"],
];

/** Why bytes are no text, with their place: binary data, or what is no UTF-8. Undefined for text. */
export function whyNoText(bytes: Buffer, at: number): string | undefined {
  const magic = at === 0 ? MAGIC.find(([start]) => start.every((byte, i) => bytes[i] === byte)) : undefined;
  if (magic !== undefined) return `${magic[1]}, not UTF-8 text`;
  const zero = bytes.indexOf(0);
  const bad = firstInvalid(bytes);
  if (zero < 0 && bad === undefined) return undefined;
  if (zero >= 0 && (bad === undefined || zero < bad)) return `byte ${at + zero} is zero: it is binary, not text`;
  return `byte ${at + bad!} is no UTF-8`;
}

/** Where the first sequence begins that is no UTF-8; one that is cut by the end counts as good. */
function firstInvalid(bytes: Buffer): number | undefined {
  const end = bytes.length - cutLength(bytes);
  if (isUtf8(bytes.subarray(0, end))) return undefined;
  for (let at = 0; at < end;) {
    const size = bytes[at]! < 0x80 ? 1 : [2, 3, 4].find((n) => at + n <= end && isUtf8(bytes.subarray(at, at + n)));
    if (size === undefined) return at;
    at += size;
  }
  return undefined;
}

/** Bytes at the end that begin a character and do not complete it. */
export function cutLength(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!;
    if (byte < 0x80) return 0;
    if (byte < 0xc0) continue;
    const wanted = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    return wanted > back ? back : 0;
  }
  return 0;
}
