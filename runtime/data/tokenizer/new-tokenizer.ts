/** A tokenizer of our own: learned from text, in the files of Hugging Face. */
import { ALPHABET, spell } from "./byte-alphabet.ts";
import type { AddedToken, TokenizerConfig, TokenizerJson } from "./format.ts";
import { trainBpe } from "./train-bpe.ts";

/**
 * Where words begin and end: that of Llama 3 and GPT-4 (`cl100k_base`), without inline flags. A word is letters with at most
 * one other character before them, three digits at most, punctuation, or white space; English contractions are apart.
 */
export const WORDS =
  "'(?:[sdmtSDMT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** Tokens beside those of text, with the numbers 0, 1, ...; those that are not special show in decoded text. */
const MARKS: readonly { readonly content: string; readonly special: boolean }[] = [
  { content: "<|bos|>", special: true },
  { content: "<|eos|>", special: true },
  { content: "<|system|>", special: true },
  { content: "<|user|>", special: true },
  { content: "<|assistant|>", special: true },
  { content: "<|fim_begin|>", special: true },
  { content: "<|fim_hole|>", special: true },
  { content: "<|fim_end|>", special: true },
  { content: "<think>", special: false },
  { content: "</think>", special: false },
];

/** The smallest vocabulary: every byte and every mark. */
export const LEAST_VOCABULARY = ALPHABET.length + MARKS.length;

/** A turn is the mark of its role and its text; an answer ends with `<|eos|>`. */
const CHAT_TEMPLATE = [
  "{{- bos_token -}}",
  "{%- for message in messages -%}",
  "{%- if message.role not in ['system', 'user', 'assistant'] -%}",
  "{{- raise_exception('there is no role ' ~ message.role) -}}",
  "{%- endif -%}",
  "{{- '<|' ~ message.role ~ '|>' ~ message.content -}}",
  "{%- if message.role == 'assistant' -%}{{- eos_token -}}{%- endif -%}",
  "{%- endfor -%}",
  "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}",
].join("");

export interface TokenizerFiles {
  readonly tokenizer: TokenizerJson;
  readonly config: TokenizerConfig;
}

/**
 * Learns a byte-level BPE vocabulary of at most `size` tokens, marks included; it is smaller when the texts have fewer pairs
 * that occur twice. Equal texts give equal files, whatever their order.
 * @throws RangeError when `size` has no room for every byte and mark
 */
export function trainTokenizer(texts: Iterable<string>, size: number): TokenizerFiles {
  if (size < LEAST_VOCABULARY) {
    throw new RangeError(`a vocabulary of ${size} is too small: bytes and marks alone are ${LEAST_VOCABULARY}`);
  }
  const words = new RegExp(WORDS, "gu");
  const { merges } = trainBpe(texts, (text) => text.match(words) ?? [], size - LEAST_VOCABULARY);
  const names = ALPHABET.map((byte) => spell(Uint8Array.of(byte)));
  const joined = merges.map(([left, right]) => {
    const pair = `${names[left]!} ${names[right]!}`;
    names.push(names[left]! + names[right]!);
    return pair;
  });
  return { tokenizer: tokenizerJson(names, joined), config: CONFIG };
}

function tokenizerJson(names: readonly string[], merges: readonly string[]): TokenizerJson {
  const added = MARKS.map(({ content, special }, id): AddedToken => {
    return { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special };
  });
  const sequence = (id: string): object => ({ Sequence: { id, type_id: 0 } });
  const bos = { SpecialToken: { id: "<|bos|>", type_id: 0 } };
  const file = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: WORDS }, behavior: "Isolated", invert: false },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: {
      type: "TemplateProcessing",
      single: [bos, sequence("A")],
      pair: [bos, sequence("A"), bos, sequence("B")],
      special_tokens: { "<|bos|>": { id: "<|bos|>", ids: [0], tokens: ["<|bos|>"] } },
    },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries([
        ...MARKS.map(({ content }, id) => [content, id] as const),
        ...names.map((name, i) => [name, MARKS.length + i] as const),
      ]),
      merges,
    },
  };
  return file;
}

const CONFIG: TokenizerConfig = {
  tokenizer_class: "PreTrainedTokenizerFast",
  bos_token: "<|bos|>",
  eos_token: "<|eos|>",
  pad_token: "<|eos|>",
  clean_up_tokenization_spaces: false,
  chat_template: CHAT_TEMPLATE,
};
