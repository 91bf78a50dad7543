import { stripVTControlCharacters } from "node:util";
import pc from "picocolors";
import { describe, expect, test } from "vitest";
import { History } from "../../../../runtime/train/show/history.ts";
import { plainLines } from "../../../../runtime/train/show/lines.ts";
import { liveDisplay } from "../../../../runtime/train/show/live.ts";
import { EVENTS, START, stepEvent } from "../../../support/train-events.ts";

const ESCAPE = String.fromCharCode(27);

/** A terminal that knows what the display uses: up, clear to the end, line feeds. */
class Screen {
  readonly columns: number;
  lines: string[] = [""];
  raw = "";

  constructor(columns: number) {
    this.columns = columns;
  }

  write(text: string): void {
    this.raw += text;
    for (const part of text.split(new RegExp(`(\r${ESCAPE}\\[\\d+A${ESCAPE}\\[J|\n)`))) {
      const up = part.startsWith(`\r${ESCAPE}[`) ? /^\r.\[(\d+)A/.exec(part)?.[1] : undefined;
      if (part === "\n") this.lines.push("");
      else if (up !== undefined) this.lines = [...this.lines.slice(0, this.lines.length - 1 - Number(up)), ""];
      else this.lines[this.lines.length - 1] += part;
    }
  }

  get text(): string[] {
    return this.lines.map((line) => stripVTControlCharacters(line));
  }
}

function shown(columns: number, color: boolean, events = EVENTS): Screen {
  const screen = new Screen(columns);
  const listen = liveDisplay(screen, pc.createColors(color));
  for (const event of events) listen(event);
  return screen;
}

describe("the live display", () => {
  test("is drawn in place, what shall be read later stays above", () => {
    const { text } = shown(100, true);
    expect(text).toHaveLength(8);
    expect(text[0]).toBe("warning: the disk is full");
    expect(text[1]).toBe("Pretrain · Tiny · 6.02 M parameters · cpu  runs/none");
    expect(text[2]).toMatch(/^step 100 of 2,000 {2}━+╸?─+ {2}5\.0 % {2}eta \S+( s| min)? {2}410 k tokens$/);
    expect(text[3]).toMatch(/^loss {4}2\.6780 {2}█▃?[▁▂▃▄▅▆▇]*▁$/);
    expect(text[4]).toBe("        next_token 2.060  mtp 2.060  validation 2.500 (step 100)");
    expect(text[5]).toBe("speed   16.4 k tokens/s  lr 0.001  grad 0.8  saved step 100");
    expect(text[6]).toBe("experts load violation 0.20  ▁▃  worst layer 0.30");
  });

  test("ends with how the training ended", () => {
    const stop = {
      event: "stop",
      reason: "failed",
      step: 101,
      message: "step 102: the loss is NaN",
      time: "",
    } as const;
    const { text } = shown(100, true, [...EVENTS, stop]);
    expect(text.at(-2)).toBe("failed after step 101: step 102: the loss is NaN");
    expect(text.filter((line) => line.startsWith("step "))).toHaveLength(1);
    expect(text[2]).toContain("step 101 of");
  });

  test("no line is wider than the terminal", () => {
    for (const columns of [30, 50, 80]) {
      for (const line of shown(columns, true).text.slice(1)) expect(line.length).toBeLessThan(columns);
    }
  });

  test("has no colors without colors, and is the same text", () => {
    const plain = shown(100, false);
    expect(plain.raw).not.toContain(`${ESCAPE}[3`);
    expect(shown(100, true).raw).toContain(`${ESCAPE}[3`);
    const still = (text: string[]): string[] => text.filter((line) => !line.includes("eta"));
    expect(still(plain.lines)).toEqual(still(shown(100, true).text));
  });
});

test("plain lines: what happens, and a step now and then", () => {
  let text = "";
  const listen = plainLines({ write: (more) => (text += more) });
  for (const event of EVENTS) listen(event);
  listen({ event: "stop", reason: "interrupted", step: 101, time: "" });
  expect(text.split("\n")).toEqual([
    "Pretrain  Tiny, 6.02 M parameters, cpu  runs/none",
    "validation after step 0: loss 8.0000, perplexity 2981",
    "step 1 (0.1 %)  loss 10.4000  next_token 8.0000  mtp 8.0000  grad 0.8  lr 0.001  16.4 k tokens/s  load violation 0.20  eta -",
    "validation after step 100: loss 2.5000, perplexity 12.18",
    "saved runs/none/checkpoints/00000100 (61.8 MB, 0.2 s)",
    "warning: the disk is full",
    "interrupted after step 101; --resume goes on",
    "",
  ]);
});

describe("History", () => {
  const ofSteps = (count: number): History => {
    const history = new History();
    for (let step = 1; step <= count; step++) history.add(stepEvent(step, { loss: step, tokens: step }));
    return history;
  };

  test("keeps every step of a short run", () => {
    expect(ofSteps(1500).steps.map(({ loss }) => loss)).toEqual(Array.from({ length: 1500 }, (_, i) => i + 1));
  });

  test("of a long run keeps means, in bounded memory", () => {
    const { steps } = ofSteps(10_001);
    expect(steps.length).toBeLessThanOrEqual(2001);
    expect(steps[0]).toMatchObject({ step: 8, loss: 4.5, load_violation: { mean: 0.2 } });
    expect(steps.at(-1)!.step).toBe(10_001);
    expect(steps.every(({ step }, i) => i === 0 || step > steps[i - 1]!.step)).toBe(true);
  });

  test("of a run that never was is empty", () => {
    expect(History.of(START.run).steps).toEqual([]);
  });
});
