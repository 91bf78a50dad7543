import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "vitest";

/** `docs/cli.md` is written from what the commands say about themselves; `npm run golden` writes it anew. */
const root = resolve(import.meta.dirname, "../..");
const page = resolve(root, "docs/cli.md");

const HEAD = `# The command line

Data goes to stdout, remarks and diagnostics to stderr; \`--json\` prints one JSON document to stdout, which has the form of
\`dskc check --json\` when the input has errors. Files are written aside and renamed: a cut leaves the old file or the new one. A file of \`-\`
is stdin, where a command reads text.

| exit code | says |
| --- | --- |
| 0 | fine |
| 1 | the input has errors, is not there, or cannot be read as what it is given for |
| 2 | wrong usage: arguments and options |
| 70 | a fault of dskc: please report it; \`DSKC_DEBUG=1\` shows where |

Diagnostics are colored on a terminal unless \`NO_COLOR\` is set. This page is made from what \`dskc COMMAND --help\` prints.
`;

/** What a help text has no room for, below the text of its command. */
const MORE: Readonly<Record<string, string>> = {
  check: `\`--json\`: \`{ errors, warnings, diagnostics: [{ code, name, severity, message, file, start, end, labels, notes, help, fix }] }\`.
Places are \`{ line, column, offset }\`, lines and columns from 1; \`fix\` is an edit, \`{ title, file, start, end, text }\`, or null. SARIF
is 2.1.0, for code scanning; \`github\` are the annotations of GitHub Actions.
`,
  inspect: `\`--json\`: \`{ model, params: { total, activated, activatedNoInputEmbedding, activatedNoEmbeddings, mtp, embedding }, flops:
{ forwardPerToken, trainPerToken, context }, cache: { valuesPerToken, bytesPerToken }, serve: [{ name, weightBytes, cacheBytesPerToken }], expect: [{ ... }] }\`.
\`total\` and the bytes are without look-ahead modules; FLOPs are those of matrices and of causal attention at \`context\`, the head
included, the input embedding not. \`serve\` has what weights and caches take as each serve section, or \`--store\`, stores them.

Layers of a stack that are alike share a row of the table, whose numbers are those of all of them together.
`,
  "inspect kernels": `Kernels as lowering makes them, in the order of their first launch; operations and bytes are those of
\`dskc bench kernels\`, \`arena\` the bytes of temps that are alive while a kernel runs, at most. Nothing runs. A launch belongs to the
layer whose params or caches it touches, else to that of what it reads; layers that are alike share a row, with the numbers of one.

\`--json\`: \`{ model, program, sequences, length, tokens, launches, arenaBytes, kernels: [{ kernel, family, count, items, flops, bytes,
arena, computes }], layers: [{ layer, launches, flops, bytes, kernels: [name] }] }\`, each layer by itself; \`layer\` is empty for what
belongs to none.

With \`--device webgpu\` also the entry points of each kernel that run for these sizes, how often one is dispatched and the workgroups of all
of them; the arena has a word for every element there. In JSON \`entries\`, \`dispatches\` and \`workgroups\` of kernels, \`dispatches\` of
layers.
`,
  score: `The tokens are \`{"tokens": [[1, 2, 3], [4, 5]]}\`: rows of any length, each scored by itself. The file that is written has

| tensor | shape | |
| --- | --- | --- |
| \`logits\` | [rows, longest row, vocabulary] | rows that are shorter end in zeros; not with \`--no-logits\`, where the loss is made block by block |
| \`loss\` | [1] | mean cross entropy of the next token, over all tokens that have one |
| \`hidden.0\` to \`hidden.L\` | [rows, longest row, width] | \`--hidden\`: the residual stream before the layers and after each of them |
| \`grad.NAME\` | as in the checkpoint | \`--grad\`: of \`loss\`; zero for an expert that no token visits |
| \`PATH.chosen\`, \`PATH.load\` | [tokens, experts of a token], [experts] | \`--routing\`: tokens without padding, row after row |

all in f32. \`--precision f64\` rounds nothing between the ops; results are f32 even so.
`,
  import: `What it writes is a spec like those in [specs](../specs/README.md), with the blocks of the [standard library](std.md); \`checkpoint =
std.hf.NAME\` in it says how the tensors of a checkpoint are called. A key that would change the model and is not understood is an error
with its name and value: nothing is guessed. Commands that read a model take a config.json, or its folder, in place of a spec.

Weights are read from \`model.safetensors\` or the shards of \`model.safetensors.index.json\`: F64, F32, F16, BF16, and F8_E4M3 with a
\`weight_scale_inv\` for each block of 128 x 128. Only headers are read until a tensor is needed; a header that lies is an error.
`,
  export: `Weights of a checkpoint are copied byte for byte in whatever dtype they have, FP8 with its scales; weights that have the paths of the
model's params (\`trunk.0.mixer.wq\`) are brought into the published layout, in the dtypes of the params (rounded to nearest, ties to
even). The config.json says what the model is: importing it gives the same model, which is verified before anything is written.
`,
  build: `Tensor IR is described in [tensor-ir.md](tensor-ir.md), model IR in [model-ir.md](model-ir.md), the passes in
[passes.md](passes.md). What is printed parses back.
`,
  bench: `The machine's own speed is measured beside the model's, compiled and run as kernels are: fused multiply-adds in registers, and reading as
many bytes as the model touches. Operations and bytes of a kernel are counted from kernel IR: those that it cannot do without. Routed
experts count once for each token that they get, attention for the positions that a token sees; a random model is as fast as a trained one.

\`--json\`: \`machine: { variant, threads, flops, read: { bytes, bytesPerSecond } }\` in all of them, and

| | |
| --- | --- |
| \`kernels\` | \`tokens, milliseconds, tokensPerSecond, kernels: [{ kernel, family, launches, milliseconds, flops, bytes, shareOfTime, shareOfPeak, bound }]\` of one call |
| \`train\` | \`tokens, seconds: { median, p99, count }, tokensPerSecond, flops, shareOfPeak, storeBytes, arenaBytes\` of a step |
| \`latency\`, \`throughput\` | \`answers: [{ streams, promptTokens, answerTokens, firstToken: { median, p99, count }, nextToken, tokensPerSecond, promptTokensPerSecond }]\`, times in seconds |
`,
  explain: "The pages are those in [errors](errors).\n",
};

/** Commands below a command. */
const WITHIN: Readonly<Record<string, readonly string[]>> = { inspect: ["inspect kernels"] };

function help(...args: string[]): string {
  const { stdout, status } = spawnSync(process.execPath, ["bin/dskc.js", ...args, "--help"], {
    cwd: root,
    encoding: "utf8",
  });
  expect(status).toBe(0);
  return stdout;
}

function render(): string {
  const all = help();
  const commands = [...all.slice(all.indexOf("Commands:")).matchAll(/^ {2}([a-z]+) /gm)]
    .map((m) => m[1]!)
    .filter((name) => name !== "help")
    .flatMap((name) => [name, ...(WITHIN[name] ?? [])]);
  expect(commands.length).toBeGreaterThan(8);
  expect(Object.keys(MORE).filter((name) => !commands.includes(name))).toEqual([]);
  const parts = commands.map((name) =>
    [
      `## dskc ${name}`,
      "",
      "```text",
      help(...name.split(" ")).trimEnd(),
      "```",
      "",
      ...(MORE[name] ? [MORE[name]] : []),
    ].join("\n"),
  );
  return [HEAD, ...parts].join("\n");
}

test("the page is what the commands say", () => {
  const text = render();
  if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(page, text);
  expect(readFileSync(page, "utf8")).toBe(text);
});
