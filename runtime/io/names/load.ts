import { named } from "../json.ts";
import { CheckpointError } from "../safetensors/format.ts";
import type { CheckpointTensors, StoredTensor } from "../safetensors/tensors.ts";
import { f32, type WrittenTensor } from "../safetensors/written.ts";
import { walk } from "./layout.ts";
import { type Param, resolveNames, type Stored } from "./resolve.ts";
import type { NameTable } from "./table.ts";

export interface LoadOptions {
  /** Parameters of look-ahead modules may be missing: models are often published without them. */
  readonly optional?: (param: Param) => boolean;
}

/**
 * Where a checkpoint has the parameters of a model: every one must be there with the exact shape, and every tensor of the
 * checkpoint must belong to one.
 * @throws CheckpointError that names all that is missing, has another shape or is left over
 */
export function locateParams(
  checkpoint: CheckpointTensors,
  table: NameTable,
  params: readonly Param[],
  { optional = () => false }: LoadOptions = {},
): { readonly tensor: StoredTensor; readonly parts: Stored["parts"] }[] {
  const { stored, unnamed } = resolveNames(table, params);
  if (unnamed.length > 0)
    throw new CheckpointError(`the name table does not know ${listed(unnamed.map((p) => p.path))}`);
  const found = stored.filter(({ name }) => checkpoint.has(name));
  const problems = [
    ...nameProblems(checkpoint, table, stored, optional),
    ...found.flatMap(({ name, shape }) => checkpoint.problemOf(name, shape) ?? integers(checkpoint.tensor(name)) ?? []),
  ];
  if (problems.length > 0) throw new CheckpointError(`${checkpoint.path}: ${problems.join("\n")}`);
  return found.map(({ name, parts }) => ({ tensor: checkpoint.tensor(name), parts }));
}

/**
 * Reads all parameters of a model, in its own order of dims.
 * @throws CheckpointError as `locateParams` does
 */
export function loadParams(
  checkpoint: CheckpointTensors,
  table: NameTable,
  params: readonly Param[],
  options: LoadOptions = {},
): Map<string, Float32Array> {
  const values = new Map<string, Float32Array>();
  for (const { tensor, parts } of locateParams(checkpoint, table, params, options)) {
    const data = tensor.read();
    for (const { param, first, shape: own, base, strides } of parts) {
      const into = values.get(param.path) ?? new Float32Array(param.shape.reduce((a, b) => a * b, 1));
      values.set(param.path, into);
      walk(own, base, strides, (at, from) => (into[first + at] = data[from]!));
    }
  }
  return values;
}

/** Numbers of a quantization that nobody has undone. */
function integers({ name, dtype }: StoredTensor): string | undefined {
  return /^[IU]\d|^BOOL$/.test(dtype) ? `tensor ${named(name)} is ${dtype}, weights are floats` : undefined;
}

function nameProblems(
  checkpoint: CheckpointTensors,
  table: NameTable,
  stored: readonly Stored[],
  optional: (param: Param) => boolean,
): string[] {
  const missing = stored.filter(({ name, parts }) => !checkpoint.has(name) && !parts.every((p) => optional(p.param)));
  const known = new Set(stored.map((s) => s.name));
  const ignored = table.ignore.map((pattern) => new RegExp(`^${pattern.split("*").map(escape).join(".*")}$`));
  const tied = !known.has("lm_head.weight") ? ["lm_head.weight"] : [];
  const left = checkpoint.names.filter(
    (name) => !known.has(name) && !tied.includes(name) && !ignored.some((p) => p.test(name)),
  );
  return [
    ...(missing.length > 0 ? [`there is no tensor ${listed(missing.map(({ name }) => name))}`] : []),
    ...(left.length > 0 ? [`the model has no place for ${listed(left)}`] : []),
  ];
}

/** Writes parameters, or their gradients, under the names and in the layout of the checkpoint. The inverse of `loadParams`. */
export function storeParams(
  table: NameTable,
  params: readonly Param[],
  values: ReadonlyMap<string, ArrayLike<number>>,
  prefix = "",
): WrittenTensor[] {
  const { stored, unnamed } = resolveNames(table, params);
  if (unnamed.length > 0)
    throw new CheckpointError(`the name table does not know ${listed(unnamed.map((p) => p.path))}`);
  return stored.map(({ name, shape, parts }) => {
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
    for (const { param, first, shape: own, base, strides } of parts) {
      const from = values.get(param.path);
      if (from === undefined) throw new CheckpointError(`there is no value for \`${param.path}\``);
      walk(own, base, strides, (at, into) => (data[into] = from[first + at]!));
    }
    return f32(`${prefix}${name}`, shape, data);
  });
}

function listed(names: readonly string[]): string {
  return names.map(named).join(", ");
}

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
