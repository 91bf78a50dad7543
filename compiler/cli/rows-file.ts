/** `{"tokens": [[1, 2, 3], [4, 5]]}`: rows of tokens of any length. */
import { parseJson, shown } from "../../runtime/io/json.ts";
import { InputError, readSource } from "./io.ts";

/** @throws InputError when the file has another form, or a token is not in the vocabulary */
export function readRows(path: string, vocabulary: number): number[][] {
  const wrong = (why: string): InputError => new InputError(`\`${path}\` ${why}`);
  let value: unknown;
  try {
    value = parseJson(readSource(path).text);
  } catch (error) {
    if (error instanceof SyntaxError) throw wrong(`is no JSON: ${error.message}`);
    throw error;
  }
  const rows = (value as { tokens?: unknown } | null)?.tokens;
  const sound = Array.isArray(rows) && rows.length > 0 && rows.every((row) => Array.isArray(row) && row.length > 0);
  if (!sound) throw wrong('must hold `{"tokens": [[...], ...]}` with at least one row and no empty ones');
  for (const token of (rows as unknown[][]).flat()) {
    if (!Number.isSafeInteger(token) || (token as number) < 0 || (token as number) >= vocabulary) {
      throw wrong(`has the token ${shown(token)}; the model has tokens 0 to ${vocabulary - 1}`);
    }
  }
  return rows as number[][];
}
