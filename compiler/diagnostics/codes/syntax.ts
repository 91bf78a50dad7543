import type { CodeEntry } from "./entry.ts";

/** Area 0: syntax. */
export const SYNTAX = {} satisfies Record<string, CodeEntry<never>>;
