import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { replaceFile } from "../../io/replace-file.ts";
import type { Listener, StartEvent, StopEvent } from "../events.ts";
import { History } from "../show/history.ts";
import { drawChart } from "./chart.ts";
import { chartsOf } from "./charts.ts";
import { pageOf, type RunStatus } from "./page.ts";

const LIGHT = { text: "#1c2430", muted: "#667085", grid: "#e8ebf0", background: "#ffffff" };

export interface ReportFiles {
  /** `report.html`, which reads `status.json` and `metrics.jsonl` beside it. */
  readonly page: string;
  readonly status: string;
  /** The folder of the SVG files, one for each chart. */
  readonly plots: string;
}

/**
 * Writes the page and the plots of a run: every few seconds while it trains, and when it ends. A disk that refuses is no
 * reason to stop training: what could not be written is written the next time.
 */
export function reportWriter(files: ReportFiles, everySeconds = 10): Listener {
  let history = new History();
  let start: StartEvent | undefined;
  let last = -Infinity;
  const write = (stop?: StopEvent): void => {
    if (start === undefined) return;
    last = performance.now() / 1000;
    const status: RunStatus = { start, ...(stop === undefined ? {} : { stop }), updated: new Date().toISOString() };
    try {
      mkdirSync(files.plots, { recursive: true });
      for (const chart of chartsOf(history))
        replaceFile(join(files.plots, `${chart.id}.svg`), `${drawChart(chart, LIGHT, 720, 360)}\n`);
      replaceFile(files.page, pageOf(status, history));
      replaceFile(files.status, `${JSON.stringify(status, undefined, 2)}\n`);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
    }
  };
  return (event) => {
    if (event.event === "start") {
      start = event;
      history = History.of(event.run);
    } else if (event.event === "stop") return write(event);
    else if (event.event === "step" || event.event === "validation") history.add(event);
    else return;
    if (performance.now() / 1000 - last >= everySeconds) write();
  };
}
