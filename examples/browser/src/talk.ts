/** Several conversations, each behind a tab; those that nobody looks at are answered all the same. */
import { type BrowserModel, DeviceLostError } from "dskc/browser";
import { Conversation } from "./conversation.ts";
import { element } from "./elements.ts";

const MOST = 8;
/** Milliseconds that the speed is taken over. */
const WINDOW = 4000;

export class Talk {
  readonly #model: BrowserModel;
  readonly #lost: (error: unknown) => void;
  readonly #tabs = element("tabs");
  readonly #new = element<HTMLButtonElement>("new");
  readonly #prompt = element<HTMLTextAreaElement>("prompt");
  readonly #send = element<HTMLButtonElement>("send");
  readonly #end = new AbortController();
  readonly #conversations: Conversation[] = [];
  #open!: Conversation;
  /** When tokens came lately, and when the first of the answers that run was asked for. */
  #times: number[] = [];
  #since = 0;

  constructor(model: BrowserModel, lost: (error: unknown) => void) {
    this.#model = model;
    this.#lost = lost;
    const { signal } = this.#end;
    element("ask").addEventListener("submit", (event) => this.#submit(event), { signal });
    this.#new.addEventListener("click", () => this.#begin(), { signal });
    this.#tabs.addEventListener("keydown", (event) => this.#walk(event), { signal });
    this.#prompt.addEventListener("keydown", (event) => this.#key(event), { signal });
    element("conversations").replaceChildren();
    element("speed").textContent = "";
    this.#begin();
  }

  /** Answers nothing any more. */
  close(): void {
    for (const conversation of this.#conversations) conversation.stop();
    this.#end.abort();
  }

  #begin(): void {
    const conversation = new Conversation(this.#model, {
      token: () => this.#told(),
      changed: () => this.#draw(),
      failed: (error) => {
        if (!(error instanceof DeviceLostError)) return false;
        if (!this.#end.signal.aborted) this.#lost(error);
        return true;
      },
    });
    this.#conversations.push(conversation);
    element("conversations").append(conversation.messages);
    this.#show(conversation);
    this.#prompt.focus({ preventScroll: true });
  }

  #show(conversation: Conversation): void {
    if (this.#open !== undefined) this.#open.draft = this.#prompt.value;
    this.#open = conversation;
    this.#prompt.value = conversation.draft;
    this.#draw();
    this.#tabs.querySelector(".open")!.scrollIntoView({ block: "nearest", inline: "nearest" });
    conversation.messages.scrollTo({ top: conversation.messages.scrollHeight });
  }

  #remove(conversation: Conversation): void {
    conversation.stop();
    conversation.messages.remove();
    const at = this.#conversations.indexOf(conversation);
    this.#conversations.splice(at, 1);
    const next = this.#conversations[at] ?? this.#conversations[at - 1];
    if (next === undefined) {
      this.#prompt.value = "";
      return this.#begin();
    }
    if (conversation === this.#open) this.#show(next);
    else this.#draw();
  }

  #draw(): void {
    this.#tabs.replaceChildren(...this.#conversations.map((conversation) => this.#tab(conversation)));
    for (const conversation of this.#conversations) conversation.messages.hidden = conversation !== this.#open;
    this.#new.disabled = this.#conversations.length >= MOST;
    this.#send.textContent = this.#open.answers ? "Stop" : "Send";
  }

  #tab(conversation: Conversation): HTMLElement {
    const isOpen = conversation === this.#open;
    const tab = document.createElement("div");
    tab.className = "tab";
    tab.classList.toggle("open", isOpen);
    tab.classList.toggle("busy", conversation.answers);
    const title = document.createElement("button");
    title.type = "button";
    title.role = "tab";
    title.ariaSelected = String(isOpen);
    title.tabIndex = isOpen ? 0 : -1;
    title.textContent = conversation.title;
    title.addEventListener("click", () => this.#show(conversation));
    const close = document.createElement("button");
    close.type = "button";
    close.className = "close";
    close.ariaLabel = `Close ${conversation.title}`;
    close.textContent = "×";
    close.addEventListener("click", () => this.#remove(conversation));
    tab.append(title, close);
    return tab;
  }

  /** Arrow keys go from tab to tab. */
  #walk(event: KeyboardEvent): void {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by === undefined) return;
    const count = this.#conversations.length;
    this.#show(this.#conversations[(this.#conversations.indexOf(this.#open) + by + count) % count]!);
    this.#tabs.querySelector<HTMLElement>('[aria-selected="true"]')!.focus();
  }

  #key(event: KeyboardEvent): void {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    element<HTMLFormElement>("ask").requestSubmit();
  }

  #submit(event: Event): void {
    event.preventDefault();
    if (this.#open.answers) return this.#open.stop();
    const text = this.#prompt.value.trim();
    if (text === "") return;
    this.#prompt.value = "";
    if (!this.#conversations.some(({ answers }) => answers)) {
      this.#since = performance.now();
      this.#times = [];
    }
    void this.#open.answer(text);
  }

  /** A token came: tokens per second of all answers together. */
  #told(): void {
    const now = performance.now();
    this.#times = [...this.#times.filter((time) => time > now - WINDOW), now];
    const seconds = Math.min(WINDOW, now - this.#since) / 1000;
    const running = this.#conversations.filter(({ answers }) => answers).length;
    const what = running > 1 ? ` in ${running} answers` : "";
    element("speed").textContent = `${(this.#times.length / seconds).toFixed(1)} tokens/s${what}`;
  }
}
