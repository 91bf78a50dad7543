import { named } from "../json.ts";
import { CheckpointError, type DType, type Entry, headerLength, parseHeader } from "./format.ts";
import { decode } from "./numbers.ts";
import { dequantize } from "./quantize.ts";
import { parseQuantized, type StoredCodes } from "./quantized-metadata.ts";

export interface StoredTensor {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Where the bytes are: devices may map them. */
  readonly place: { readonly file: string; readonly offset: number };
  /** As they are stored. */
  readonly bytes: () => Uint8Array<ArrayBuffer>;
  /** Reads the bytes and decodes them; fp8 weights with their block scales. */
  readonly read: () => Float32Array | Float64Array;
  /** The block scales of fp8 weights and the scales of codes, where there are some. */
  readonly scales: StoredTensor | undefined;
  /** Of codes: how they are grouped. `shape` is that of the weight. */
  readonly quantized: StoredCodes | undefined;
}

/** The name of a file without its folders. */
function basename(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** The files of a checkpoint, wherever they lie. */
export interface CheckpointFiles {
  /** Paths. */
  readonly files: readonly string[];
  /** The shard of every tensor as an index has it, by name; undefined without an index. */
  readonly index: ReadonlyMap<string, string> | undefined;
  /** In bytes. @throws CheckpointError for what is no file */
  readonly sizeOf: (file: string) => number;
  /** Bytes of a file, to be kept. @throws CheckpointError when it cannot be read, or ends before them */
  readonly bytesOf: (file: string, start: number, length: number) => Uint8Array<ArrayBuffer>;
}

/** The length and the text that a file begins with. @throws CheckpointError when there is not so much */
export function headerBytes(
  { sizeOf, bytesOf }: Pick<CheckpointFiles, "sizeOf" | "bytesOf">,
  file: string,
): Uint8Array<ArrayBuffer> {
  const size = sizeOf(file);
  return bytesOf(file, 0, 8 + headerLength(basename(file), bytesOf(file, 0, Math.min(8, size)), size));
}

/** The tensors of the files of a checkpoint. Only headers are read until a tensor is asked for. */
export class CheckpointTensors {
  readonly path: string;
  readonly files: readonly string[];
  readonly #from: CheckpointFiles;
  readonly #entries = new Map<string, { readonly entry: Entry; readonly file: string; readonly dataStart: number }>();
  readonly #quantized = new Map<string, StoredCodes>();
  /** The names of their scales. */
  readonly #codeScales = new Set<string>();

  /**
   * @param path what messages call the checkpoint
   * @throws CheckpointError for anything that is not exactly what it claims to be
   */
  constructor(path: string, from: CheckpointFiles) {
    this.path = path;
    const { files, index } = from;
    this.files = files;
    this.#from = from;
    for (const file of files) this.#open(file);
    if (index !== undefined) this.#checkIndex(index);
    this.#checkCodes();
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
    const quantized = this.#quantized.get(name);
    if (quantized !== undefined) return this.#codes(name, quantized);
    const scales = this.#isScale(name) ? undefined : this.#scalesOf(name, entry);
    const bytes = (): Uint8Array<ArrayBuffer> =>
      this.#from.bytesOf(file, dataStart + entry.start, entry.end - entry.start);
    return {
      name,
      dtype,
      shape,
      place: { file, offset: dataStart + entry.start },
      scales,
      quantized,
      bytes,
      read: () => {
        const values = decode(bytes(), dtype);
        return scales === undefined ? values : scaled(values, shape, scales.read());
      },
    };
  }

  /** Why a tensor cannot be weights of this shape; undefined when it can. */
  problemOf(name: string, wanted: readonly number[]): string | undefined {
    try {
      const { dtype, shape, scales } = this.tensor(name);
      if (shape.join() !== wanted.join())
        return `tensor ${named(name)} has the shape [${shape.join(", ")}], the model needs [${wanted.join(", ")}]`;
      if (!FP8.includes(dtype) || scales !== undefined) return undefined;
      return `tensor ${named(name)} is ${dtype} and has no scales ${named(`${name}_scale_inv`)}`;
    } catch (error) {
      if (error instanceof CheckpointError) return error.message;
      throw error;
    }
  }

  #codes(name: string, quantized: StoredCodes): StoredTensor {
    const { entry, file, dataStart } = this.#entry(name);
    const scales = this.tensor(quantized.scales);
    const { shape, dtype } = quantized;
    const bytes = (): Uint8Array<ArrayBuffer> =>
      this.#from.bytesOf(file, dataStart + entry.start, entry.end - entry.start);
    const read = (): Float32Array => {
      const [codes, bits] = [bytes(), scales.bytes()];
      return dequantize(
        { codes: dtype === "i8" ? new Int8Array(codes.buffer) : codes, scales: new Uint16Array(bits.buffer) },
        shape,
        dtype,
        quantized,
      );
    };
    return {
      name,
      dtype: entry.dtype,
      shape,
      place: { file, offset: dataStart + entry.start },
      scales,
      quantized,
      bytes,
      read,
    };
  }

  #checkCodes(): void {
    for (const [name, { dtype, shape, scales, dim, group }] of this.#quantized) {
      const elements = shape.reduce((a, b) => a * b, 1);
      const codes = dtype === "i8" ? `I8 [${shape.join()}]` : `U8 [${Math.ceil(elements / 2)}]`;
      const factors = `BF16 [${shape.with(dim, Math.ceil(shape[dim]! / group)).join()}]`;
      for (const [tensor, wanted] of [
        [name, codes],
        [scales, factors],
      ] as const) {
        const entry = this.#entries.get(tensor)?.entry;
        const found = entry === undefined ? "missing" : `${entry.dtype} [${entry.shape.join()}]`;
        if (found === wanted) continue;
        throw new CheckpointError(
          `${this.path}: tensor \`${tensor}\` is ${found}; the codes of \`${name}\` need ${wanted}`,
        );
      }
      this.#codeScales.add(scales);
    }
  }

  #entry(name: string): { readonly entry: Entry; readonly file: string; readonly dataStart: number } {
    const found = this.#entries.get(name);
    if (found === undefined) throw new CheckpointError(`${this.path}: there is no tensor ${named(name)}`);
    return found;
  }

  #isScale(name: string): boolean {
    if (this.#codeScales.has(name)) return true;
    return name.endsWith("_scale_inv") && this.#entries.has(name.slice(0, -"_scale_inv".length));
  }

  #open(file: string): void {
    const shown = basename(file);
    const header = headerBytes(this.#from, file);
    const { entries, metadata, dataStart } = parseHeader(shown, header, this.#from.sizeOf(file));
    for (const [name, codes] of parseQuantized(shown, metadata)) this.#quantized.set(name, codes);
    for (const entry of entries) {
      const other = this.#entries.get(entry.name);
      if (other !== undefined)
        throw new CheckpointError(`${shown}: tensor ${named(entry.name)} is in ${basename(other.file)} as well`);
      this.#entries.set(entry.name, { entry, file, dataStart });
    }
  }

  /** An index that leads to the wrong shard is one of other shards: of an older checkpoint, or of one that was cut. */
  #checkIndex(index: ReadonlyMap<string, string>): void {
    const wrong = [...index].flatMap(([name, shard]) => {
      const found = this.#entries.get(name);
      if (found === undefined) return [`${shard}: there is no tensor ${named(name)}, which the index says it has`];
      const own = basename(found.file);
      return own === shard ? [] : [`${shard}: tensor ${named(name)} is in ${own}, the index says here`];
    });
    const extra = [...this.#entries].flatMap(([name, { file }]) =>
      index.has(name) ? [] : [`${basename(file)}: tensor ${named(name)} is not in the index`],
    );
    if (wrong.length + extra.length > 0) throw new CheckpointError([...wrong, ...extra].join("\n"));
  }

  /** Scales make a weight what it is: those of fp8 must fit, other weights have none. */
  #scalesOf(name: string, { dtype, shape }: Entry): StoredTensor | undefined {
    if (!this.#entries.has(`${name}_scale_inv`)) return undefined;
    const scales = this.tensor(`${name}_scale_inv`);
    const fail = (why: string): never => {
      throw new CheckpointError(`${basename(scales.place.file)}: tensor ${named(scales.name)} ${why}`);
    };
    if (!FP8.includes(dtype)) return fail(`scales ${named(name)}, which is ${dtype}: only fp8 weights are scaled`);
    if (!FACTORS.includes(scales.dtype)) return fail(`is ${scales.dtype}; factors are ${FACTORS.join(", ")}`);
    const blocks = shape.map((size) => Math.ceil(size / BLOCK));
    if (shape.length === 2 && scales.shape.join() === blocks.join()) return scales;
    return fail(`has the shape [${scales.shape.join(", ")}], blocks of 128 x 128 need [${blocks.join(", ")}]`);
  }
}

const FP8: readonly DType[] = ["F8_E4M3", "F8_E5M2"];
const FACTORS: readonly DType[] = ["F32", "BF16", "F16", "F64"];

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
