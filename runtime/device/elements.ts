import { type BufferSpec, elementsOf, type LaunchProgram, type Sizes, type StorageType } from "../program/launch.ts";
import { encode } from "../io/safetensors/encode.ts";
import type { DType } from "../io/safetensors/format.ts";
import { decode } from "../io/safetensors/numbers.ts";
import type { Elements } from "./session.ts";

type ElementsClass = { readonly name: string; new (length: number): Elements };

/** Which array holds the elements of a storage type; those without one of their own as bits. */
const CLASSES: Readonly<Record<StorageType, ElementsClass>> = {
  f64: Float64Array,
  f32: Float32Array,
  bf16: Uint16Array,
  f16: Uint16Array,
  f8e4m3: Uint8Array,
  i32: Int32Array,
  bool: Uint8Array,
  i8: Int8Array,
  i4: Uint8Array,
};

/** What safetensors call the storage types; pairs of i4 are bytes. */
export const STORED: Readonly<Record<StorageType, DType>> = {
  f64: "F64",
  f32: "F32",
  bf16: "BF16",
  f16: "F16",
  f8e4m3: "F8_E4M3",
  i32: "I32",
  bool: "BOOL",
  i8: "I8",
  i4: "U8",
};

/** Zeros. @throws Error for more elements than an array can have */
export function newElements(dtype: StorageType, count: number): Elements {
  try {
    return new CLASSES[dtype](lengthOf(dtype, count));
  } catch (error) {
    throw new Error(`no array can have ${count} elements of ${dtype}`, { cause: error });
  }
}

/** The length of the array that holds so many elements. */
function lengthOf(dtype: StorageType, count: number): number {
  return dtype === "i4" ? Math.ceil(count / 2) : count;
}

/** @throws Error when the array is not of the type's class or has another length; `what` names it */
export function checkElements(what: string, dtype: StorageType, count: number, elements: Elements): void {
  const wanted = CLASSES[dtype];
  if (!(elements instanceof wanted)) {
    const given = (elements as object | undefined)?.constructor?.name ?? String(elements);
    throw new Error(`${what} needs a ${wanted.name} (${dtype}), not ${given}`);
  }
  const length = lengthOf(dtype, count);
  if (elements.length !== length) throw new Error(`${what} has ${length} elements, not ${elements.length}`);
}

/** The run-time dims of a program in a call, in the program's order. @throws Error when one is missing or no size */
export function dimsOf({ name, dims }: LaunchProgram, sizes: Sizes): number[] {
  return dims.map((dim) => {
    const size = sizes[dim];
    if (size === undefined) throw new Error(`program ${name}: the run-time dim ${dim} is not bound`);
    if (!Number.isSafeInteger(size) || size < 0) throw new Error(`program ${name}: ${dim} = ${size} is no size`);
    return size;
  });
}

/** What goes into a program and comes out of it. */
export interface Border {
  readonly program: LaunchProgram;
  readonly inputs: readonly Place[];
  readonly outputs: readonly Place[];
}

interface Place {
  readonly buffer: number;
  readonly spec: BufferSpec;
}

/** An input or output of a program and its array. */
export interface Given {
  readonly buffer: number;
  readonly name: string;
  readonly elements: Elements;
}

/** Found once: a program has thousands of buffers, and few of them are inputs or outputs. */
export function borderOf(program: LaunchProgram): Border {
  const places = program.buffers.map((spec, buffer) => ({ spec, buffer }));
  return {
    program,
    inputs: places.filter(({ spec }) => spec.kind === "input"),
    outputs: places.filter(({ spec }) => spec.kind === "output"),
  };
}

/**
 * The inputs of a call. What the program does not use may be given as well: callers need not know which model needs
 * positions.
 * @throws Error that names an input that is missing or does not fit
 */
export function inputsOf(border: Border, sizes: Sizes, inputs: Readonly<Record<string, Elements>>): readonly Given[] {
  return border.inputs.map(({ buffer, spec }) => {
    const what = `program ${border.program.name}: the input ${spec.name}`;
    const elements = Object.hasOwn(inputs, spec.name) ? inputs[spec.name] : undefined;
    if (elements === undefined) throw new Error(`${what} is missing`);
    checkElements(what, spec.dtype, elementsOf(spec, sizes), elements);
    return { buffer, name: spec.name, elements };
  });
}

/** Arrays for the outputs of a call that are wanted, all when none are named. @throws Error when there is no such output */
export function outputsOf(border: Border, sizes: Sizes, names?: readonly string[]): readonly Given[] {
  const wanted = names?.map((name) => {
    const place = border.outputs.find(({ spec }) => spec.name === name);
    if (place === undefined) throw new Error(`program ${border.program.name}: there is no output ${name}`);
    return place;
  });
  return (wanted ?? border.outputs).map(({ buffer, spec }) => ({
    buffer,
    name: spec.name,
    elements: newElements(spec.dtype, elementsOf(spec, sizes)),
  }));
}

/** Bits of the exponent in types that are stored as bits: all of them are set in infinities and NaN (E4M3: NaN alone). */
const EXPONENTS = { bf16: 0x7f80, f16: 0x7c00, f8e4m3: 0x7f } as const;

/** The index of the first element that is NaN or infinite; -1 when there is none. */
export function firstNonFinite(elements: Elements, dtype: StorageType): number {
  switch (dtype) {
    case "bf16":
    case "f16":
    case "f8e4m3": {
      const mask = EXPONENTS[dtype];
      for (let i = 0; i < elements.length; i++) if ((elements[i]! & mask) === mask) return i;
      return -1;
    }
    case "f64":
    case "f32":
      for (let i = 0; i < elements.length; i++) if (!Number.isFinite(elements[i])) return i;
      return -1;
    case "i32":
    case "bool":
    case "i8":
    case "i4":
      return -1;
  }
}

/** Numbers as a store of the type holds them: floats rounded to nearest, ties to even. */
export function encoded(values: ArrayLike<number>, dtype: StorageType): Elements {
  if (dtype !== "bf16" && dtype !== "f16") {
    const elements = newElements(dtype, values.length);
    elements.set(values);
    return elements;
  }
  const bytes = encode(Float32Array.from(values), dtype === "bf16" ? "BF16" : "F16");
  return new Uint16Array(bytes.buffer, bytes.byteOffset, values.length);
}

/** The numbers that stored elements stand for. */
export function decoded(elements: Elements, dtype: StorageType): ArrayLike<number> {
  if (dtype !== "bf16" && dtype !== "f16") return elements;
  const bytes = new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength);
  return decode(bytes, dtype === "bf16" ? "BF16" : "F16");
}
