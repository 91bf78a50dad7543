import { describe, expect, test } from "vitest";
import {
  averaged,
  bytesText,
  countText,
  durationText,
  progressBar,
  sparkline,
  valueText,
} from "../../../../runtime/train/show/format.ts";

describe("numbers", () => {
  test("counts", () => {
    expect([0, 999.6, 9999, 18_245, 5_151_584, 671e9, 14.8e12].map(countText)).toEqual([
      "0",
      "1,000",
      "9,999",
      "18.2 k",
      "5.15 M",
      "671 G",
      "14.8 T",
    ]);
  });

  test("values", () => {
    expect([0, 1, 3.41234, 0.01234, 9.71e-4, 1e-4, 123_456, NaN].map(valueText)).toEqual([
      "0",
      "1",
      "3.412",
      "0.01234",
      "9.71e-4",
      "1e-4",
      "1.23e5",
      "NaN",
    ]);
  });

  test("durations", () => {
    expect([0.2, 9.4, 42, 247, 7620, 300_000, NaN].map(durationText)).toEqual([
      "0.2 s",
      "9.4 s",
      "42 s",
      "4:07 min",
      "2:07 h",
      "3.5 days",
      "-",
    ]);
  });

  test("bytes", () => {
    expect([512, 61_800_000].map(bytesText)).toEqual(["512 B", "61.8 MB"]);
  });
});

describe("drawings of characters", () => {
  test("a curve goes from its lowest to its highest value", () => {
    expect(sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8)).toBe("▁▂▃▄▅▆▇█");
    expect(sparkline([0, 0, 7, 7], 2)).toBe("▁█");
    expect(sparkline([3, 3, NaN], 8)).toBe("▅▅");
    expect(sparkline([], 8)).toBe("");
  });

  test("averages keep the sum of what they stand for", () => {
    expect(averaged([1, 3, 5, 7, 9], 2)).toEqual([2, 7]);
    expect(averaged([1, 3], 4)).toEqual([1, 3]);
  });

  test("a bar has its width at every share", () => {
    for (let i = 0; i <= 40; i++) {
      const { done, left } = progressBar(i / 40, 17);
      expect(done.length + left.length).toBe(17);
    }
    expect(progressBar(0, 4)).toEqual({ done: "", left: "────" });
    expect(progressBar(0.4, 4)).toEqual({ done: "━╸", left: "──" });
    expect(progressBar(2, 4)).toEqual({ done: "━━━━", left: "" });
  });
});
