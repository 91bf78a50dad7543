import { createTokenizer } from "../../runtime/data/tokenizer/create.ts";
import type { AddedToken } from "../../runtime/data/tokenizer/format.ts";
import type { TokenizerFiles } from "../../runtime/data/tokenizer/new-tokenizer.ts";
import type { Tokenizer } from "../../runtime/data/tokenizer/tokenizer.ts";
import { spell } from "../../runtime/data/tokenizer/byte-alphabet.ts";

const MARKS = ["<|bos|>", "<|eos|>", "<|user|>", "<|assistant|>"];

const TEMPLATE = [
  "{{ bos_token }}{% for message in messages %}",
  "{% if message.role not in ['system', 'user', 'assistant'] %}{{ raise_exception('no role ' ~ message.role) }}{% endif %}",
  "{{ ('<|assistant|>' if message.role == 'assistant' else '<|user|>') ~ message.content }}",
  "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
].join("");

const BYTES = [0x0a, ...range(0x20, 0x7f), ...range(0xa0, 0xc0), ...range(0xc2, 0xd6), ...range(0xe1, 0xe9)];

/** The files of the tokenizer. */
export function tinyTokenizerFiles(): TokenizerFiles {
  const vocab = Object.fromEntries(
    [...MARKS, ...BYTES.map((byte) => spell(Uint8Array.of(byte)))].map((text, id) => [text, id]),
  );
  const added = MARKS.map((content, id): AddedToken => ({ id, content, special: true, normalized: false }));
  const level = { type: "ByteLevel", add_prefix_space: false, use_regex: false };
  const model = { type: "BPE", vocab, merges: [] };
  return {
    tokenizer: {
      added_tokens: added,
      normalizer: null,
      pre_tokenizer: level,
      post_processor: null,
      decoder: level,
      model,
    },
    config: { bos_token: "<|bos|>", eos_token: "<|eos|>", chat_template: TEMPLATE },
  };
}

/**
 * A tokenizer for a vocabulary of 160: four marks, the printable bytes of ASCII, new line, and some of the bytes that make up
 * other characters, so that answers are full of characters that are cut.
 */
export function tinyTokenizer(): Tokenizer {
  const { tokenizer, config } = tinyTokenizerFiles();
  return createTokenizer(tokenizer, config);
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}
