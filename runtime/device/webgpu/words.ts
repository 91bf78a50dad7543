/** How elements lie in buffers whose words have 32 bits. */
import type { StorageType } from "../../program/launch.ts";
import { decoded, encoded, newElements } from "../elements.ts";
import type { Elements } from "../session.ts";

/** Every element as a word of its own; small floats as f32. */
export function asWords(
  elements: Elements,
  dtype: StorageType,
): Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> {
  switch (dtype) {
    case "f32":
      return elements as Float32Array<ArrayBuffer>;
    case "i32":
      return elements as Int32Array<ArrayBuffer>;
    case "bool":
      return Uint32Array.from(elements as Uint8Array);
    default:
      return Float32Array.from(decoded(elements, dtype));
  }
}

export function fromWords(words: Uint32Array, dtype: StorageType): Elements {
  const floats = new Float32Array(words.buffer, words.byteOffset, words.length);
  switch (dtype) {
    case "f32":
      return floats.slice();
    case "i32":
      return new Int32Array(words.buffer, words.byteOffset, words.length).slice();
    case "bool": {
      const bytes = newElements("bool", words.length);
      for (let i = 0; i < words.length; i++) bytes[i] = words[i]!;
      return bytes;
    }
    default:
      return encoded(floats, dtype);
  }
}

/** Elements next to each other, as they are in memory, filled up to whole words. */
export function packedWords(elements: Elements): Uint32Array<ArrayBuffer> {
  const bytes = new Uint8Array(Math.ceil(elements.byteLength / 4) * 4);
  bytes.set(new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength));
  return new Uint32Array(bytes.buffer);
}

/** @param count elements */
export function fromPacked(words: Uint32Array, dtype: StorageType, count: number): Elements {
  const elements = newElements(dtype, count);
  const bytes = new Uint8Array(words.buffer, words.byteOffset, elements.byteLength);
  new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength).set(bytes);
  return elements;
}
