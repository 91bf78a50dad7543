/** A package of dskc in a page: loads it, talks with it and trains it. */
import { type BrowserModel, openInBrowser, type Progress } from "dskc/browser";
import { element } from "./elements.ts";
import { showProblem } from "./problem.ts";
import { Talk } from "./talk.ts";
import { Training } from "./train.ts";

/** What `npm run model` wrote; `?model=other/` is another one. */
const folder = new URLSearchParams(location.search).get("model") ?? "model/";

const STAGES: Readonly<Record<string, string>> = {
  "fetching weights": "Fetching the weights",
  "reading weights": "Reading the weights",
  "checking weights": "Checking the weights",
  "compiling kernels": "Compiling kernels",
};

let close: (() => Promise<void>) | undefined;

async function start(): Promise<void> {
  for (const id of ["problem", "app"]) element(id).hidden = true;
  element("loading").hidden = false;
  show({ what: "Loading the model", done: 0, all: 0 });
  await close?.();
  try {
    const model = await openInBrowser(folder, { onProgress: show });
    open(model);
  } catch (error) {
    showProblem(error);
  }
}

function open(model: BrowserModel): void {
  const talk = new Talk(model, showProblem);
  const training = new Training(model, showProblem);
  close = async () => {
    close = undefined;
    talk.close();
    training.close();
    await model.close().catch(() => undefined);
  };
  element("name").textContent = model.name;
  const context = model.context.toLocaleString("en-US");
  element("facts").textContent =
    `in this browser, on ${model.device === "webgpu" ? "WebGPU" : model.device}; context ${context} tokens`;
  element("loading").hidden = true;
  element("app").hidden = false;
}

function show({ what, done, all }: Progress): void {
  const bar = element<HTMLProgressElement>("progress");
  if (all > 0) bar.value = done / all;
  else bar.removeAttribute("value");
  const bytes = what === "fetching weights" ? `: ${megabytes(done)} of ${megabytes(all)}` : "";
  element("stage").textContent = `${STAGES[what] ?? what}${bytes}`;
  // Kernels of a first answer or step are compiled when the page is there already.
  element("busy").textContent =
    what === "compiling kernels" && done < all ? `compiling kernels: ${done} of ${all}` : "";
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

element("reload").addEventListener("click", () => void start());
void start();
