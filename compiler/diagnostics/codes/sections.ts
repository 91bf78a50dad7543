import type { CodeEntry } from "./entry.ts";

/** Area 6 training and data, area 7 serving. */
export const SECTIONS = {} satisfies Record<string, CodeEntry<never>>;
