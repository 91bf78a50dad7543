/** A file that is not what it claims to be. The message names the file and the tensor. */
export class CheckpointError extends Error {}
