/** Parameters between a program and a checkpoint. */
import { type ParamShape, type Placement, placeParam } from "./checkpoint-names.ts";
import { type Checkpoint, CheckpointError, type StoredTensor } from "./safetensors.ts";

/** The elements of a parameter as a checkpoint lays them out. */
export interface LoadedParam {
  readonly data: ArrayLike<number>;
  /** The param's dims in the order of `data`. */
  readonly order: readonly number[];
}

/**
 * Reads a parameter.
 * @throws CheckpointError when the checkpoint does not have it, or not in this size
 */
export function loadParam(checkpoint: Checkpoint, param: ParamShape): LoadedParam {
  const placement = place(checkpoint, param);
  const parts = placement.names.map((name) => rowsOf(checkpoint.read(name), placement));
  const [first] = parts;
  const data = parts.length === 1 ? first! : concatenate(parts);
  const size = product(param.sizes);
  if (data.length !== size) {
    const shape = checkpoint.shapeOf(placement.names[0]!).join(" x ");
    throw new CheckpointError(`\`${placement.names[0]}\` is ${shape}; \`${param.path}\` is ${param.sizes.join(" x ")}`);
  }
  return { data, order: isRouted(placement, param) ? [0, ...placement.order.map((dim) => dim + 1)] : placement.order };
}

/**
 * Tensors with the names and shapes of the checkpoint from values of parameters in their own order: gradients, or weights
 * to be written.
 */
export function toCheckpoint(
  checkpoint: Checkpoint,
  values: readonly (ParamShape & { readonly data: ArrayLike<number> })[],
): Map<string, StoredTensor> {
  const tensors = new Map<string, { shape: readonly number[]; data: Float64Array }>();
  for (const value of values) {
    const placement = place(checkpoint, value);
    const sizes = isRouted(placement, value) ? value.sizes.slice(1) : value.sizes;
    const each = product(sizes);
    for (const [index, name] of placement.names.entries()) {
      const own = Array.prototype.slice.call(value.data, index * each, (index + 1) * each) as number[];
      const shape = checkpoint.shapeOf(name);
      const tensor = tensors.get(name) ?? { shape, data: new Float64Array(product(shape)) };
      tensors.set(name, tensor);
      putRows(tensor.data, permuted(own, sizes, placement.order), placement);
    }
  }
  return tensors;
}

function place(checkpoint: Checkpoint, param: ParamShape): Placement {
  const found = placeParam(param, (name) => (checkpoint.has(name) ? checkpoint.shapeOf(name) : undefined));
  if (!("tried" in found)) return found;
  const tried =
    found.tried.length === 0
      ? "its name is in no table"
      : `there is no ${found.tried.map((name) => `\`${name}\``).join(" and no ")}`;
  throw new CheckpointError(`the checkpoint does not have \`${param.path}\`: ${tried}`);
}

function isRouted({ order }: Placement, { sizes }: ParamShape): boolean {
  return order.length < sizes.length;
}

/** What of a tensor belongs to the param. */
function rowsOf({ data }: StoredTensor, { rows }: Placement): ArrayLike<number> {
  if (rows === undefined) return data;
  const width = data.length / (rows.heads * rows.of);
  const part: number[] = [];
  for (let head = 0; head < rows.heads; head++) {
    const start = head * rows.of;
    for (let i = (start + rows.from) * width; i < (start + rows.to) * width; i++) part.push(data[i]!);
  }
  return part;
}

function putRows(into: Float64Array, data: ArrayLike<number>, { rows }: Placement): void {
  if (rows === undefined) {
    into.set(data);
    return;
  }
  const width = into.length / (rows.heads * rows.of);
  const length = (rows.to - rows.from) * width;
  for (let head = 0; head < rows.heads; head++) {
    const start = (head * rows.of + rows.from) * width;
    for (let i = 0; i < length; i++) into[start + i] = data[head * length + i]!;
  }
}

/** The elements with the dims in another order. */
function permuted(data: ArrayLike<number>, sizes: readonly number[], order: readonly number[]): ArrayLike<number> {
  const strides = sizes.map((_, dim) => product(sizes.slice(dim + 1)));
  let offsets = [0];
  for (const dim of order) {
    offsets = offsets.flatMap((at) => Array.from({ length: sizes[dim]! }, (_, i) => at + i * strides[dim]!));
  }
  return offsets.map((at) => data[at]!);
}

function concatenate(parts: readonly ArrayLike<number>[]): Float64Array {
  const all = new Float64Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function product(sizes: readonly number[]): number {
  return sizes.reduce((a, b) => a * b, 1);
}
