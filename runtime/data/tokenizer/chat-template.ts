import { Template } from "@huggingface/jinja";

/** A turn of a conversation; other keys (`tool_calls`, `reasoning_content`) go to the template as they are. */
export interface Message {
  readonly role: string;
  readonly content: string;
  readonly [key: string]: unknown;
}

export interface RenderOptions {
  /** Ends with what opens the answer: for generation. */
  readonly addGenerationPrompt?: boolean;
  /** More variables of the template: `tools`, `enable_thinking`. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** How conversations become text: `chat_template` of `tokenizer_config.json`, a Jinja template. */
export class ChatTemplate {
  readonly source: string;
  readonly #template: Template;
  readonly #variables: Readonly<Record<string, unknown>>;

  /**
   * @param variables what the template may name: `bos_token`, `eos_token`
   * @throws Error when the template cannot be parsed
   */
  constructor(source: string, variables: Readonly<Record<string, unknown>>) {
    this.source = source;
    try {
      this.#template = new Template(source);
    } catch (error) {
      // The parser reads on behind the end of a block that nothing closes.
      const why = error instanceof TypeError ? "it ends too early" : (error as Error).message;
      throw new Error(`chat_template: ${why}`, { cause: error });
    }
    this.#variables = variables;
  }

  /** The text of a conversation; special tokens stand in it by name. @throws Error what the template raises */
  render(messages: readonly Message[], { addGenerationPrompt = false, variables = {} }: RenderOptions = {}): string {
    return this.#template.render({
      ...this.#variables,
      ...variables,
      messages,
      add_generation_prompt: addGenerationPrompt,
    });
  }
}
