import { createHash } from "node:crypto";
import { closeSync, openSync, readFileSync, readSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { CheckpointError } from "../safetensors/format.ts";

/** What has the form of JSON. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** `state.json` of a checkpoint: where the training stood, and what its files must hold. */
export interface CheckpointState {
  readonly format: 1;
  /** Steps that are done. */
  readonly step: number;
  /** Whatever the trainer needs to go on: clocks, the place in the data, the hash of the plan. */
  readonly training: Json;
  readonly files: Readonly<Record<string, { readonly bytes: number; readonly sha256: string }>>;
}

export const STATE_FILE = "state.json";

/** The text of `state.json`, with a checksum of itself. */
export function stateText(state: CheckpointState): string {
  return `${JSON.stringify({ ...state, checksum: checksum(state) }, undefined, 2)}\n`;
}

/**
 * Reads `state.json` of a checkpoint and checks every file against it.
 * @throws CheckpointError that says what is wrong
 */
export function verifyCheckpoint(folder: string): CheckpointState {
  const fail = (why: string): never => {
    throw new CheckpointError(`${folder}: ${why}`);
  };
  let state: (CheckpointState & { readonly checksum?: string }) | undefined;
  try {
    state = JSON.parse(readFileSync(join(folder, STATE_FILE), "utf8")) as CheckpointState;
  } catch (error) {
    return fail(error instanceof SyntaxError ? `${STATE_FILE} is not JSON` : `${STATE_FILE} cannot be read`);
  }
  if (typeof state !== "object" || state === null) return fail(`${STATE_FILE} is not an object`);
  const { checksum: claimed, ...rest } = state;
  if (rest.format !== 1) return fail(`${STATE_FILE} has the format ${JSON.stringify(rest.format)}, not 1`);
  if (claimed !== checksum(rest)) return fail(`${STATE_FILE} does not match its checksum`);
  for (const [name, { bytes, sha256 }] of Object.entries(rest.files)) {
    const path = join(folder, basename(name));
    const found = statSync(path, { throwIfNoEntry: false })?.size;
    if (found === undefined) return fail(`${name} is missing`);
    if (found !== bytes) return fail(`${name} has ${found} bytes, not ${bytes}`);
    if (hashFile(path) !== sha256) return fail(`${name} does not match its checksum`);
  }
  return rest;
}

/** SHA-256 of a file, read in pieces. */
export function hashFile(path: string): string {
  const hash = createHash("sha256");
  const piece = new Uint8Array(1 << 22);
  const fd = openSync(path, "r");
  try {
    for (let got = readSync(fd, piece); got > 0; got = readSync(fd, piece)) hash.update(piece.subarray(0, got));
  } finally {
    closeSync(fd);
  }
  return hash.digest("hex");
}

function checksum(state: CheckpointState): string {
  return createHash("sha256").update(JSON.stringify(state)).digest("hex");
}
