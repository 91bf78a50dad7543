/** Writes the spec of a model. */
import type { AttentionPlan, Dim, FfnPlan } from "./plan.ts";
import { args, literal, use } from "./text.ts";

export interface ModelPlan {
  readonly name: string;
  readonly doc: string;
  readonly vocabulary: number;
  readonly hidden: number;
  readonly layers: number;
  readonly eps: number;
  readonly tied: boolean;
  /** Undefined: the language's own. */
  readonly dtype: string | undefined;
  readonly deviation: number;
  readonly checkpoint: string;
  readonly attention: AttentionPlan;
  readonly ffn: FfnPlan;
  /** Look-ahead modules. */
  readonly ahead: number;
}

/** What an imported spec may use of the standard library, by file. */
const LIBRARY: Readonly<Record<string, readonly string[]>> = {
  "std/attention": [
    "BiasedDirectMla",
    "BiasedGqa",
    "BiasedMla",
    "DirectMla",
    "FullyBiasedGqa",
    "Gqa",
    "Mha",
    "Mla",
    "Mqa",
  ],
  "std/moe": [
    "DeepSeekMoe",
    "DeepSeekMoeV1",
    "DeepSeekMoeV2",
    "DeepSeekRoutedMoe",
    "DeepSeekRoutedMoeV2",
    "SoftmaxMoe",
  ],
  "std/nn": [
    "BiasedSwiGlu",
    "Decoder",
    "Embedding",
    "GeGlu",
    "HeadsRmsNorm",
    "KeyHeadsRmsNorm",
    "LayerNorm",
    "RmsNorm",
    "SwiGlu",
  ],
  "std/rope": ["LinearRope", "Llama3Rope", "PartialRope", "Rope", "YarnRope"],
};

/** Names that a model cannot have beside what its spec imports, declares and calls its dims. */
export function isTaken(name: string): boolean {
  return name === "SparseMla" || name.length === 1 || Object.values(LIBRARY).flat().includes(name);
}

/** The text, not yet formatted. */
export function specText(plan: ModelPlan): string {
  const { attention, eps, vocabulary, hidden } = plan;
  const dims: readonly Dim[] = [{ name: "V", size: vocabulary }, { name: "D", size: hidden }, ...attention.dims];
  const settings = [
    ...(plan.dtype === undefined ? [] : [`dtype = ${plan.dtype}`]),
    `init = normal(${literal(plan.deviation)})`,
    `checkpoint = std.hf.${plan.checkpoint}`,
  ];
  const model = [
    `/// ${plan.doc}`,
    `model ${plan.name} {`,
    ...dims.map(dimLine),
    ...settings,
    "",
    "use embed = Embedding[V, D]",
    "use trunk = stack {",
    ...runs(plan).map(({ count, text }) => `${count} of ${text}`),
    "}",
    `use norm = ${use("RmsNorm", ["D"], { eps })}`,
    `use head = ${plan.tied ? "embed" : "Embedding[V, D]"}.transposed`,
    ...(plan.ahead === 0 ? [] : [aheadLine(plan)]),
    "",
    "fn forward(tokens: i32[T], pos: i32[T]) -> f32[T, V] {",
    "return head(norm(trunk(embed(tokens), pos)))",
    "}",
    "}",
  ].join("\n");
  const body = attention.declaration === undefined ? model : `${attention.declaration}\n\n${model}`;
  return `edition 2026\n\n${imports(body)}\n\n${body}\n`;
}

function dimLine({ name, size, doc }: Dim): string {
  return `dim ${name} = ${typeof size === "number" ? literal(size) : size}${doc === undefined ? "" : ` /// ${doc}`}`;
}

function layer({ attention, ffn, eps }: ModelPlan, index: number): string {
  return use("Decoder", ["D"], { mixer: attention.mixer(index), ffn: ffn(index), eps });
}

/** Layers that are alike, one after the other. */
function runs(plan: ModelPlan): readonly { readonly count: number; readonly text: string }[] {
  const found: { count: number; text: string }[] = [];
  for (let index = 0; index < plan.layers; index++) {
    const text = layer(plan, index);
    const last = found.at(-1);
    if (last?.text === text) last.count++;
    else found.push({ count: 1, text });
  }
  return found;
}

/** Checkpoints store the modules as layers behind the last one, of the kind that a layer there has. */
function aheadLine(plan: ModelPlan): string {
  const given = { depth: plan.ahead, with: layer(plan, plan.layers), shares: "[embed, head]", eps: plan.eps };
  return `use mtp = predict_ahead(${args(given, "PredictAhead")})`;
}

function imports(body: string): string {
  const code = body.replace(/\/\/\/.*/g, "");
  return Object.entries(LIBRARY)
    .map(([file, names]) => [file, names.filter((name) => new RegExp(`\\b${name}\\b`).test(code))] as const)
    .filter(([, names]) => names.length > 0)
    .map(([file, names]) => `import { ${names.join(", ")} } from "${file}"`)
    .join("\n");
}
