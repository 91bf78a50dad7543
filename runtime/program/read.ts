import { readFileSync } from "node:fs";
import { z } from "zod";
import { type LaunchProgram, type PackagePrograms, STORAGE_BYTES, type StorageType } from "./launch.ts";

const size = z.number().int().nonnegative();
const extent = z.union([size, z.string()]);

const schema = z.object({
  format: z.literal(1),
  programs: z.array(
    z.object({
      name: z.string(),
      dims: z.array(z.string()),
      buffers: z.array(
        z.object({
          kind: z.enum(["input", "param", "state", "cache", "output", "temp"]),
          name: z.string(),
          dtype: z.enum(Object.keys(STORAGE_BYTES) as [StorageType, ...StorageType[]]),
          shape: z.array(extent),
          quantized: z.object({ scales: z.string(), dim: size, group: z.number().int().positive() }).optional(),
          block: size.optional(),
        }),
      ),
      launches: z.array(
        z.object({
          kernel: z.string(),
          args: z.array(size),
          extents: z.array(extent),
          note: z.string().optional(),
          at: z.string().optional(),
        }),
      ),
      blocks: z.array(z.object({ dim: z.string(), rows: size, first: size, count: size })).optional(),
      together: z.array(z.object({ first: size, count: size })).optional(),
    }),
  ),
});

/**
 * Reads the programs of a package. That indices and kernels are there is checked by the device that loads them.
 * @throws Error that names the file and the place in it
 */
export function readPrograms(file: string): readonly LaunchProgram[] {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    throw new Error(`${file}: ${(error as Error).message}`, { cause: error });
  }
  const { data, error } = schema.safeParse(json);
  if (error !== undefined) {
    const [issue] = error.issues;
    throw new Error(`${file}: ${z.core.toDotPath(issue!.path)}: ${issue!.message}`);
  }
  const { programs } = data as PackagePrograms;
  const names = programs.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new Error(`${file}: there are two programs ${twice}`);
  return programs;
}
