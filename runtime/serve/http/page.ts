import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface PageFile {
  readonly type: string;
  readonly text: string;
}

const FILES = {
  "/": ["index.html", "text/html; charset=utf-8"],
  "/chat.css": ["chat.css", "text/css; charset=utf-8"],
  "/chat.js": ["chat.js", "text/javascript; charset=utf-8"],
} as const;

/** The chat page, from the folder that holds its files (`runtime/serve/page`). */
export function readPage(folder: string): Map<string, PageFile> {
  const files = Object.entries(FILES).map(([path, [file, type]]) => {
    return [path, { type, text: readFileSync(join(folder, file), "utf8") }] as const;
  });
  return new Map(files);
}
