/** Files with a JSON object on each line. */
import { chunksOf } from "../files.ts";
import { BadFile } from "./text.ts";
import { whyNoText } from "./utf8.ts";

export interface JsonLine {
  readonly value: Readonly<Record<string, unknown>>;
  /** `line 3 (byte 120)` */
  readonly place: string;
}

/**
 * The objects of a file; empty lines are passed over.
 * @param problem told what a line is that is no JSON object; the lines behind it are still read
 * @throws BadFile for binary data and what is no UTF-8
 */
export function* readJsonLines(path: string, problem: (text: string) => void): Generator<JsonLine> {
  let number = 0;
  for (const { bytes, at } of linesOf(path)) {
    number++;
    const why = whyNoText(bytes, at);
    if (why !== undefined) throw new BadFile(why);
    const text = bytes.toString("utf8");
    if (text.trim() === "") continue;
    const place = `line ${number} (byte ${at})`;
    const value = parse(number === 1 ? text.replace(/^\uFEFF/, "") : text);
    if (typeof value === "string") problem(`${place}: ${value}`);
    else yield { value, place };
  }
}

/** An object, or what is wrong. */
function parse(text: string): Readonly<Record<string, unknown>> | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return `it is no JSON: ${(error as Error).message}`;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return "it is no JSON object";
  return value as Record<string, unknown>;
}

function* linesOf(path: string): Generator<{ readonly bytes: Buffer; readonly at: number }> {
  let [parts, start]: [Buffer[], number] = [[], 0];
  for (const { bytes, at } of chunksOf(path)) {
    let from = 0;
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, from)) {
      yield { bytes: Buffer.concat([...parts, bytes.subarray(from, end)]), at: start };
      from = end + 1;
      [parts, start] = [[], at + from];
    }
    if (from < bytes.length) parts.push(Buffer.from(bytes.subarray(from)));
  }
  if (parts.length > 0) yield { bytes: Buffer.concat(parts), at: start };
}
