/** One conversation: its messages, and the answer that is being given. */
import type { BrowserModel, ChatMessage } from "dskc/browser";

/** What a conversation tells while it is answered. */
export interface Listener {
  token(): void;
  /** An answer has begun or ended. */
  changed(): void;
  /** What no conversation can go on after. */
  failed(error: unknown): boolean;
}

export class Conversation {
  readonly messages = document.createElement("ol");
  readonly #model: BrowserModel;
  readonly #listener: Listener;
  #said: ChatMessage[] = [];
  #answering: AbortController | undefined;
  /** What was written here and not sent yet. */
  draft = "";

  constructor(model: BrowserModel, listener: Listener) {
    this.#model = model;
    this.#listener = listener;
    this.messages.className = "messages";
    this.messages.setAttribute("role", "tabpanel");
    this.messages.ariaLive = "polite";
    this.messages.dataset["hint"] = model.chats
      ? "Ask something. The model answers on this computer, and several conversations at the same time."
      : "This model was not trained on conversations: it goes on with what you write, in several texts at the same time.";
  }

  /** The first words that were said. */
  get title(): string {
    return this.messages.querySelector(".user")?.textContent ?? "New";
  }

  get answers(): boolean {
    return this.#answering !== undefined;
  }

  stop(): void {
    this.#answering?.abort();
  }

  async answer(text: string): Promise<void> {
    this.#add("user", text);
    const item = this.#add("assistant", "");
    item.classList.add("busy");
    const controller = (this.#answering = new AbortController());
    this.#listener.changed();
    const { signal } = controller;
    const said: ChatMessage[] = [...this.#said, { role: "user", content: text }];
    const options = { maxTokens: 200, signal };
    const answer = this.#model.chats ? this.#model.chat(said, options) : this.#model.generate(text, options);
    try {
      for await (const token of answer) {
        // A text that is gone on with may begin with empty lines.
        item.textContent = (item.textContent + token.text).trimStart();
        this.messages.scrollTo({ top: this.messages.scrollHeight });
        this.#listener.token();
      }
      this.#said = [...said, { role: "assistant", content: item.textContent ?? "" }];
    } catch (error) {
      if (!this.#listener.failed(error) && !signal.aborted) {
        item.textContent = (error as Error).message;
        item.classList.add("wrong");
      }
    } finally {
      item.classList.remove("busy");
      this.#answering = undefined;
      this.#listener.changed();
    }
  }

  #add(role: string, text: string): HTMLLIElement {
    const item = document.createElement("li");
    item.className = role;
    item.textContent = text;
    this.messages.append(item);
    this.messages.scrollTo({ top: this.messages.scrollHeight });
    return item;
  }
}
