/** A model gave NaN or an infinity where a number must be. */
export class LogitsError extends Error {
  override readonly name = "LogitsError";

  constructor() {
    super("the model gave logits that are no numbers");
  }
}
