import { bytesOf, filesOf, sizeOf } from "./files.ts";
import { CheckpointTensors, headerBytes } from "./tensors.ts";

/** The tensors of a file, or of the files of a directory. */
export class Checkpoint extends CheckpointTensors {
  /**
   * Opens `model.safetensors`, the shards of `model.safetensors.index.json`, or one file.
   * @throws CheckpointError for anything that is not exactly what it claims to be
   */
  constructor(path: string) {
    super(path, { ...filesOf(path), sizeOf, bytesOf });
  }
}

/** The length and the text that a file begins with. @throws CheckpointError when there is not so much */
export function headerOf(file: string): Uint8Array {
  return headerBytes({ sizeOf, bytesOf }, file);
}
