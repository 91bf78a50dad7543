/** One conversation, answered while it is read. */
import { type BrowserModel, type ChatMessage, DeviceLostError } from "dskc/browser";
import { element } from "./elements.ts";

export class Talk {
  readonly #model: BrowserModel;
  readonly #lost: (error: unknown) => void;
  readonly #messages = element("messages");
  readonly #prompt = element<HTMLTextAreaElement>("prompt");
  readonly #send = element<HTMLButtonElement>("send");
  readonly #end = new AbortController();
  #said: ChatMessage[] = [];
  #answering: AbortController | undefined;

  constructor(model: BrowserModel, lost: (error: unknown) => void) {
    this.#model = model;
    this.#lost = lost;
    const { signal } = this.#end;
    this.#messages.dataset["hint"] = model.chats
      ? "Ask something. The model answers on this computer."
      : "This model was not trained on conversations: it goes on with what you write.";
    element("ask").addEventListener("submit", (event) => this.#submit(event), { signal });
    element("clear").addEventListener("click", () => this.#clear(), { signal });
    this.#prompt.addEventListener("keydown", (event) => this.#key(event), { signal });
    this.#clear();
  }

  /** Answers nothing any more. */
  close(): void {
    this.#answering?.abort();
    this.#end.abort();
  }

  #key(event: KeyboardEvent): void {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    element<HTMLFormElement>("ask").requestSubmit();
  }

  #clear(): void {
    this.#answering?.abort();
    this.#said = [];
    this.#messages.replaceChildren();
    element("speed").textContent = "";
  }

  #submit(event: Event): void {
    event.preventDefault();
    if (this.#answering !== undefined) return this.#answering.abort();
    const text = this.#prompt.value.trim();
    if (text === "") return;
    this.#prompt.value = "";
    void this.#answer(text);
  }

  async #answer(text: string): Promise<void> {
    this.#add("user", text);
    const item = this.#add("assistant", "");
    item.classList.add("busy");
    const controller = (this.#answering = new AbortController());
    this.#send.textContent = "Stop";
    const { signal } = controller;
    const said: ChatMessage[] = [...this.#said, { role: "user", content: text }];
    const options = { maxTokens: 200, signal };
    const answer = this.#model.chats ? this.#model.chat(said, options) : this.#model.generate(text, options);
    const started = performance.now();
    let tokens = 0;
    try {
      for await (const token of answer) {
        // A text that is gone on with may begin with empty lines.
        item.textContent = (item.textContent + token.text).trimStart();
        tokens++;
        const seconds = (performance.now() - started) / 1000;
        element("speed").textContent = `${(tokens / seconds).toFixed(1)} tokens/s`;
        this.#messages.scrollTo({ top: this.#messages.scrollHeight });
      }
      this.#said = [...said, { role: "assistant", content: item.textContent ?? "" }];
    } catch (error) {
      if (error instanceof DeviceLostError) this.#lost(error);
      else if (!signal.aborted) {
        item.textContent = (error as Error).message;
        item.classList.add("wrong");
      }
    } finally {
      item.classList.remove("busy");
      if (this.#answering === controller) this.#answering = undefined;
      this.#send.textContent = "Send";
    }
  }

  #add(role: string, text: string): HTMLLIElement {
    const item = document.createElement("li");
    item.className = role;
    item.textContent = text;
    this.#messages.append(item);
    this.#messages.scrollTo({ top: this.#messages.scrollHeight });
    return item;
  }
}
