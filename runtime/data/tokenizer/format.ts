/** What dskc reads of `tokenizer.json` and `tokenizer_config.json`, the files of Hugging Face tokenizers. */

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Left out when text is read: `<|eos|>`, but not `<think>`. */
  readonly special: boolean;
  readonly single_word?: boolean;
  readonly lstrip?: boolean;
  readonly rstrip?: boolean;
  readonly normalized?: boolean;
}

export interface Part {
  readonly type: string;
  readonly [key: string]: unknown;
}

export interface BpeModel {
  readonly type?: string;
  readonly vocab: Readonly<Record<string, number>>;
  /** `"a b"` or `["a", "b"]` */
  readonly merges: readonly (string | readonly [string, string])[];
  readonly unk_token?: string | null;
  readonly dropout?: number | null;
  readonly continuing_subword_prefix?: string | null;
  readonly end_of_word_suffix?: string | null;
  readonly byte_fallback?: boolean;
  readonly ignore_merges?: boolean;
}

export interface TokenizerJson {
  readonly added_tokens: readonly AddedToken[];
  readonly normalizer: Part | null;
  readonly pre_tokenizer: Part | null;
  readonly post_processor: Part | null;
  readonly decoder: Part | null;
  readonly model: BpeModel | (Part & { readonly vocab: unknown });
}

type NamedToken = string | { readonly content: string } | null;

export interface TokenizerConfig {
  readonly bos_token?: NamedToken;
  readonly eos_token?: NamedToken;
  readonly chat_template?: string | readonly { readonly name: string; readonly template: string }[] | null;
  readonly [key: string]: unknown;
}

export function nameOf(token: NamedToken | undefined): string | undefined {
  return typeof token === "string" ? token : (token ?? undefined)?.content;
}

/** The template of conversations: the one named `default` where there are several. */
export function templateOf({ chat_template: template }: TokenizerConfig): string | undefined {
  if (template === undefined || template === null) return undefined;
  if (typeof template === "string") return template;
  return (template.find(({ name }) => name === "default") ?? template[0])?.template;
}
