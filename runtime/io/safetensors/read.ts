import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { CheckpointError, type DType, type Entry, headerLength, parseHeader } from "./format.ts";
import { decode } from "./numbers.ts";

export interface StoredTensor {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Where the bytes are: devices may map them. */
  readonly place: { readonly file: string; readonly offset: number };
  /** As they are stored. */
  readonly bytes: () => Uint8Array;
  /** Reads the bytes and decodes them; fp8 weights with their block scales. */
  readonly read: () => Float32Array | Float64Array;
  /** The block scales of fp8 weights, where there are some. */
  readonly scales: StoredTensor | undefined;
}

/** The tensors of a file, or of the files of a directory. Only headers are read until a tensor is asked for. */
export class Checkpoint {
  readonly path: string;
  readonly #entries = new Map<string, { readonly entry: Entry; readonly file: string; readonly dataStart: number }>();

  /**
   * Opens `model.safetensors`, the shards of `model.safetensors.index.json`, or one file.
   * @throws CheckpointError for anything that is not exactly what it claims to be
   */
  constructor(path: string) {
    this.path = path;
    for (const file of filesOf(path)) this.#open(file);
  }

  get names(): string[] {
    return [...this.#entries.keys()].filter((name) => !this.#isScale(name));
  }

  has(name: string): boolean {
    return this.#entries.has(name);
  }

  tensor(name: string): StoredTensor {
    const { entry, file, dataStart } = this.#entry(name);
    const { dtype, shape } = entry;
    const scales = this.#isScale(name) ? undefined : this.#scalesOf(name, shape);
    const bytes = (): Uint8Array => bytesOf(file, dataStart + entry.start, entry.end - entry.start);
    return {
      name,
      dtype,
      shape,
      place: { file, offset: dataStart + entry.start },
      scales,
      bytes,
      read: () => {
        const values = decode(bytes(), dtype);
        return scales === undefined ? values : scaled(values, shape, scales.read());
      },
    };
  }

  #entry(name: string): { readonly entry: Entry; readonly file: string; readonly dataStart: number } {
    const found = this.#entries.get(name);
    if (found === undefined) throw new CheckpointError(`${this.path}: there is no tensor \`${name}\``);
    return found;
  }

  #isScale(name: string): boolean {
    return name.endsWith("_scale_inv") && this.#entries.has(name.slice(0, -"_scale_inv".length));
  }

  #open(file: string): void {
    const size = statSync(file).size;
    const shown = basename(file);
    const length = headerLength(shown, bytesOf(file, 0, Math.min(8, size)), size);
    const { entries, dataStart } = parseHeader(shown, bytesOf(file, 0, 8 + length), size);
    for (const entry of entries) {
      if (this.#entries.has(entry.name))
        throw new CheckpointError(`${shown}: tensor \`${entry.name}\` is in another file as well`);
      this.#entries.set(entry.name, { entry, file, dataStart });
    }
  }

  #scalesOf(name: string, shape: readonly number[]): StoredTensor | undefined {
    if (!this.#entries.has(`${name}_scale_inv`)) return undefined;
    const scales = this.tensor(`${name}_scale_inv`);
    const blocks = shape.map((size) => Math.ceil(size / BLOCK));
    if (shape.length !== 2 || scales.shape.join() !== blocks.join()) {
      throw new CheckpointError(
        `${this.path}: tensor \`${scales.name}\` has the shape [${scales.shape.join(", ")}], blocks of 128 x 128 need [${blocks.join(", ")}]`,
      );
    }
    return scales;
  }
}

/** One factor for each block of 128 x 128, the last ones smaller (DeepSeek-V3, README_WEIGHTS). */
const BLOCK = 128;

function scaled(values: ArrayLike<number>, shape: readonly number[], factors: ArrayLike<number>): Float32Array {
  const [rows, columns] = shape as [number, number];
  const blocks = Math.ceil(columns / BLOCK);
  const result = new Float32Array(values.length);
  for (let r = 0; r < rows; r++) {
    const first = Math.floor(r / BLOCK) * blocks;
    for (let c = 0; c < columns; c++) {
      const at = r * columns + c;
      result[at] = values[at]! * factors[first + Math.floor(c / BLOCK)]!;
    }
  }
  return result;
}

function bytesOf(file: string, start: number, length: number): Uint8Array {
  const fd = openSync(file, "r");
  try {
    if (fstatSync(fd).size < start + length) throw new CheckpointError(`${basename(file)}: the file became shorter`);
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length;) {
      const got = readSync(fd, bytes, at, Math.min(length - at, 1 << 30), start + at);
      if (got === 0) throw new CheckpointError(`${basename(file)}: the file became shorter`);
      at += got;
    }
    return bytes;
  } finally {
    closeSync(fd);
  }
}

function filesOf(path: string): string[] {
  if (!existsSync(path)) throw new CheckpointError(`${path}: there is no such file or directory`);
  if (!statSync(path).isDirectory()) return [path];
  const index = join(path, "model.safetensors.index.json");
  if (existsSync(index)) return shardsOf(path, index);
  const single = join(path, "model.safetensors");
  if (existsSync(single)) return [single];
  throw new CheckpointError(`${path}: there is no model.safetensors and no model.safetensors.index.json`);
}

function shardsOf(dir: string, index: string): string[] {
  let map: unknown;
  try {
    map = (JSON.parse(readFileSync(index, "utf8")) as { weight_map?: unknown }).weight_map;
  } catch {
    throw new CheckpointError(`${basename(index)}: not JSON`);
  }
  if (typeof map !== "object" || map === null) throw new CheckpointError(`${basename(index)}: there is no weight_map`);
  const names = new Set<string>();
  for (const [tensor, file] of Object.entries(map)) {
    if (typeof file !== "string" || file !== basename(file) || file === ".." || file === "." || file.includes("\\")) {
      throw new CheckpointError(
        `${basename(index)}: tensor \`${tensor}\` is said to be in ${JSON.stringify(file)}, which is not a file of the directory`,
      );
    }
    names.add(file);
  }
  for (const name of names)
    if (!existsSync(join(dir, name))) throw new CheckpointError(`${basename(index)}: the shard \`${name}\` is missing`);
  return [...names].toSorted().map((name) => join(dir, name));
}
