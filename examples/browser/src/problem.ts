/** What went wrong, for whoever reads the page. */
import { DeviceLostError, LimitError, ModelError, NoGpuError, ShardError } from "dskc/browser";
import { element } from "./elements.ts";

interface Told {
  readonly title: string;
  readonly text: string;
}

function told(error: unknown): Told {
  if (error instanceof NoGpuError)
    return {
      title: "This browser has no WebGPU",
      text: "The model runs on the graphics processor of this computer, through WebGPU: a current Chrome, Edge, Safari or Firefox has it, on a page that comes over HTTPS. It may be switched off in the settings, or the graphics driver may be too old.",
    };
  if (error instanceof LimitError)
    return {
      title: "The graphics processor is too small for this model",
      text: "One of its limits does not allow what the model needs. What is needed, and what would fit, stands below.",
    };
  if (error instanceof DeviceLostError)
    return {
      title: "The graphics processor went away",
      text: "Its driver was restarted, or another program needed its memory. The weights are still on this computer, so loading the model again is quick; what was trained since the last save is gone.",
    };
  if (error instanceof ShardError)
    return {
      title: "The weights cannot be had",
      text: "What arrived of them is kept: the next attempt goes on from there.",
    };
  if (error instanceof ModelError) return { title: "The model cannot be loaded", text: "" };
  return { title: "Something went wrong", text: "" };
}

/** Shows it in the place of the rest of the page. */
export function showProblem(error: unknown): void {
  const { title, text } = told(error);
  element("problem-title").textContent = title;
  element("problem-text").textContent = text;
  element("problem-detail").textContent = error instanceof Error ? error.message : String(error);
  for (const id of ["loading", "app"]) element(id).hidden = true;
  element("problem").hidden = false;
}
