/** Which files weights are in, and what each must hold: for whoever fetches them. */

/** The file beside the shards that says it. */
export const SHARD_INDEX = "shards.json";

export interface Shard {
  /** Its name, without any folder. */
  readonly file: string;
  readonly bytes: number;
  /** In hexadecimal digits. */
  readonly sha256: string;
}

export interface ShardIndex {
  readonly format: 1;
  readonly shards: readonly Shard[];
}
