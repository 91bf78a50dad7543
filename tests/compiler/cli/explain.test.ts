import { readFileSync } from "node:fs";
import { Command } from "commander";
import { describe, expect, test, vi } from "vitest";
import { register } from "../../../compiler/cli/explain.ts";
import { CODES } from "../../../compiler/diagnostics/codes.ts";

/** What the command prints for these arguments, run in this process. */
function explained(...args: string[]): string {
  let out = "";
  const write = vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    out += String(text);
    return true;
  });
  try {
    const command = new Command("explain").exitOverride();
    register(command);
    command.parse(args, { from: "user" });
  } finally {
    write.mockRestore();
  }
  return out;
}

describe("dskc explain", () => {
  test.each(Object.entries(CODES))("%s", (code, { name }) => {
    const page = readFileSync(`docs/errors/${code}.md`, "utf8");
    expect(page.startsWith(`# ${code} ${name}\n`)).toBe(true);
    expect(explained(code)).toBe(page);
    expect(explained(code.toLowerCase())).toBe(page);
    expect(explained(name)).toBe(page);
  });

  test("lists each of them", () => {
    const lines = explained().trimEnd().split("\n");
    expect(lines.map((line) => line.split(/ +/))).toEqual(
      Object.entries(CODES).map(([code, { severity, name }]) => [code, severity, name]),
    );
  });
});
