/**
 * Puts pieces into sequences without cutting them again: best fit, the longest first (Ding et al. 2024, "Fewer Truncations
 * Improve Language Modeling", section 3; DeepSeek-V3 section 4.1).
 * @param lengths of the pieces, `length` at most
 * @returns indices of pieces by sequence: inside a sequence, and sequences by their first piece, in ascending order
 */
export function bestFit(lengths: readonly number[], length: number): number[][] {
  const longestFirst = lengths.map((_, i) => i).toSorted((a, b) => lengths[b]! - lengths[a]! || a - b);
  const open = new OpenSequences();
  const sequences: number[][] = [];
  for (const piece of longestFirst) {
    const size = lengths[piece]!;
    const found = open.take(size);
    const sequence = found?.sequence ?? [];
    if (found === undefined) sequences.push(sequence);
    sequence.push(piece);
    open.put((found?.room ?? length) - size, sequence);
  }
  for (const sequence of sequences) sequence.sort((a, b) => a - b);
  return sequences.toSorted((a, b) => a[0]! - b[0]!);
}

/** Sequences with room left. */
class OpenSequences {
  /** Rooms that some sequence has, ascending. */
  readonly #rooms: number[] = [];
  readonly #byRoom = new Map<number, number[][]>();

  put(room: number, sequence: number[]): void {
    if (room === 0) return;
    const same = this.#byRoom.get(room);
    if (same !== undefined) {
      same.push(sequence);
      return;
    }
    this.#byRoom.set(room, [sequence]);
    this.#rooms.splice(this.#find(room), 0, room);
  }

  /** The sequence with the least room that is enough; the last one of several. */
  take(size: number): { readonly room: number; readonly sequence: number[] } | undefined {
    const at = this.#find(size);
    const room = this.#rooms[at];
    if (room === undefined) return undefined;
    const same = this.#byRoom.get(room)!;
    const sequence = same.pop()!;
    if (same.length === 0) {
      this.#byRoom.delete(room);
      this.#rooms.splice(at, 1);
    }
    return { room, sequence };
  }

  /** The index of the first room that is not smaller. */
  #find(size: number): number {
    let [low, high] = [0, this.#rooms.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#rooms[middle]! < size) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
