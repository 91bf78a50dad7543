import { expect, test } from "vitest";
import { bytesText, countText, scaled, table } from "../../../compiler/cli/text-table.ts";

test("numbers", () => {
  expect(countText(671026404352)).toBe("671_026_404_352");
  expect(countText(100)).toBe("100");
  expect(scaled(37_552_282_624)).toBe("37.55 B");
  expect(scaled(999)).toBe("999");
  expect(scaled(0)).toBe("0");
  expect(bytesText(70_272)).toBe("68.63 KiB");
  expect(bytesText(12)).toBe("12 B");
});

test("columns are as wide as their widest cell, without blanks at the end", () => {
  expect(
    table(
      [
        ["a", "1"],
        ["long", "22"],
        ["b", ""],
      ],
      ["left", "right"],
    ),
  ).toBe("a      1\nlong  22\nb");
});
