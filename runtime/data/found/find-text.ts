/** Real English text from the machine itself: enough to train a small model where nothing may be downloaded. */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { isUtf8 } from "node:buffer";
import { globSync } from "tinyglobby";
import { replaceFile } from "../../io/replace-file.ts";
import { paragraphsOf } from "./forms.ts";
import { type Place, places } from "./places.ts";
import { isProse } from "./prose.ts";

export interface FoundDocument {
  readonly text: string;
  /** The file that it was taken from. */
  readonly path: string;
}

export interface FoundText {
  readonly documents: readonly FoundDocument[];
  /** What was taken, by place. */
  readonly report: readonly {
    readonly place: string;
    readonly files: number;
    readonly documents: number;
    readonly bytes: number;
  }[];
  readonly bytes: number;
}

export interface FindOptions {
  /** Bytes of text that are enough. */
  readonly limit: number;
  /** Folders of npm packages. */
  readonly packages?: readonly string[];
  /** Where to look; the usual places when not given. */
  readonly places?: readonly Place[];
}

/** Larger files are data, not something to read. */
const LARGEST_FILE = 8 << 20;

/** A document has some paragraphs. */
const LEAST_DOCUMENT = 400;

/**
 * Prose from the usual places, place by place and file by file in the order of their paths, until there is enough. Each
 * paragraph is taken once.
 */
export function findText({ limit, packages = [], places: where = places(packages) }: FindOptions): FoundText {
  const seen = new Set<string>();
  const files = new Set<string>();
  const documents: FoundDocument[] = [];
  const report = new Map<string, { files: number; documents: number; bytes: number }>();
  let bytes = 0;
  for (const place of where) {
    const entry = report.get(place.name) ?? { files: 0, documents: 0, bytes: 0 };
    report.set(place.name, entry);
    for (const path of bytes < limit ? filesOf(place) : []) {
      if (bytes >= limit) break;
      const content = readText(path, files);
      if (content === undefined) continue;
      entry.files++;
      const prose = paragraphsOf(content, place.form).filter(
        (paragraph) => isProse(paragraph) && isNew(paragraph, seen),
      );
      const text = prose.join("\n\n");
      if (text.length < LEAST_DOCUMENT) continue;
      documents.push({ text: `${text}\n`, path });
      const size = Buffer.byteLength(text) + 1;
      entry.documents++;
      entry.bytes += size;
      bytes += size;
    }
  }
  const rows = [...report].map(([place, counts]) => ({ place, ...counts })).filter(({ documents: count }) => count > 0);
  return { documents, report: rows, bytes };
}

/** Writes found text as `found.jsonl` into a folder: data for `lines("FOLDER/*.jsonl")`. */
export function writeFoundText(folder: string, { documents }: FoundText): void {
  mkdirSync(folder, { recursive: true });
  replaceFile(join(folder, "found.jsonl"), documents.map((document) => `${JSON.stringify(document)}\n`).join(""));
}

function filesOf({ folder, files, not = [] }: Place): string[] {
  const options = { cwd: folder, absolute: true, expandDirectories: false, followSymbolicLinks: false };
  return globSync([...files], { ...options, ignore: [...not] }).toSorted((a, b) => (a < b ? -1 : 1));
}

function isNew(paragraph: string, seen: Set<string>): boolean {
  const key = createHash("md5")
    .update(paragraph.toLowerCase().replaceAll(/[^a-z]/g, ""))
    .digest("base64");
  if (seen.has(key)) return false;
  seen.add(key);
  return true;
}

/** Undefined for files that were read before, under this or another name, and for what is no UTF-8 text or cannot be read. */
function readText(path: string, files: Set<string>): string | undefined {
  try {
    const real = realpathSync(path);
    if (files.has(real) || statSync(real).size > LARGEST_FILE) return undefined;
    files.add(real);
    const raw = readFileSync(real);
    const bytes = raw[0] === 0x1f && raw[1] === 0x8b ? gunzipSync(raw) : raw;
    return isUtf8(bytes) && !bytes.includes(0) ? bytes.toString("utf8") : undefined;
  } catch {
    return undefined;
  }
}
