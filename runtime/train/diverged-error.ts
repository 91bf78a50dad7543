/** A loss, the norm of the gradient or a weight became NaN or infinite. */
export class DivergedError extends Error {}
