import { CheckpointError } from "../safetensors/format.ts";
import type { Checkpoint, StoredTensor } from "../safetensors/read.ts";
import { f32, type WrittenTensor } from "../safetensors/write.ts";
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
 * @throws CheckpointError that names what is missing or left over
 */
export function locateParams(
  checkpoint: Checkpoint,
  table: NameTable,
  params: readonly Param[],
  { optional = () => false }: LoadOptions = {},
): { readonly tensor: StoredTensor; readonly parts: Stored["parts"] }[] {
  const { stored, unnamed } = resolveNames(table, params);
  if (unnamed.length > 0)
    throw new CheckpointError(`the name table does not know ${listed(unnamed.map((p) => p.path))}`);
  checkNames(checkpoint, table, stored, optional);
  return stored
    .filter(({ name }) => checkpoint.has(name))
    .map(({ name, shape, parts }) => {
      const tensor = checkpoint.tensor(name);
      if (tensor.shape.join() !== shape.join()) {
        throw new CheckpointError(
          `${checkpoint.path}: tensor \`${name}\` has the shape [${tensor.shape.join(", ")}], the model needs [${shape.join(", ")}]`,
        );
      }
      return { tensor, parts };
    });
}

/**
 * Reads all parameters of a model, in its own order of dims.
 * @throws CheckpointError as `locateParams` does
 */
export function loadParams(
  checkpoint: Checkpoint,
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

function checkNames(
  checkpoint: Checkpoint,
  table: NameTable,
  stored: readonly Stored[],
  optional: (param: Param) => boolean,
): void {
  const missing = stored.filter(({ name, parts }) => !checkpoint.has(name) && !parts.every((p) => optional(p.param)));
  if (missing.length > 0)
    throw new CheckpointError(`${checkpoint.path}: there is no tensor ${listed(missing.map((s) => s.name))}`);
  const known = new Set(stored.map((s) => s.name));
  const ignored = table.ignore.map((pattern) => new RegExp(`^${pattern.split("*").map(escape).join(".*")}$`));
  const tied = !known.has("lm_head.weight") ? ["lm_head.weight"] : [];
  const left = checkpoint.names.filter(
    (name) => !known.has(name) && !tied.includes(name) && !ignored.some((p) => p.test(name)),
  );
  if (left.length > 0) throw new CheckpointError(`${checkpoint.path}: the model has no place for ${listed(left)}`);
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

/** `a`, `b`, `c` and 4 more. */
function listed(names: readonly string[]): string {
  const shown = names
    .slice(0, 3)
    .map((n) => `\`${n}\``)
    .join(", ");
  return names.length > 3 ? `${shown} and ${names.length - 3} more` : shown;
}

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
