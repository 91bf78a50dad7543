import { loadTokenizer, tokenizerBeside } from "../data/tokenizer/load.ts";
import { weightsFolder } from "../io/checkpoints/find.ts";
import { Checkpoint } from "../io/safetensors/read.ts";
import { writeCheckpoint } from "../io/safetensors/shards.ts";
import type { ModelFiles } from "./source.ts";

/** Paths of the file system: of a run, a folder or a file. */
export const FILES: ModelFiles = {
  checkpoint: (path) => new Checkpoint(weightsFolder(path)),
  tokenizer: loadTokenizer,
  tokenizerBeside,
  save: writeCheckpoint,
};
