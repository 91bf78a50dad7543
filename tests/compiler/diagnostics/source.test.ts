import { describe, expect, it } from "vitest";
import { lineText, positionAt } from "../../../compiler/diagnostics/source.ts";

describe("positionAt", () => {
  const file = { path: "a.dsk", text: "dim A = 1\r\ndim B = 2\n\nend" };

  it("gives 1-based lines and columns", () => {
    expect(positionAt(file, 0)).toEqual({ line: 1, column: 1 });
    expect(positionAt(file, 11)).toEqual({ line: 2, column: 1 });
    expect(positionAt(file, file.text.length)).toEqual({ line: 4, column: 4 });
  });

  it("gives lines without their line break", () => {
    expect(lineText(file, 1)).toBe("dim A = 1");
    expect(lineText(file, 3)).toBe("");
    expect(lineText(file, 9)).toBe("");
  });
});
