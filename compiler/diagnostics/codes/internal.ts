import { error } from "./entry.ts";

/** Area 9: a bug in dskc, never the user's mistake. */
export const INTERNAL = {
  DSK9001: error("internal-error", (p: { what: string }) => `dskc made a mistake: ${p.what}`),
};
