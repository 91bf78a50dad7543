/** A model of a spec on the CPU: its weights for others, and as one side of a comparison. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tableOf } from "../../compiler/cli/name-table.ts";
import { openOnCpu } from "../../compiler/cli/open-session.ts";
import { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import { exportConfig } from "../../compiler/export/export.ts";
import { modelFile } from "../../compiler/package/model.ts";
import { servingPrograms } from "../../compiler/package/programs.ts";
import { checkFile } from "../../dsl/semantics/check.ts";
import type { CpuSession } from "../../runtime/device/cpu/session.ts";
import { decode } from "../../runtime/io/safetensors/numbers.ts";
import { storeParams } from "../../runtime/io/names/load.ts";
import { writeSafetensors } from "../../runtime/io/safetensors/write.ts";
import { inputsOf } from "../../runtime/serve/engine/call.ts";
import type { Sequence } from "../../runtime/serve/engine/sequence.ts";
import { initialize } from "../../runtime/train/init.ts";
import { biases } from "./biases.ts";
import type { Generator, Piece } from "./generator.ts";

export type ModelDtype = "f32" | "bf16";

/** A session with weights drawn at random, the same for all who ask. */
export async function openModel(
  spec: string,
  dtype: ModelDtype,
  options: { readonly threads: number; readonly cacheRows: number; readonly profile?: boolean },
): Promise<{ readonly session: CpuSession; readonly save: (folder: string) => void }> {
  const text = readFileSync(spec, "utf8").replace(/(?<=dtype\s+= )f32/, dtype);
  const [checked] = checkFile({ path: spec, text }, new Diagnostics()).models.values();
  const { module } = checked!;
  const model = modelFile(module, tableOf(module));
  const session = await openOnCpu({ programs: servingPrograms(module), model }, options);
  initialize(session, model, 1);
  biases(session);
  const save = (folder: string): void => {
    mkdirSync(folder, { recursive: true });
    const stores = model.stores.map(({ name, shape, blocks = [] }) => ({ path: name, shape, blocks }));
    const values = new Map(session.stores.map(({ name }) => [name, Float32Array.from(valuesOf(session, name))]));
    writeSafetensors(join(folder, "model.safetensors"), storeParams(model.names!, stores, values));
    writeFileSync(join(folder, "config.json"), JSON.stringify(exportConfig(checked!)));
  };
  return { session, save };
}

function valuesOf(session: CpuSession, name: string): ArrayLike<number> {
  const elements = session.read(name);
  return elements instanceof Uint16Array ? decode(new Uint8Array(elements.buffer), "BF16") : (elements as Float32Array);
}

/** Calls as the engine makes them, without it: row `p` of sequence `s` of the caches is `s * context + p`. */
export function oursAs(session: CpuSession, context: number): Generator {
  let last: Float32Array = new Float32Array();
  let count = 0;
  return {
    read: async (pieces: readonly Piece[]) => {
      const parts = pieces.map(({ sequence, from, tokens }) => ({
        sequence: {
          rows: Int32Array.from({ length: from + tokens.length }, (_, p) => sequence * context + p),
        } as Sequence,
        from,
        tokens,
        wanted: 1,
        samples: true,
      }));
      const program = pieces.every(({ tokens }) => tokens.length === 1) ? "decode" : "prefill";
      const { logits } = await session.run({ program, ...inputsOf(parts), outputs: ["logits"] });
      last = logits as Float32Array;
      count = pieces.length;
    },
    logits: async () => {
      const size = last.length / count;
      return Array.from({ length: count }, (_, i) => last.slice(i * size, (i + 1) * size));
    },
    close: async () => session.close(),
  };
}
