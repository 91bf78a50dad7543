import { afterEach, expect, test, vi } from "vitest";
import { ticking } from "../../../compiler/cli/io.ts";

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

test("what takes more than two seconds shows how far it is once a second, on a terminal", () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  const lines: string[] = [];
  vi.spyOn(process.stderr, "write").mockImplementation((text) => lines.push(String(text)) > 0);
  const terminal = process.stderr.isTTY;
  try {
    for (const isTTY of [true, false]) {
      process.stderr.isTTY = isTTY;
      const tick = ticking();
      for (let done = 1; done <= 10; done++) {
        vi.advanceTimersByTime(400);
        tick("reading weights", done, 10);
      }
    }
  } finally {
    process.stderr.isTTY = terminal;
  }
  expect(lines).toEqual(["reading weights: 5 of 10\n", "reading weights: 8 of 10\n"]);
});
