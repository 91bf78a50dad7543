import { CheckpointError } from "../safetensors/format.ts";
import type { Checkpoint } from "../safetensors/read.ts";
import { type LoadOptions, loadParams } from "./load.ts";
import type { Param } from "./resolve.ts";
import type { NameTable } from "./table.ts";

/**
 * The params and states of a model, in their own order of dims, from a checkpoint whose tensors are called like them, as
 * those of trainings are, or as the table says.
 * @throws CheckpointError that names all that is missing, has another shape or is left over
 */
export function readParams(
  checkpoint: Checkpoint,
  table: NameTable | undefined,
  params: readonly Param[],
  options: LoadOptions = {},
): ReadonlyMap<string, ArrayLike<number>> {
  if (params.some(({ path }) => checkpoint.has(path))) return ownParams(checkpoint, params);
  if (table !== undefined) return loadParams(checkpoint, table, params, options);
  throw new CheckpointError(
    `${checkpoint.path}: its tensors are not called like the params of the model, which does not say what checkpoints call them: \`checkpoint = std.hf.deepseek\``,
  );
}

function ownParams(checkpoint: Checkpoint, params: readonly Param[]): Map<string, ArrayLike<number>> {
  const known = new Set(params.map(({ path }) => path));
  const left = checkpoint.names.filter((name) => !known.has(name));
  const problems = [
    ...params.flatMap(({ path, shape }) => {
      if (!checkpoint.has(path)) return [`there is no tensor \`${path}\``];
      const own = checkpoint.tensor(path).shape;
      if (own.join() === shape.join()) return [];
      return [`tensor \`${path}\` has the shape [${own.join(", ")}], the model needs [${shape.join(", ")}]`];
    }),
    ...(left.length > 0 ? [`the model has no place for ${left.map((name) => `\`${name}\``).join(", ")}`] : []),
  ];
  if (problems.length > 0) throw new CheckpointError(`${checkpoint.path}: ${problems.join("\n")}`);
  return new Map(params.map(({ path }) => [path, checkpoint.tensor(path).read()]));
}
