import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";

/** The tensors of `tests/fixtures/models/FOLDER/FILE` as plain numbers: f32, i64 and u8 safetensors. */
export interface FixtureTensor {
  readonly shape: readonly number[];
  readonly data: readonly number[];
}

const root = resolve(import.meta.dirname, "../fixtures/models");

export function fixtureJson(folder: string, file: string): unknown {
  return JSON.parse(readFileSync(join(root, folder, file), "utf8"));
}

interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

export function fixtureTensors(folder: string, file: string): (name: string) => FixtureTensor {
  const bytes = readFileSync(join(root, folder, file));
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + length)) as Record<string, Entry>;
  return (name) => {
    const entry = header[name];
    if (entry === undefined) throw new Error(`${folder} has no tensor ${name}`);
    const [start, end] = entry.data_offsets.map((offset) => 8 + length + offset) as [number, number];
    const data: number[] = [];
    if (entry.dtype === "F32") for (let at = start; at < end; at += 4) data.push(bytes.readFloatLE(at));
    else if (entry.dtype === "I64") for (let at = start; at < end; at += 8) data.push(Number(bytes.readBigInt64LE(at)));
    else if (entry.dtype === "U8") data.push(...bytes.subarray(start, end));
    else throw new Error(`${name} is ${entry.dtype}`);
    return { shape: entry.shape, data };
  };
}
