/** Where params and states lie in the buffers that they share. */
import { type BufferKind, elementsOf, type LaunchProgram, STORAGE_BYTES } from "../../program/launch.ts";
import type { SimtKernel } from "../../program/grids.ts";
import type { Elements, StoreSpec } from "../session.ts";
import { asWords, fromPacked, fromWords, packedWords } from "./words.ts";

export interface Kept {
  readonly spec: StoreSpec;
  /** Of the buffers. */
  readonly part: number;
  /** The first word, and how many there are. */
  readonly at: number;
  readonly words: number;
  /** Small elements share a word where nothing writes them: two threads must not write to one word. */
  readonly packed: boolean;
}

/** Whether a buffer is kept between calls, in the buffers of params and states. */
export function isKept(kind: BufferKind): boolean {
  return kind === "param" || kind === "state";
}

/**
 * One after the other, in the next buffer where there is no room.
 * @param most words of a buffer
 */
export function placesOf(
  stores: readonly StoreSpec[],
  programs: readonly LaunchProgram[],
  kernels: ReadonlyMap<string, SimtKernel>,
  most: number,
): Map<string, Kept> {
  const written = new Set(
    programs.flatMap(({ launches, buffers }) =>
      launches.flatMap(({ kernel, args }) => {
        const { args: names, writes } = kernels.get(kernel)!;
        const specs = args.filter((_, i) => writes.includes(names[i]!)).map((buffer) => buffers[buffer]!);
        return specs.filter(({ kind }) => isKept(kind)).map(({ name }) => name);
      }),
    ),
  );
  let [part, at] = [0, 0];
  return new Map(
    stores.map((spec) => {
      const size = elementsOf(spec, {});
      const packed = STORAGE_BYTES[spec.dtype] <= 2 && spec.dtype !== "bool" && !written.has(spec.name);
      const words = packed ? Math.ceil((size * STORAGE_BYTES[spec.dtype]) / 4) : size;
      if (at > 0 && at + words > most) [part, at] = [part + 1, 0];
      at += words;
      return [spec.name, { spec, part, at: at - words, words, packed }];
    }),
  );
}

export function keptWords({ spec, packed }: Kept, elements: Elements): ReturnType<typeof asWords> {
  return packed ? packedWords(elements) : asWords(elements, spec.dtype);
}

export function keptElements({ spec, packed }: Kept, words: Uint32Array): Elements {
  const size = elementsOf(spec, {});
  return packed ? fromPacked(words, spec.dtype, size) : fromWords(words, spec.dtype);
}
