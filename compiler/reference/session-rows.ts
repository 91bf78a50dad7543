import type { Call } from "../../runtime/device/session.ts";
import { POSITIONS, TOKENS } from "../elaborate/sink.ts";

export interface RowPlan {
  /** Physical rows of the positions that earlier calls wrote, in the order of the call. */
  readonly kept: readonly number[];
  /** Physical rows of the new tokens. */
  readonly written: readonly number[];
  /** `key.pos` and `key.seq` in the order of the interpreter, whose caches append: kept positions first, new ones behind. */
  readonly keys: Readonly<Record<"key.pos" | "key.seq", readonly number[]>>;
}

/** @throws Error when an input is missing or has a wrong size, or a new row does not stand among the positions exactly once */
export function planRows(inputs: Call["inputs"], sizes: Call["sizes"]): RowPlan {
  const input = (name: string, dim: string): readonly number[] => {
    const given = inputs[name];
    if (given === undefined) throw new Error(`no value is given for program.input ${name}`);
    if (given.length !== sizes[dim])
      throw new Error(`${name} is given with ${given.length} elements, ${dim} is ${sizes[dim]}`);
    return Array.from(given);
  };
  const [slots, written] = [input("cache.slot", POSITIONS), input("cache.row", TOKENS)];
  const tokenOf = new Map(written.map((row, token) => [row, token]));
  if (tokenOf.size !== written.length) throw new Error("cache.row names a row twice");
  const kept: number[] = [];
  const arrived = new Map<number, number>();
  for (const [index, slot] of slots.entries()) {
    const token = tokenOf.get(slot);
    if (token === undefined) kept.push(index);
    else if (arrived.has(token)) throw new Error(`cache.slot has row ${slot} twice, which is written in this call`);
    else arrived.set(token, index);
  }
  const order = [...kept, ...written.map((row, token) => arrived.get(token) ?? missing(row))];
  const [pos, seq] = [input("key.pos", POSITIONS), input("key.seq", POSITIONS)];
  return {
    kept: kept.map((index) => slots[index]!),
    written,
    keys: { "key.pos": order.map((index) => pos[index]!), "key.seq": order.map((index) => seq[index]!) },
  };
}

function missing(row: number): never {
  throw new Error(`cache.slot has no row ${row}, which a token is written to`);
}
