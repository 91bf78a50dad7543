import { elementsOf } from "../../compiler/analysis/bytes.ts";
import { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import { renderDiagnostic } from "../../compiler/diagnostics/render.ts";
import { scoreProgram } from "../../compiler/elaborate/score.ts";
import { trainStepProgram } from "../../compiler/elaborate/train-step.ts";
import { storesOf } from "../../compiler/model-ir/places.ts";
import type { Module } from "../../compiler/model-ir/types.ts";
import type { Op, Program } from "../../compiler/tensor-ir/types.ts";
import { checkFile, type CheckedModel } from "../../dsl/semantics/check.ts";
import { execute, type Executed } from "./execute.ts";
import { randoms, type Row } from "./plain.ts";

/** A block around which `Probe` builds a model of one function. */
export interface ProbeText {
  /** `import { ... } from "std/..."` lines. */
  readonly imports: string;
  /** Items of the model: dims, params, uses. `V` and `x: [V, D]` (row t is what token t reads) are there. */
  readonly items: string;
  /** Statements that end in `return`; `x` is [T, D] and `pos` i32[T]. */
  readonly body: string;
  /** The dim of the result beside T. */
  readonly out: string;
  readonly tokens: number;
}

export interface ProbeInputs {
  /** By path; everything else is drawn at random. */
  readonly params?: Readonly<Record<string, Row>>;
  readonly states?: Readonly<Record<string, Row>>;
  readonly pos?: Row;
  /** The sequence of each token, -1 for padding. */
  readonly seq?: Row;
  /** The next token, -1 for none. */
  readonly target?: Row;
  /** Values of the `tensor.random` ops, in order. */
  readonly draws?: readonly Row[];
}

/** A model around `items`; `blocks` are further declarations of the file. */
export function probeModel({ imports, items, body, out, tokens }: ProbeText, blocks = ""): CheckedModel {
  return checkedModel(`edition 2026

${imports}

${blocks}

model Probe {
  dim V = ${tokens}
${items}
  param table: [V, D]

  fn forward(tokens: i32[T], pos: i32[T]) -> f32[T, ${out}] {
    let x = gather[V](table, tokens)
${body}
  }
}
`);
}

/** The only, or the last, model of a text that has no errors. */
export function checkedModel(text: string, path = "probe.dsk"): CheckedModel {
  const diagnostics = new Diagnostics();
  const { models } = checkFile({ path, text }, diagnostics);
  const model = [...models.values()].at(-1);
  if (model === undefined || diagnostics.hasErrors)
    throw new Error(diagnostics.all.map((d) => renderDiagnostic(d, { color: false })).join("\n"));
  return model;
}

/** Values of the model's params and states: those given, else drawn by path. Layers of a stack differ. */
function storeValues(module: Module, { params = {}, states = {} }: ProbeInputs): Map<string, Row> {
  const values = new Map<string, Row>();
  const known = new Set<string>();
  for (const [index, { path, store, type }] of storesOf(module.root).entries()) {
    const count = elementsOf(type, module.dims);
    const given = store.kind === "state" ? (states[path] ?? Array.from({ length: count }, () => 0)) : params[path];
    known.add(path);
    if (store.kind === "cache") continue;
    if (given !== undefined && given.length !== count) throw new Error(`${path} has ${count} values`);
    values.set(path, (given ?? randoms(7919 * (index + 1), count)).map(Math.fround));
  }
  const unknown = [...Object.keys(params), ...Object.keys(states)].filter((path) => !known.has(path));
  if (unknown.length > 0) throw new Error(`there is no ${unknown.join(", ")}; there are ${[...known].join(", ")}`);
  return values;
}

function programInputs(tokens: number, inputs: ProbeInputs, ahead: number): Map<string, Row> {
  const all = Array.from({ length: tokens }, (_, i) => i);
  const seq = inputs.seq ?? all.map(() => 0);
  const target = inputs.target ?? all.map(() => -1);
  const next = (by: number): Row => all.map((i) => (seq[i + by] === seq[i] ? i + by : -1));
  const found = new Map<string, Row>([
    ["tokens", all],
    ["pos", inputs.pos ?? all],
    ["seq", seq],
    ["target.1", target],
  ]);
  for (let k = 1; k <= ahead; k++) {
    found.set(`ahead.${k}`, next(k));
    found.set(`target.${k + 1}`, next(k + 1));
  }
  return found;
}

/** `tensor.random` as inputs `draw.0`, `draw.1`, ... */
function withDraws(program: Program): Program {
  let count = 0;
  const ops = program.ops.map((op): Op => {
    if (op.name !== "tensor.random") return op;
    return { ...op, name: "program.input", attrs: { name: `draw.${count++}` } };
  });
  return { ...program, ops };
}

export interface Probed {
  /** [T, out], row by row. */
  readonly logits: Row;
  readonly metrics: ReadonlyMap<string, Row>;
  /** Values of the params and states as they were. */
  readonly value: (path: string) => Row;
}

function bound(values: ReadonlyMap<string, Row>): (path: string) => Row {
  return (path) => {
    const found = values.get(path);
    if (found === undefined) throw new Error(`there is no ${path}; there are ${[...values.keys()].join(", ")}`);
    return found;
  };
}

function run(program: Program, values: ReadonlyMap<string, Row>, inputs: ReadonlyMap<string, Row>): Executed {
  const sequences = Math.max(...inputs.get("seq")!) + 1;
  const tokens = inputs.get("tokens")!.length;
  return execute(withDraws(program), { stores: values, inputs, sizes: { T: tokens, S: tokens, B: sequences } });
}

/** The model's function on all rows of `table`, as it scores. */
export function score({ module }: CheckedModel, inputs: ProbeInputs = {}): Probed {
  const values = storeValues(module, inputs);
  const tokens = module.dims.get("V")!;
  const result = run(scoreProgram(module, { metrics: true }), values, programInputs(tokens, inputs, 0));
  return { logits: result.outputs.get("logits")!, metrics: result.metrics, value: bound(values) };
}

export interface Trained {
  /** Without weights. */
  readonly losses: ReadonlyMap<string, number>;
  readonly metrics: ReadonlyMap<string, Row>;
  readonly value: (path: string) => Row;
  /** Of the sum of the losses. */
  readonly gradient: (path: string) => Row;
  /** States after `on step`. */
  readonly after: (path: string) => Row;
}

/** A power of 2, so that a gradient is found in the difference of weights without a loss of digits. */
const RATE = 2 ** 14;

/** One step of plain gradient descent on the sum of some losses. */
export function trainStep(
  model: CheckedModel,
  losses: readonly string[],
  inputs: ProbeInputs & { readonly train?: Readonly<Record<string, number>> } = {},
): Trained {
  const { module, optimizer } = model.training();
  const values = storeValues(module, inputs);
  const plain = new Map([["momentum", 0]]);
  const program = trainStepProgram(module, {
    objective: losses.map((loss) => ({ loss, weight: 1 })),
    optimizer: (type) => optimizer("Sgd", plain, type)!,
  });
  const depth = Math.max(0, ...[...module.ahead.values()].map((ahead) => ahead.depth));
  const given = programInputs(module.dims.get("V")!, inputs, depth);
  given.set("lr", [RATE]).set("step", [1]);
  for (const [name, value] of Object.entries(inputs.train ?? {})) given.set(`train.${name}`, [value]);
  for (const [i, draw] of (inputs.draws ?? []).entries()) given.set(`draw.${i}`, draw);
  const result = run(program, values, given);
  const after = bound(result.updates);
  const before = bound(values);
  return {
    losses: new Map(losses.map((loss) => [loss, result.outputs.get(`loss.${loss}`)![0]!])),
    metrics: result.metrics,
    value: before,
    gradient: (path) => after(path).map((w, i) => (before(path)[i]! - w) / RATE),
    after,
  };
}
