/** Whether files are what `format.ts` says: those of others may hold anything. */
import { named, shown } from "../../io/json.ts";
import { LARGEST_VOCABULARY } from "./merge.ts";

type Fields = Readonly<Record<string, unknown>>;

/** The models of the format; old files do not name theirs. */
const MODELS: readonly unknown[] = ["BPE", "WordPiece", "WordLevel", "Unigram", undefined];

/** What parts of the type `Sequence` hold their parts in. */
const SEQUENCES = {
  normalizer: "normalizers",
  pre_tokenizer: "pretokenizers",
  post_processor: "processors",
  decoder: "decoders",
};

/** @throws Error that names the file, the key and its value */
export function checkTokenizerFile(file: unknown): void {
  if (!isFields(file)) return fail("it is no object");
  const { model, added_tokens: added } = file;
  if (!isFields(model)) return fail(`model: ${shown(model)} is no object`);
  const { type, vocab } = model;
  if (!MODELS.includes(type)) return fail(`model.type: there is no model of type ${shown(type)}`);
  if (type === "Unigram") checkScores(vocab);
  else checkVocabulary(vocab);
  if (type === "BPE" || type === undefined) checkMerges(model["merges"]);
  if ((added ?? undefined) !== undefined) checkAdded(added);
  for (const [key, parts] of Object.entries(SEQUENCES)) checkPart(key, parts, file[key]);
}

function fail(why: string): never {
  throw new Error(`tokenizer.json: ${why}`);
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isToken(id: unknown): boolean {
  return Number.isSafeInteger(id) && (id as number) >= 0 && (id as number) < LARGEST_VOCABULARY;
}

function checkVocabulary(vocab: unknown): void {
  if (!isFields(vocab) || Object.keys(vocab).length === 0) return fail(`model.vocab: ${shown(vocab)} is no vocabulary`);
  const odd = Object.keys(vocab).find((text) => !isToken(vocab[text]));
  if (odd !== undefined) fail(`model.vocab: ${named(odd)} has ${shown(vocab[odd])}, which is no number of a token`);
}

/** Of Unigram: texts with their logarithmic probabilities. */
function checkScores(vocab: unknown): void {
  const sound = (item: unknown): boolean =>
    Array.isArray(item) && item.length === 2 && typeof item[0] === "string" && typeof item[1] === "number";
  if (!Array.isArray(vocab) || vocab.length === 0 || !vocab.every(sound))
    fail(`model.vocab: ${shown(vocab)} is no list of texts with their scores`);
}

function checkMerges(merges: unknown): void {
  if (!Array.isArray(merges)) return fail(`model.merges: ${shown(merges)} is no list`);
  const isPair = (merge: unknown): boolean =>
    typeof merge === "string"
      ? merge.split(" ").length === 2
      : Array.isArray(merge) && merge.length === 2 && merge.every((text) => typeof text === "string");
  const odd = merges.findIndex((merge) => !isPair(merge));
  if (odd >= 0) fail(`model.merges: merge ${odd + 1}, ${shown(merges[odd])}, is no pair of texts`);
}

function checkAdded(added: unknown): void {
  if (!Array.isArray(added)) return fail(`added_tokens: ${shown(added)} is no list`);
  for (const token of added as readonly unknown[]) {
    if (!isFields(token) || !isToken(token["id"]) || typeof token["content"] !== "string" || token["content"] === "")
      fail(`added_tokens: ${shown(token)} is no token: it needs an id and a content`);
  }
}

function checkPart(key: string, list: string, part: unknown): void {
  if (part === null || part === undefined) return;
  if (!isFields(part) || typeof part["type"] !== "string") return fail(`${key}: ${shown(part)} has no type`);
  if (part["type"] === "Split" && !isPattern(part["pattern"]))
    fail(`${key}: the pattern of Split is ${shown(part["pattern"])}`);
  if (part["type"] !== "Sequence") return;
  const parts = part[list];
  if (!Array.isArray(parts)) return fail(`${key}.${list}: ${shown(parts)} is no list`);
  for (const inner of parts as readonly unknown[]) {
    if (!isFields(inner)) fail(`${key}.${list}: ${shown(inner)} has no type`);
    checkPart(key, list, inner);
  }
}

function isPattern(pattern: unknown): boolean {
  return isFields(pattern) && (typeof pattern["Regex"] === "string" || typeof pattern["String"] === "string");
}

/** @throws Error that names the file, the key and its value */
export function checkConfigFile(config: unknown): void {
  const wrong = (why: string): never => {
    throw new Error(`tokenizer_config.json: ${why}`);
  };
  if (!isFields(config)) return wrong("it is no object");
  for (const key of ["bos_token", "eos_token"]) {
    const token = config[key] ?? undefined;
    const text = isFields(token) ? token["content"] : token;
    if (token !== undefined && typeof text !== "string") wrong(`${key}: ${shown(token)} is no token`);
  }
  const template = config["chat_template"] ?? undefined;
  if (template === undefined || typeof template === "string") return;
  const isNamed = (one: unknown): boolean =>
    isFields(one) && typeof one["name"] === "string" && typeof one["template"] === "string";
  if (!Array.isArray(template) || !template.every(isNamed))
    wrong(`chat_template: ${shown(template)} is neither a text nor a list of texts with names`);
}
