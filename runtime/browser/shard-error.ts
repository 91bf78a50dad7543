/** A shard of weights that cannot be had, or is another one than its index says. The message begins with its name. */
export class ShardError extends Error {
  readonly shard: string;

  constructor(shard: string, why: string, options?: ErrorOptions) {
    super(`the shard \`${shard}\` ${why}`, options);
    this.shard = shard;
  }
}
