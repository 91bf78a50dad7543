/** `dskc inspect FILE`: what a model costs. `dskc inspect kernels FILE`: what its programs launch. */
import { type Command, Option } from "commander";
import { breakdown, type Part } from "../analysis/breakdown.ts";
import {
  DEFAULT_CONTEXT,
  type ExpectationResult,
  evaluateExpectations,
  type Facts,
  factsFrom,
  factsOf,
} from "../analysis/facts.ts";
import { flopsByPlace } from "../analysis/flops.ts";
import { probe } from "../analysis/probe.ts";
import type { WeightForm } from "../lower/stored-weights.ts";
import { type StoredBytes, storedBytes } from "../package/stored-bytes.ts";
import { type StoredForms, storedForms, weightFormText } from "../package/weight-form.ts";
import { examples, positive, print, printJson } from "./io.ts";
import type { InspectKernelOptions } from "./inspect-kernel.ts";
import type { KernelOptions } from "./inspect-kernels.ts";
import { loadModel, type LoadedModel } from "./load-model.ts";
import { PROGRAMS } from "./named-programs.ts";
import { report } from "./report.ts";
import { bytesText, countText, scaled, table } from "./text-table.ts";
import { STORE_HELP, weightForm } from "./weight-form.ts";

/** Levels of parts that the table shows: stacks, their layers' blocks, and what is inside of those. */
const LEVELS = 3;

interface Options {
  readonly model?: string;
  readonly context: number;
  readonly store?: WeightForm;
  readonly json?: boolean;
}

export function register(command: Command): void {
  command
    .argument("<file>", "a spec, or a config.json of Hugging Face")
    .option("--model <name>", "the model of the file; the first one without this")
    .option("--context <tokens>", "the sequence that FLOPs are counted for", positive, DEFAULT_CONTEXT)
    .option("--store <form>", STORE_HELP, weightForm)
    .option("--json", "print one JSON document")
    .action(run);
  examples(
    command,
    ["dskc inspect specs/deepseek-v3.dsk", "params, FLOPs and cache of DeepSeek-V3"],
    ["dskc inspect model.dsk --context 131072 --json", "the same facts for a program"],
    ["dskc inspect kernels model.dsk", "the kernels of a step of generation"],
  );
  registerKernel(command.command("kernel").description("tell what a kernel computes, and how it is cut for a GPU"));
  registerKernels(command.command("kernels").description("tell which kernels a program launches, and what they cost"));
}

/** `--model` and `--json` are those of the command above. */
function registerKernel(command: Command): void {
  command
    .argument("<file>", "a spec, or a config.json of Hugging Face")
    .argument("<name>", "the kernel, as `dskc inspect kernels` names it")
    .addOption(new Option("--program <name>", "whose kernel").choices(Object.keys(PROGRAMS)).default("decode"))
    .option("--train <name>", "the train section of `train_step`; the first one without this")
    .option("--model <name>", "the model of the file; the first one without this")
    .option("--json", "print one JSON document")
    .action(async (file: string, name: string, _: object, self: Command) => {
      const { inspectKernel } = await import("./inspect-kernel.ts");
      inspectKernel(file, name, self.optsWithGlobals<InspectKernelOptions>());
    });
  examples(command, [
    "dskc inspect kernel model.dsk gemm_gate_up --program prefill",
    "tiles that a matrix product could have on Hopper, their cost, and why one was chosen",
  ]);
}

/** `--model` and `--json` are those of the command above. */
function registerKernels(command: Command): void {
  command
    .argument("<file>", "a spec, or a config.json of Hugging Face")
    .addOption(new Option("--program <name>", "whose launches").choices(Object.keys(PROGRAMS)).default("decode"))
    .option("--train <name>", "the train section of `train_step`; the first one without this")
    .option("--sequences <n>", "sequences of a call", positive, 1)
    .option("--length <tokens>", "tokens of each, or in the cache before it decodes", positive)
    .addOption(new Option("--device <device>", "what its kernels are for").choices(["cpu", "webgpu"]).default("cpu"))
    .option("--model <name>", "the model of the file; the first one without this")
    .option("--json", "print one JSON document")
    .action(async (file: string, _: object, self: Command) => {
      const { inspectKernels } = await import("./inspect-kernels.ts");
      inspectKernels(file, self.optsWithGlobals<KernelOptions>());
    });
  examples(
    command,
    ["dskc inspect kernels model.dsk", "a step of generation after 1024 tokens, kernel by kernel and layer by layer"],
    ["dskc inspect kernels model.dsk --program train_step --json", "a training step, for a program"],
    ["dskc inspect kernels model.dsk --device webgpu", "how many dispatches a layer takes on a GPU, and workgroups"],
  );
}

function run(file: string, { model, context, store, json }: Options): void {
  const loaded = loadModel(file, model);
  if (loaded === undefined) return;
  const { module, diagnostics } = loaded;
  const forward = probe(module);
  const flops = flopsByPlace(module, forward, context);
  const facts = factsFrom(module, forward, flops, context);
  // Expectations are about the context that files take for granted, whatever is asked for here.
  const usual = context === DEFAULT_CONTEXT ? facts : factsOf(module);
  const expect = evaluateExpectations(module, usual, diagnostics);
  const serve = servedAs(loaded, store);
  if (json) {
    const { params, flops: counted, cache } = facts;
    printJson({
      model: module.name,
      params,
      flops: counted,
      cache,
      serve: serve.map(({ name, weightBytes, cacheBytesPerToken }) => ({ name, weightBytes, cacheBytesPerToken })),
      expect,
    });
  } else print(describe(module.name, facts, serve, breakdown(module, forward, flops, LEVELS), expect));
  report(diagnostics.all, { format: "text" });
}

/** A serve section, and what weights and caches take as it stores them. */
interface Served extends StoredBytes {
  /** Empty for what a model without sections would take with `--store`. */
  readonly name: string;
  readonly forms: StoredForms;
}

function servedAs({ module, serves }: LoadedModel, store: WeightForm | undefined): Served[] {
  const sections = serves.length === 0 && store !== undefined ? [undefined] : serves;
  return sections.map((section) => {
    const forms = storedForms(section, store);
    return { name: section?.name ?? "", forms, ...storedBytes(module, forms) };
  });
}

function describe(
  name: string,
  facts: Facts,
  serve: readonly Served[],
  parts: readonly Part[],
  expect: readonly ExpectationResult[],
): string {
  const { params, flops, cache } = facts;
  const label = (section: string): string => (section === "" ? "  with --store" : `  \`serve ${section}\``);
  const stored = serve.flatMap(({ name: section, forms: { store }, weightBytes }): [string, string, string][] =>
    store === undefined
      ? []
      : [[label(section), countText(weightBytes), `${bytesText(weightBytes)}, ${weightFormText(store)}`]],
  );
  const cached = serve.flatMap(({ name: section, forms: { caches }, cacheBytesPerToken }): [string, string, string][] =>
    caches === undefined ? [] : [[label(section), "", `${bytesText(cacheBytesPerToken)}, ${caches}`]],
  );
  const rows: [string, string, string][] = [
    ["params", countText(params.total), scaled(params.total)],
    ["  activated", countText(params.activated), `${scaled(params.activated)}, with both embeddings`],
    [
      "",
      countText(params.activatedNoInputEmbedding),
      `${scaled(params.activatedNoInputEmbedding)}, without the input embedding`,
    ],
    ["", countText(params.activatedNoEmbeddings), `${scaled(params.activatedNoEmbeddings)}, without both`],
    ["  look-ahead modules", countText(params.mtp), `${scaled(params.mtp)}, not part of the total`],
    ["weights", countText(facts.weightBytes), bytesText(facts.weightBytes)],
    ...stored,
    ["cache per token", countText(cache.valuesPerToken), `values, ${bytesText(cache.bytesPerToken)}`],
    ...cached,
    [
      `FLOPs per token at ${countText(flops.context)}`,
      countText(Math.round(flops.forwardPerToken)),
      `${scaled(flops.forwardPerToken)} forward, ${scaled(flops.trainPerToken)} in training`,
    ],
  ];
  const shown = params.mtp === 0 ? rows.filter(([label]) => label !== "  look-ahead modules") : rows;
  const columns = ["part", "block", "params", "activated", "FLOPs/token", "cache/token", "weights"];
  const lines = parts.map((part) => [
    `${"  ".repeat(part.depth)}${part.name}`,
    part.block,
    scaled(part.params),
    part.activated === part.params ? "" : scaled(part.activated),
    part.flopsPerToken === 0 ? "" : scaled(part.flopsPerToken),
    part.cacheBytesPerToken === 0 ? "" : bytesText(part.cacheBytesPerToken),
    bytesText(part.weightBytes),
  ]);
  const held = expect.filter(({ holds }) => holds).length;
  return [
    `model ${name}`,
    "",
    table(shown, ["left", "right", "left"]),
    "",
    table([columns, ...lines], ["left", "left", "right", "right", "right", "right", "right"]),
    ...(expect.length === 0 ? [] : ["", `${held} of ${expect.length} expectations hold`]),
  ].join("\n");
}
