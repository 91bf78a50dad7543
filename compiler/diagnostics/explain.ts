/** The long story of a code: its page under docs/errors. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { CODES, isCode, type Code } from "./codes.ts";

/** The code of `DSK1203`, `dsk1203`, `1203` or `dim-mismatch`. */
export function findCode(text: string): Code | undefined {
  const upper = text.toUpperCase();
  for (const code of [upper, `DSK${upper}`]) if (isCode(code)) return code;
  return (Object.keys(CODES) as Code[]).find((code) => CODES[code].name === text.toLowerCase());
}

/** The page of a code, as Markdown. */
export function explain(code: Code, pages: string): string {
  return readFileSync(join(pages, `${code}.md`), "utf8");
}
