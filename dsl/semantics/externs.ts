import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import type { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import { closest } from "../../compiler/diagnostics/did-you-mean.ts";
import type * as ast from "../syntax/ast.ts";

/** Devices that a kernel of one's own can be written for, and what the file is like. */
const SOURCES: Readonly<Record<string, string>> = { cpu: "x.cc", cuda: "x.cu", webgpu: "x.wgsl" };
const ENTRIES = [...Object.keys(SOURCES), "reference"];

/** The extern kernels of a file: `extern kernel fast(x: [T, D]) -> [T, D] { cuda = "fast.cu"  reference = plain }`. */
function externsOf(file: ast.File): readonly (ast.FnItem & { readonly extern: readonly ast.ExternEntry[] })[] {
  return file.decls.flatMap((decl) =>
    decl.kind === "block" || decl.kind === "model"
      ? decl.items.flatMap((item) =>
          item.kind === "fn" && item.extern !== undefined ? [{ ...item, extern: item.extern }] : [],
        )
      : [],
  );
}

/**
 * Checks the entries of extern kernels: known ones, each once, a reference, and source files that are there. What the
 * reference gives is checked where the kernel is called: the kernel is a function that calls it.
 */
export function checkExterns(file: ast.File, diagnostics: Diagnostics): void {
  for (const { name, extern } of externsOf(file)) {
    const section = `extern kernel \`${name.text}\``;
    const set = new Set<string>();
    for (const entry of extern) {
      const key = entry.name.text;
      if (!ENTRIES.includes(key)) {
        const near = closest(key, ENTRIES);
        const help = near.length > 0 ? `did you mean \`${near[0]}\`?` : `entries are ${ENTRIES.join(", ")}`;
        diagnostics.report("DSK6001", entry.name.span, { section, name: key }, { help });
      } else if (set.has(key)) diagnostics.report("DSK6003", entry.name.span, { name: key });
      else if (key !== "reference") checkSource(entry, diagnostics);
      set.add(key);
    }
    if (!set.has("reference"))
      diagnostics.report(
        "DSK6002",
        name.span,
        { section, names: ["reference"] },
        { help: "a function of the block that computes the same: `reference = plain`" },
      );
  }
}

function checkSource({ name, value }: ast.ExternEntry, diagnostics: Diagnostics): void {
  if (value.kind === "error") return;
  if (value.kind !== "string") {
    const { file, start, end } = value.span;
    const expected = `the path of a file, such as "${SOURCES[name.text]}"`;
    diagnostics.report("DSK6010", value.span, { expected, found: `\`${file.text.slice(start, end)}\`` });
  } else if (!existsSync(resolve(dirname(value.span.file.path), value.value))) {
    diagnostics.report("DSK1004", value.span, { from: value.value });
  }
}

/** Notes the sources that no device takes yet: every device runs the reference. */
export function noteExterns(file: ast.File, diagnostics: Diagnostics): void {
  for (const { name, span } of externsOf(file).flatMap(({ extern }) => extern))
    if (name.text !== "reference") diagnostics.report("DSK6901", span, { name: name.text });
}
