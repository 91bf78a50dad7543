import type { CodeEntry } from "./entry.ts";

/** Area 5 code generation and targets. */
export const TARGETS = {} satisfies Record<string, CodeEntry<never>>;
