import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import { scoreProgram } from "../../../compiler/elaborate/score.ts";
import { printProgram } from "../../../compiler/tensor-ir/print.ts";
import { checkFile } from "../../../dsl/semantics/check.ts";
import { noteExterns } from "../../../dsl/semantics/externs.ts";

const folder = mkdtempSync(join(tmpdir(), "dskc-"));
for (const name of ["capped.cu", "capped.cc", "capped.wgsl"]) writeFileSync(join(folder, name), "");

afterAll(() => rmSync(folder, { recursive: true }));

const text = (kernel: string, called: string): string => `edition 2026

import { Embedding } from "std/nn"

block Capped[D] {
  fn plain(x: [T, D], limit: f32) -> [T, D] { return limit * tanh(x / limit) }
  ${kernel}
  fn forward(x: [T, D]) -> [T, D] { return ${called}(x, sum[D](sum[T](x))) }
}

model Small {
  dim V = 11
  dim D = 4
  use embed = Embedding[V, D]
  use cap   = Capped[D]
  fn forward(tokens: i32[T], pos: i32[T]) -> f32[T, V] { return embed.transposed(cap(embed(tokens))) }
}
`;

function check(source: string) {
  const diagnostics = new Diagnostics();
  return { ...checkFile({ path: join(folder, "m.dsk"), text: source }, diagnostics), diagnostics };
}

const KERNEL = `extern kernel capped(x: [T, D], limit: f32) -> [T, D] {
    cpu       = "capped.cc"
    cuda      = "capped.cu"
    webgpu    = "capped.wgsl"
    reference = plain
  }`;

describe("an extern kernel", () => {
  test("means what its reference means, gradients too", () => {
    const [{ models, diagnostics }, plain] = [check(text(KERNEL, "capped")), check(text("", "plain"))];
    expect(diagnostics.all).toEqual([]);
    const programOf = ({ models: all }: Pick<typeof plain, "models">): string =>
      printProgram(scoreProgram(all.get("Small")!.module, { gradients: true }));
    expect(programOf({ models })).toBe(programOf(plain));
  });

  test("is a function of its own in the model IR, so that a device can take it", () => {
    const { models } = check(text(KERNEL, "capped"));
    expect([...models.get("Small")!.module.fns.keys()]).toContain("Capped.capped");
  });

  test("has files that nothing takes yet", () => {
    const { scope, diagnostics } = check(text(KERNEL, "capped"));
    noteExterns(scope.file, diagnostics);
    expect(diagnostics.all.map(({ code, message }) => `${code} ${message}`)).toEqual(
      ["cpu", "cuda", "webgpu"].map((name) => `DSK6901 \`${name}\` is checked, but not executed yet`),
    );
  });

  test("`extern` and `kernel` are names everywhere else", () => {
    const { diagnostics } = check(
      "edition 2026\n\nblock A[D] {\n  param kernel: [D]\n  param extern: [D]\n\n  fn forward(x: [D]) -> [D] { return x * kernel + extern }\n}\n",
    );
    expect(diagnostics.all).toEqual([]);
  });

  test("takes the place of a function that it overrides", () => {
    const derived = `block Other[D] extends Capped[D] {
  extern kernel plain(x: [T, D], limit: f32) -> [T, D] { reference = halved }
  fn halved(x: [T, D], limit: f32) -> [T, D] { return x / 2 }
}

`;
    const source = text("", "plain")
      .replace("model Small", `${derived}model Small`)
      .replace("= Capped[D]", "= Other[D]");
    const { models, diagnostics } = check(source);
    expect(diagnostics.all).toEqual([]);
    expect(printProgram(scoreProgram(models.get("Small")!.module))).not.toContain("math.tanh");
  });
});

test.each([
  ["a name that is missing", "extern kernel (x: [T, D]) { reference = plain }", ["DSK0010"]],
  ["a brace that is missing", "extern kernel c(x: [T, D]) { reference = plain", ["DSK0010"]],
  ["another word", "extern function c(x: [T, D]) { reference = plain }", ["DSK0010"]],
])("syntax: %s is one error", (_, kernel, codes) => {
  const { diagnostics } = check(text(kernel, "plain"));
  expect(diagnostics.all.map(({ code }) => code)).toEqual(codes);
});
