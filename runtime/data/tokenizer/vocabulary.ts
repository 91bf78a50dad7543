import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";
import { named } from "../../io/json.ts";
import { ChatTemplate } from "./chat-template.ts";
import { nameOf, templateOf, type TokenizerConfig, type TokenizerJson } from "./format.ts";

export const NO_BYTES = new Uint8Array(0);

/** What tokenizers of all kinds know of their tokens. */
export class Vocabulary {
  readonly size: number;
  readonly bos: number | undefined;
  readonly eos: number | undefined;
  readonly chat: ChatTemplate | undefined;
  readonly #source: readonly [TokenizerJson, TokenizerConfig];
  #fingerprint: string | undefined;
  readonly #ids: ReadonlyMap<string, number>;
  readonly #special: ReadonlySet<number>;

  constructor(ids: ReadonlyMap<string, number>, file: TokenizerJson, config: TokenizerConfig) {
    const { added_tokens: added } = file;
    this.#source = [file, config];
    this.#ids = ids;
    this.#special = new Set(added.flatMap((token) => (token.special ? [token.id] : [])));
    this.size = [...ids.values()].reduce((most, id) => Math.max(most, id + 1), 0);
    const [bos, eos] = [nameOf(config.bos_token), nameOf(config.eos_token)];
    this.bos = this.#named("bos_token", bos);
    this.eos = this.#named("eos_token", eos);
    const template = templateOf(config);
    if (template !== undefined) this.chat = new ChatTemplate(template, { bos_token: bos ?? "", eos_token: eos ?? "" });
  }

  /** Made when it is asked for: it takes a while for a large vocabulary. */
  get fingerprint(): string {
    return (this.#fingerprint ??= bytesToHex(sha256(utf8ToBytes(JSON.stringify(this.#source)))));
  }

  /** Without its end of text a model would never stop. */
  #named(key: string, token: string | undefined): number | undefined {
    if (token === undefined) return undefined;
    const id = this.#ids.get(token);
    if (id === undefined) throw new Error(`tokenizer_config.json: ${key}: ${named(token)} is not in the vocabulary`);
    return id;
  }

  id(token: string): number | undefined {
    return this.#ids.get(token);
  }

  isSpecial(id: number): boolean {
    return this.#special.has(id);
  }
}
