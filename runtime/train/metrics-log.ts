import { closeSync, existsSync, fsyncSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import type { MetricEvent } from "./events.ts";

/** The file inside a run. */
export const METRICS = "metrics.jsonl";

/** `metrics.jsonl`: an object a line, appended. What a cut left half-written is dropped when the file is opened. */
export class MetricsLog {
  readonly #fd: number;
  #length = 0;

  /** @param upTo lines of later steps are dropped: their steps will be made again */
  constructor(path: string, upTo: number) {
    const kept = keptLength(path, upTo);
    this.#fd = openSync(path, "a");
    this.#length = kept;
    ftruncateSync(this.#fd, kept);
  }

  /** Appends a line. When the disk is full nothing of it stays. */
  append(event: MetricEvent): void {
    const bytes = new TextEncoder().encode(`${JSON.stringify(event)}\n`);
    try {
      for (let at = 0; at < bytes.length;) at += writeSync(this.#fd, bytes, at);
      this.#length += bytes.length;
    } catch (error) {
      ftruncateSync(this.#fd, this.#length);
      throw error;
    }
  }

  /** What was appended is on the disk when this returns. */
  sync(): void {
    fsyncSync(this.#fd);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** The bytes of all whole lines up to the first one of a later step. */
function keptLength(path: string, upTo: number): number {
  let kept = 0;
  for (const { event, end } of linesOf(path)) {
    if (event === undefined || event.step > upTo) break;
    kept = end;
  }
  return kept;
}

/** The events of a `metrics.jsonl`; a last line that is not whole is left out. */
export function* readMetrics(path: string): Generator<MetricEvent> {
  for (const { event } of linesOf(path)) if (event !== undefined) yield event;
}

/** Whole lines and where each ends; the file of a long run is larger than a string can be. */
function* linesOf(path: string): Generator<{ readonly event: MetricEvent | undefined; readonly end: number }> {
  if (!existsSync(path)) return;
  const fd = openSync(path, "r");
  try {
    const piece = new Uint8Array(1 << 20);
    let rest: Uint8Array = new Uint8Array();
    let end = 0;
    for (let got = readSync(fd, piece); got > 0; got = readSync(fd, piece)) {
      const bytes = Buffer.concat([rest, piece.subarray(0, got)]);
      let from = 0;
      for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, from)) {
        end += at + 1 - from;
        yield { event: parseLine(new TextDecoder().decode(bytes.subarray(from, at))), end };
        from = at + 1;
      }
      rest = bytes.slice(from);
    }
  } finally {
    closeSync(fd);
  }
}

function parseLine(line: string): MetricEvent | undefined {
  try {
    const event = JSON.parse(line) as Partial<MetricEvent> | null;
    return typeof event === "object" && typeof event?.step === "number" ? (event as MetricEvent) : undefined;
  } catch {
    return undefined;
  }
}
