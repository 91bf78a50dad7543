import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

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

/** Where this installation has the chat page, from the sources and from the bundle alike. */
export function pageFolder(): string {
  for (let directory = dirname(fileURLToPath(import.meta.url)); ; directory = dirname(directory)) {
    const folder = join(directory, "runtime", "serve", "page");
    if (existsSync(folder)) return folder;
    if (directory === dirname(directory)) throw new Error("the installation has no runtime/serve/page");
  }
}
