/** What the readers of the parts hand to the writer of the text. */

/** A dim of the model, with the words behind it. */
export interface Dim {
  readonly name: string;
  /** A size, or an expression over the dims before it. */
  readonly size: number | string;
  readonly doc?: string;
}

/** The attention of a model. */
export interface AttentionPlan {
  readonly dims: readonly Dim[];
  /** The text of the block of a layer. */
  readonly mixer: (layer: number) => string;
  /** The declaration of a block that the standard library does not have. */
  readonly declaration?: string;
}

/** The feed-forward networks of a model: the text of the block of a layer. */
export type FfnPlan = (layer: number) => string;
