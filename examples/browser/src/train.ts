/** Trains the model on a text, and draws the loss. */
import { type BrowserModel, type BrowserTrainer, DeviceLostError } from "dskc/browser";
import { LossChart } from "./chart.ts";
import { element } from "./elements.ts";
import sample from "./sample.txt?raw";

/** Passages of a step, and about how many characters each has. */
const [ROWS, CHARACTERS] = [4, 320];
/** Steps after which answers are made with what was learned. */
const PUBLISH = 5;

export class Training {
  readonly #model: BrowserModel;
  readonly #lost: (error: unknown) => void;
  readonly #chart = new LossChart(element("chart"));
  readonly #text = element<HTMLTextAreaElement>("text");
  readonly #button = element<HTMLButtonElement>("train");
  readonly #save = element<HTMLButtonElement>("save");
  readonly #end = new AbortController();
  #trainer: BrowserTrainer | undefined;
  #running = false;

  constructor(model: BrowserModel, lost: (error: unknown) => void) {
    this.#model = model;
    this.#lost = lost;
    if (this.#text.value === "") this.#text.value = sample;
    const { signal } = this.#end;
    this.#button.addEventListener("click", () => void this.#toggle(), { signal });
    this.#save.addEventListener("click", () => void this.#download(), { signal });
    element("file").addEventListener("change", (event) => void this.#open(event), { signal });
    this.#save.disabled = true;
    this.#show("");
    element("learn").hidden = model.trainings.length === 0;
  }

  close(): void {
    this.#running = false;
    this.#end.abort();
  }

  async #toggle(): Promise<void> {
    if (this.#running) {
      this.#running = false;
      this.#show("stopping after this step");
      return;
    }
    this.#running = true;
    this.#button.textContent = "Stop";
    try {
      await this.#run();
    } catch (error) {
      if (error instanceof DeviceLostError) this.#lost(error);
      else this.#show((error as Error).message);
    } finally {
      this.#running = false;
      this.#button.textContent = "Train on this text";
    }
  }

  async #run(): Promise<void> {
    const passages = passagesOf(this.#text.value);
    if (passages.length === 0) return this.#show("There is no text to learn.");
    if (this.#trainer === undefined) this.#show("Preparing: kernels are compiled once.");
    this.#trainer ??= await this.#model.trainer(this.#model.trainings[0]!);
    for (let next = 0; this.#running; next += ROWS) {
      const rows = Array.from({ length: ROWS }, (_, i) => passages[(next + i) % passages.length]!);
      const started = performance.now();
      const { losses, tokens } = await this.#trainer.step(rows);
      if (this.#end.signal.aborted) return;
      this.#chart.add(losses["next_token"]!);
      const seconds = (performance.now() - started) / 1000;
      this.#show(`loss ${losses["next_token"]!.toFixed(3)}, ${Math.round(tokens / seconds)} tokens/s`);
      element("steps").textContent = `${this.#trainer.steps} steps`;
      this.#save.disabled = false;
      if (this.#trainer.steps % PUBLISH === 0) await this.#trainer.publish();
    }
    await this.#trainer.publish();
    this.#show("Answers are made with what was learned.");
  }

  async #download(): Promise<void> {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await this.#trainer!.save());
    link.download = "model.safetensors";
    link.click();
    URL.revokeObjectURL(link.href);
  }

  async #open(event: Event): Promise<void> {
    const input = event.target as HTMLInputElement;
    const file = input.files?.[0];
    if (file !== undefined) this.#text.value = await file.text();
    input.value = "";
  }

  #show(status: string): void {
    element("status").textContent = status;
  }
}

/** Runs of paragraphs of about the same length, in a mixed order that is always the same. */
function passagesOf(text: string): string[] {
  const passages: string[] = [];
  let passage = "";
  for (const part of text.split(/(?<=[.!?])\s+|\n{2,}/)) {
    if (passage !== "" && passage.length + part.length > CHARACTERS) {
      passages.push(passage);
      passage = "";
    }
    passage = passage === "" ? part.trim() : `${passage} ${part.trim()}`;
  }
  if (passage.trim() !== "") passages.push(passage);
  return passages.map((_, i) => passages[(i * 7) % passages.length]!);
}
