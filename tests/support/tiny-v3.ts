import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import { storesOf } from "../../compiler/model-ir/places.ts";
import { type ReferenceOptions, referenceSession, type ReferenceTraining } from "../../compiler/reference/session.ts";
import { checkFile, type CheckedModel } from "../../dsl/semantics/check.ts";
import type { Session } from "../../runtime/device/session.ts";
import { loadParams } from "../../runtime/io/names/load.ts";
import { readTable } from "../../runtime/io/names/table.ts";
import { Checkpoint } from "../../runtime/io/safetensors/read.ts";

const fixtures = resolve(import.meta.dirname, "../fixtures");

/** DeepSeek-V3 in miniature with one look-ahead module: 160 tokens, 3 layers. */
export function tinyV3(): CheckedModel {
  const path = join(fixtures, "deepseek-v3-tiny.dsk");
  return checkFile({ path, text: readFileSync(path, "utf8") }, new Diagnostics()).models.get("TinyV3")!;
}

/** The model on the interpreter, with the weights of the fixtures a1 and e1. */
export function tinyV3Session(
  { module }: CheckedModel,
  training?: ReferenceTraining,
  options?: ReferenceOptions,
): Session {
  const session = referenceSession(module, training, options);
  const table = readTable(resolve(import.meta.dirname, "../../dsl/std/hf"), "deepseek");
  const params = storesOf(module.root)
    .filter(({ store }) => store.kind !== "cache")
    .map(({ path, type, place }) => ({
      path,
      shape: type.dims.map((label) => module.dims.get(label)!),
      blocks: place.block.names,
    }));
  for (const file of ["a1_v3_plain/model.safetensors", "e1_v3_mtp/mtp.safetensors"]) {
    const checkpoint = new Checkpoint(join(fixtures, "models", file));
    const values = loadParams(checkpoint, table, params, { optional: () => true });
    for (const [path, data] of values) session.write(path, data);
  }
  return session;
}
