/** How a training shows itself: in place on a terminal, as plain lines elsewhere, as lines of JSON. */
import pc from "picocolors";
import type { Listener } from "../../runtime/train/events.ts";
import { plainLines } from "../../runtime/train/show/lines.ts";
import { liveDisplay } from "../../runtime/train/show/live.ts";
import { wantsColor } from "../diagnostics/render.ts";
import { print } from "./io.ts";

export function trainDisplay(json: boolean): Listener {
  if (json) return (event) => print(JSON.stringify(event));
  const { stderr, env } = process;
  if (!stderr.isTTY || env["TERM"] === "dumb") return plainLines(stderr);
  return liveDisplay(stderr, pc.createColors(wantsColor(stderr, env)));
}
