/** Tokenizers in folders: `tokenizer.json`, `tokenizer_config.json` and, in some, `chat_template.jinja`. */
import { existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseJson } from "../../io/json.ts";
import { isSystemError, reasonOf } from "../../io/reason.ts";
import { replaceFile } from "../../io/replace-file.ts";
import { createTokenizer } from "./create.ts";
import type { TokenizerConfig, TokenizerJson } from "./format.ts";
import type { TokenizerFiles } from "./new-tokenizer.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** The files of a tokenizer that there may be, the one that must be the last: who copies them in order leaves a whole one or none. */
export const TOKENIZER_FILES = ["tokenizer_config.json", "chat_template.jinja", "tokenizer.json"] as const;

/** @throws Error with the path of a file that cannot be read or is no tokenizer */
export function loadTokenizer(folder: string): Tokenizer {
  const path = join(folder, "tokenizer.json");
  const tokenizer = readJson<TokenizerJson>(path);
  if (tokenizer === undefined) throw new Error(`there is no ${path}`);
  const config = readJson<TokenizerConfig>(join(folder, "tokenizer_config.json")) ?? {};
  const template = readText(join(folder, "chat_template.jinja"));
  try {
    return createTokenizer(tokenizer, template === undefined ? config : { ...config, chat_template: template });
  } catch (error) {
    throw new Error(`${folder} holds no tokenizer: ${(error as Error).message}`, { cause: error });
  }
}

/** The folder with the tokenizer of some weights: a run, a checkpoint or one file of it. Undefined where there is none. */
export function tokenizerBeside(weights: string | undefined): string | undefined {
  if (weights === undefined || !existsSync(weights)) return undefined;
  const folder = statSync(weights).isDirectory() ? weights : dirname(weights);
  return existsSync(join(folder, "tokenizer.json")) ? folder : undefined;
}

/** The files of a tokenizer, each written aside and renamed. */
export function saveTokenizer(folder: string, { tokenizer, config }: TokenizerFiles): void {
  mkdirSync(folder, { recursive: true });
  replaceFile(join(folder, "tokenizer_config.json"), `${JSON.stringify(config, undefined, 2)}\n`);
  replaceFile(join(folder, "tokenizer.json"), `${JSON.stringify(tokenizer, undefined, 1)}\n`);
}

function readText(path: string): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(readFileSync(path));
  } catch (error) {
    if (!isSystemError(error)) throw new Error(`${path} is not UTF-8 text`, { cause: error });
    if (error.code === "ENOENT") return undefined;
    throw new Error(`${path}: ${reasonOf(error)}`, { cause: error });
  }
}

function readJson<T>(path: string): T | undefined {
  const text = readText(path);
  if (text === undefined) return undefined;
  try {
    return parseJson(text) as T;
  } catch (error) {
    throw new Error(`${path}: ${(error as Error).message}`, { cause: error });
  }
}
