/** What a model cannot do, or was given and cannot use: the message says what to do about it. */
export class ModelError extends Error {
  override readonly name = "ModelError";
}
