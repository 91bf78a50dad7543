import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Diagnostics, type Details } from "../../../compiler/diagnostics/diagnostic.ts";
import { renderDiagnostics, wantsColor } from "../../../compiler/diagnostics/render.ts";
import { span, type SourceFile, type Span } from "../../../compiler/diagnostics/source.ts";

function fileOf(text: string, path = "a.dsk"): SourceFile {
  return { path, text };
}

/** The n-th place of a text. */
function find(file: SourceFile, text: string, nth = 0): Span {
  let at = file.text.indexOf(text);
  for (let i = 0; i < nth; i++) at = file.text.indexOf(text, at + 1);
  if (at < 0) throw new Error(`no ${text}`);
  return span(file, at, at + text.length);
}

function render(at: Span, details: Details = {}, color = false): string {
  const diagnostics = new Diagnostics();
  diagnostics.report("DSK1001", at, { name: "x" }, details);
  return renderDiagnostics(diagnostics.all, { color });
}

const HEAD = "error[DSK1001 unknown-name]: nothing is called `x` here";

describe("renderDiagnostics", () => {
  test("labels on several lines, notes and help", () => {
    const file = fileOf("\n\n  param wk_b:  [C, H, N]\n\n\n\n    let y   = wq_a @ wk_b\n", "specs/v3.dsk");
    const text = render(find(file, "@"), {
      label: "no dim is shared",
      secondary: [
        { span: find(file, "wk_b"), text: "dims C = 512, H = 128, N = 128" },
        { span: find(file, "wq_a"), text: "dims D = 7168, Q = 1536" },
        { span: find(file, "wk_b", 1), text: "dims C, H, N" },
      ],
      notes: ["one fact", "two\nlines"],
      help: "`wq_b` has dims Q, H, N + R; did you mean `wq_a @ wq_b`?",
    });
    expect(text).toBe(
      [
        HEAD,
        "  ┌─ specs/v3.dsk:7:20",
        "  │",
        "3 │   param wk_b:  [C, H, N]",
        "  │         ---- dims C = 512, H = 128, N = 128",
        "  ·",
        "7 │     let y   = wq_a @ wk_b",
        "  │               ---- ^ ---- dims C, H, N",
        "  │               │    no dim is shared",
        "  │               dims D = 7168, Q = 1536",
        "  = note: one fact",
        "  = note: two",
        "          lines",
        "  = help: `wq_b` has dims Q, H, N + R; did you mean `wq_a @ wq_b`?",
      ].join("\n"),
    );
  });

  test("spans of several lines get a bar each", () => {
    const file = fileOf("fn forward() {\n  let z = (\n    a\n  )\n}\n");
    const text = render(find(file, "(\n    a\n  )"), {
      label: "several lines",
      secondary: [{ span: find(file, file.text.trimEnd()), text: "in this function" }],
    });
    expect(text).toBe(
      [
        HEAD,
        "  ┌─ a.dsk:2:11",
        "  │",
        "1 │ ╭   fn forward() {",
        "2 │ │     let z = (",
        "  │ │ ╭───────────^",
        "3 │ │ │     a",
        "4 │ │ │   )",
        "  │ │ ╰───^ several lines",
        "5 │ │   }",
        "  │ ╰───- in this function",
      ].join("\n"),
    );
  });

  test("tabs, wide characters, emoji and CRLF keep the marks below what they mark", () => {
    const file = fileOf("a\r\n\tparam 日本: 👩‍👩‍👧 bad\r\n");
    expect(render(find(file, "日本"), { label: "here" })).toBe(
      `${HEAD}\n  ┌─ a.dsk:2:8\n  │\n2 │     param 日本: 👩‍👩‍👧 bad\n  │           ^^^^ here`,
    );
    expect(render(find(file, "bad"))).toBe(
      `${HEAD}\n  ┌─ a.dsk:2:21\n  │\n2 │     param 日本: 👩‍👩‍👧 bad\n  │                    ^^^`,
    );
  });

  test("a very long line is cut around the mark", () => {
    const file = fileOf(`${"x".repeat(300)} bad ${"y".repeat(300)}`);
    const [line, marks] = render(find(file, "bad"), { label: "far right" }).split("\n").slice(3);
    expect(line).toBe(`1 │ …${"x".repeat(39)} bad ${"y".repeat(76)}…`);
    expect(marks).toBe(`  │ ${" ".repeat(41)}^^^ far right`);
  });

  test("an empty span at the end of the file, and an empty file", () => {
    const file = fileOf("ab\n");
    expect(render(span(file, 3, 3), { label: "end" })).toBe(`${HEAD}\n  ┌─ a.dsk:2:1\n  │\n2 │\n  │ ^ end`);
    expect(render(span(fileOf(""), 0, 0))).toBe(`${HEAD}\n  ┌─ a.dsk:1:1\n  │\n1 │\n  │ ^`);
  });

  test("labels in another file get a frame of their own", () => {
    const a = fileOf("use x\n");
    const b = fileOf("\n\n\n\n\n\n\n\n\nblock y\n", "b.dsk");
    expect(render(find(a, "x"), { secondary: [{ span: find(b, "y"), text: "declared here" }] })).toBe(
      [
        HEAD,
        "   ┌─ a.dsk:1:5",
        "   │",
        " 1 │ use x",
        "   │     ^",
        "   ┌─ b.dsk:10:7",
        "   │",
        "10 │ block y",
        "   │       - declared here",
      ].join("\n"),
    );
  });

  test("control characters of the source do not reach the terminal", () => {
    const file = fileOf("a \u001b[31m b");
    expect(render(find(file, "b"))).not.toContain("\u001b");
  });

  test("the title of a fix stands in for a missing help", () => {
    const file = fileOf("a");
    const text = render(find(file, "a"), { fix: { title: "write `b`", span: find(file, "a"), text: "b" } });
    expect(text).toContain("  = help: write `b`");
  });

  test("colors only when asked for", () => {
    const file = fileOf("a");
    expect(render(find(file, "a"), {}, false)).not.toContain("\u001b[");
    expect(render(find(file, "a"), {}, true)).toContain("\u001b[31merror[DSK1001 unknown-name]");
    expect(wantsColor({ isTTY: true }, {})).toBe(true);
    expect(wantsColor({ isTTY: true }, { NO_COLOR: "1" })).toBe(false);
    expect(wantsColor({ isTTY: true }, { NO_COLOR: "" })).toBe(true);
    expect(wantsColor({}, {})).toBe(false);
  });

  test("property: any spans of any text are drawn, every label once, without control characters", () => {
    const text = fc.string({
      unit: fc.constantFrom("a", "b c", "\t", "\n", "\r\n", "日本", "👩‍👩‍👧", "e\u0301", "\u001b", "x".repeat(90)),
      maxLength: 20,
    });
    const range = fc.tuple(fc.nat(), fc.nat());
    fc.assert(
      fc.property(text, fc.array(range, { minLength: 1, maxLength: 4 }), (source, ranges) => {
        const file = fileOf(source);
        const spans = ranges.map(([a, b]) => {
          const [x, y] = [a % (source.length + 1), b % (source.length + 1)];
          return span(file, Math.min(x, y), Math.max(x, y));
        });
        const [first, ...others] = spans;
        const drawn = render(first!, {
          label: "LABEL0",
          secondary: others.map((s, n) => ({ span: s, text: `LABEL${n + 1}` })),
        });
        for (const n of ranges.keys()) expect(drawn.split(`LABEL${n}`)).toHaveLength(2);
        expect([...drawn].filter((c) => c < " " && c !== "\n")).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });
});
