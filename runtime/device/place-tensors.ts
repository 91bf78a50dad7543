import { findParams, type FoundParam, type WeightsListener } from "../io/names/read-params.ts";
import type { CheckpointTensors } from "../io/safetensors/tensors.ts";
import { STORAGE_BYTES } from "../program/launch.ts";
import type { ModelFile } from "../program/model.ts";
import { STORED } from "./elements.ts";
import type { Session, StoreSpec } from "./session.ts";
import { codeType, storedElements } from "./stored-elements.ts";

/** Where elements lie in a file, in the storage type of the store. */
export interface FilePlace {
  readonly file: string;
  /** Of the first byte. */
  readonly offset: number;
}

/** The weights of a checkpoint as a session can take them. */
export interface PlacedWeights {
  /** Stores whose elements lie in a file as the device wants them: it may map them. */
  readonly mapped: Readonly<Record<string, FilePlace>>;
  /** Writes the stores of the session that are not mapped, or all of them. */
  write(session: Session, those: "all" | "unmapped", listen?: WeightsListener): void;
}

/**
 * Finds the weights of a model in a checkpoint whose tensors have the names of the stores, or one of Hugging Face when the model
 * has a name table. Look-ahead modules that a published checkpoint lacks, and
 * what an optimizer keeps, are left out.
 * @throws CheckpointError that names all tensors that are missing, have another shape or belong to nothing
 */
export function placeTensors(
  specs: readonly StoreSpec[],
  model: ModelFile,
  checkpoint: CheckpointTensors,
): PlacedWeights {
  const stores = model.stores.filter(({ blocks }) => blocks !== undefined);
  const params = stores.map(({ name, shape, blocks = [] }) => ({ path: name, shape, blocks }));
  const ahead = new Set(stores.flatMap((store) => (store.ahead ? store.name : [])));
  const found = findParams(checkpoint, model.names, params, {
    optional: (param) => ahead.has(param.path),
  });
  const mapped = specs.flatMap((spec) => placesOf(spec, found.get(spec.name)));
  const isMapped = new Set(mapped.map(([name]) => name));
  return {
    mapped: Object.fromEntries(mapped),
    write: (session, those, listen) => {
      const stores = new Map(session.stores.map((spec) => [spec.name, spec]));
      // A session without training has no look-ahead modules.
      const wanted = [...found].filter(([name]) => stores.has(name) && (those === "all" || !isMapped.has(name)));
      for (const [i, [name, { read }]] of wanted.entries()) {
        for (const [store, elements] of storedElements(stores.get(name)!, read())) session.write(store, elements);
        listen?.("reading weights", i + 1, wanted.length);
      }
    },
  };
}

/** Where the elements of a store lie as it wants them; those of codes with their scales. */
function placesOf(spec: StoreSpec, found: FoundParam | undefined): [string, FilePlace][] {
  const { name, dtype, quantized } = spec;
  if (quantized === undefined) {
    const place = found?.place;
    if (place?.dtype !== STORED[dtype] || place.offset % STORAGE_BYTES[dtype] !== 0) return [];
    return [[name, { file: place.file, offset: place.offset }]];
  }
  const codes = found?.codes;
  const same = codes?.dtype === codeType(spec) && codes?.dim === quantized.dim && codes?.group === quantized.group;
  if (codes === undefined || !same || codes.scale.offset % STORAGE_BYTES.bf16 !== 0) return [];
  return [
    [name, { file: codes.file, offset: codes.offset }],
    [quantized.scales, codes.scale],
  ];
}
