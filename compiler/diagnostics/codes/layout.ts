import type { CodeEntry } from "./entry.ts";

/** Area 3 layout and memory. */
export const LAYOUT = {} satisfies Record<string, CodeEntry<never>>;
