import { closeSync, existsSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import type { MetricEvent } from "./events.ts";

/** `metrics.jsonl`: an object a line, appended. What a cut left half-written is dropped when the file is opened. */
export class MetricsLog {
  readonly #fd: number;
  #length = 0;

  /** @param upTo lines of later steps are dropped: their steps will be made again */
  constructor(path: string, upTo: number) {
    const kept = existsSync(path) ? keptLength(readFileSync(path), upTo) : 0;
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
function keptLength(bytes: Uint8Array, upTo: number): number {
  let kept = 0;
  for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, kept)) {
    const event = parseLine(new TextDecoder().decode(bytes.subarray(kept, end)));
    if (event === undefined || event.step > upTo) break;
    kept = end + 1;
  }
  return kept;
}

/** The events of a `metrics.jsonl`; a last line that is not whole is left out. */
export function readMetrics(path: string): MetricEvent[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, "utf8")
    .split("\n")
    .flatMap((line) => parseLine(line) ?? []);
}

function parseLine(line: string): MetricEvent | undefined {
  try {
    const event = JSON.parse(line) as Partial<MetricEvent> | null;
    return typeof event === "object" && typeof event?.step === "number" ? (event as MetricEvent) : undefined;
  } catch {
    return undefined;
  }
}
