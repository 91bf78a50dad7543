import { named } from "../json.ts";
import { CheckpointError, type DType } from "../safetensors/format.ts";
import type { StoredCodes } from "../safetensors/quantized-metadata.ts";
import type { CheckpointTensors, StoredTensor } from "../safetensors/tensors.ts";
import { walk } from "./layout.ts";
import { type LoadOptions, locateParams } from "./load.ts";
import type { Param, Part } from "./resolve.ts";
import type { NameTable } from "./table.ts";

/** What is being done to weights that may take long, and for how many tensors of all it is done. */
export type WeightsListener = (what: string, done: number, all: number) => void;

/** A param or state of a model in a checkpoint. */
export interface FoundParam {
  /** Where its elements lie one after the other in its own order of dims; undefined where they do not. */
  readonly place: { readonly file: string; readonly offset: number; readonly dtype: DType } | undefined;
  /** Where it lies as codes and scales, in its own order of dims as well. */
  readonly codes?: FoundCodes | undefined;
  /** Its elements in its own order of dims. */
  readonly read: () => ArrayLike<number>;
}

export interface FoundCodes extends StoredCodes {
  readonly file: string;
  readonly offset: number;
  readonly scale: { readonly file: string; readonly offset: number };
}

/**
 * Finds the params and states of a model in a checkpoint whose tensors are called like them, as those of trainings are, or as
 * the table says. Nothing is read yet.
 * @throws CheckpointError that names all that is missing, has another shape or is left over
 */
export function findParams(
  checkpoint: CheckpointTensors,
  table: NameTable | undefined,
  params: readonly Param[],
  options: LoadOptions = {},
): ReadonlyMap<string, FoundParam> {
  if (params.some(({ path }) => checkpoint.has(path))) return ownParams(checkpoint, params, options);
  if (table !== undefined) return namedParams(checkpoint, table, params, options);
  throw new CheckpointError(
    `${checkpoint.path}: its tensors are not called like the params of the model, which does not say what checkpoints call them: \`checkpoint = std.hf.deepseek\``,
  );
}

/** The values of all params and states. @throws CheckpointError as `findParams` does */
export function readParams(
  checkpoint: CheckpointTensors,
  table: NameTable | undefined,
  params: readonly Param[],
  options: LoadOptions & { readonly listen?: WeightsListener } = {},
): ReadonlyMap<string, ArrayLike<number>> {
  const found = [...findParams(checkpoint, table, params, options)];
  return new Map(
    found.map(([path, { read }], i) => {
      const values = read();
      options.listen?.("reading weights", i + 1, found.length);
      return [path, values];
    }),
  );
}

function ownParams(
  checkpoint: CheckpointTensors,
  params: readonly Param[],
  { optional = () => false }: LoadOptions,
): Map<string, FoundParam> {
  const known = new Set(params.map(({ path }) => path));
  const left = checkpoint.names.filter((name) => !known.has(name));
  const problems = [
    ...params.flatMap((param) => {
      const { path, shape } = param;
      if (!checkpoint.has(path)) return optional(param) ? [] : [`there is no tensor \`${path}\``];
      return checkpoint.problemOf(path, shape) ?? [];
    }),
    ...(left.length > 0 ? [`the model has no place for ${left.map(named).join(", ")}`] : []),
  ];
  if (problems.length > 0) throw new CheckpointError(`${checkpoint.path}: ${problems.join("\n")}`);
  return new Map(
    params
      .filter(({ path }) => checkpoint.has(path))
      .map(({ path }) => {
        const tensor = checkpoint.tensor(path);
        return [path, { place: placeOf(tensor), codes: codesOf(tensor), read: () => tensor.read() }];
      }),
  );
}

function namedParams(
  checkpoint: CheckpointTensors,
  table: NameTable,
  params: readonly Param[],
  options: LoadOptions,
): Map<string, FoundParam> {
  const pieces = new Map<Param, { readonly tensor: StoredTensor; readonly part: Part }[]>();
  for (const { tensor, parts } of locateParams(checkpoint, table, params, options)) {
    for (const part of parts) {
      const own = pieces.get(part.param) ?? [];
      if (own.length === 0) pieces.set(part.param, own);
      own.push({ tensor, part });
    }
  }
  // Params that share a tensor follow each other: it is decoded once for them.
  let last: { readonly name: string; readonly data: ArrayLike<number> } | undefined;
  const dataOf = (tensor: StoredTensor): ArrayLike<number> => {
    if (last?.name !== tensor.name) last = { name: tensor.name, data: tensor.read() };
    return last.data;
  };
  return new Map(
    [...pieces].map(([param, own]) => {
      const whole = own.length === 1 && isWhole(own[0]!.part) ? own[0]!.tensor : undefined;
      const read = (): Float32Array => {
        const values = new Float32Array(param.shape.reduce((a, b) => a * b, 1));
        for (const { tensor, part } of own) {
          const data = dataOf(tensor);
          walk(part.shape, part.base, part.strides, (at, from) => (values[part.first + at] = data[from]!));
        }
        return values;
      };
      return [param.path, { place: whole && placeOf(whole), read }];
    }),
  );
}

/** Whether a stored tensor is the param, element by element. */
function isWhole({ param, first, base, shape, strides }: Part): boolean {
  if (first !== 0 || base !== 0 || shape.join() !== param.shape.join()) return false;
  let stride = 1;
  return shape.toReversed().every((size, i) => {
    const fits = size === 1 || strides[shape.length - 1 - i] === stride;
    stride *= size;
    return fits;
  });
}

function codesOf({ place, scales, quantized }: StoredTensor): FoundCodes | undefined {
  return quantized && { ...quantized, ...place, scale: scales!.place };
}

function placeOf({ place, dtype, scales }: StoredTensor): FoundParam["place"] {
  return scales === undefined ? { ...place, dtype } : undefined;
}
