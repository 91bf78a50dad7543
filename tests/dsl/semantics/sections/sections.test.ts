import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { Diagnostics } from "../../../../compiler/diagnostics/diagnostic.ts";
import { checkFile } from "../../../../dsl/semantics/check.ts";
import { noteUnexecuted } from "../../../../dsl/semantics/sections/sections.ts";
import { check, layout, train } from "./support.ts";

const root = resolve(import.meta.dirname, "../../../..");

describe("sound sections", () => {
  test("a train section", () => {
    const { messages, sections } = check(train());
    expect(messages).toEqual([]);
    const [section] = sections.all;
    expect(section).toMatchObject({ kind: "train", name: "Pretrain", model: "Tiny", train: undefined, complete: true });
    expect(section!.entries.get("length")).toMatchObject({ from: "own", value: { value: 4096, measure: "tokens" } });
    expect(section!.entries.get("seed")).toMatchObject({ from: "default", value: { kind: "number", value: 0 } });
    expect(section!.entries.get("optimizer")?.value).toMatchObject({ kind: "call", fn: "adamw", result: "optimizer" });
    expect(section!.entries.has("rollout.count")).toBe(false);
  });

  test("data of every kind", () => {
    for (const data of [
      'text("a/**/*.md", pack: true, fim: 0.1)',
      'lines("a/*.jsonl", field: "body", fim: 10%)',
      'chat("a/*.jsonl")',
      'mixture(text("a/*.md") * 0.5, shards("b/*.npy") * 0.5)',
    ])
      expect(check(train({ data })).messages).toEqual([]);
  });

  test("arguments by place, by name and by default", () => {
    const { sections } = check(train({ loss: "next_token() + sequence_balance(1e-4)" }));
    const loss = sections.all[0]!.entries.get("loss")!.value;
    if (loss.kind !== "sum") throw new Error("no sum");
    expect(loss.terms.map(({ weight, value }) => [weight, value.kind === "call" && value.fn])).toEqual([
      [1, "next_token"],
      [1, "sequence_balance"],
    ]);
  });

  test("a section takes what it does not set from its base, groups included", () => {
    const { messages, sections } = check(
      `${train({}, "  precision { master = bf16  moments = bf16 }\n")}
train Extend for Tiny from Pretrain { length = 32Ki tokens  precision { moments = f32 } }`,
    );
    expect(messages).toEqual([]);
    const { entries } = sections.all[1]!;
    expect(entries.get("length")).toMatchObject({ from: "own", value: { value: 32768 } });
    expect(entries.get("stop")).toMatchObject({ from: "base", value: { value: 1e10 } });
    expect(entries.get("precision.master")).toMatchObject({ from: "base", value: { name: "bf16" } });
    expect(entries.get("precision.moments")).toMatchObject({ from: "own", value: { name: "f32" } });
    expect(entries.get("precision.gradients")).toMatchObject({ from: "default", value: { name: "f32" } });
  });

  test("a function without arguments may be written without parentheses", () => {
    expect(check(layout("mesh = 4 gpus\naxes { pp = 4 }\npipeline = auto")).messages).toEqual([]);
  });

  test("a value that a block of the user reads", () => {
    const diagnostics = new Diagnostics();
    const text = `edition 2026

import { Embedding } from "std/nn"

block Drift[D] {
  state centre: f32[D] = 0
  fn forward(x: [T, D]) -> [T, D] {
    metric seen[D] = mean[T](f32(x))
    return x
  }
  on step { centre = centre + train.drift_rate * (seen - centre) }
}

model Tiny {
  dim V = 512
  dim D = 64
  use embed = Embedding[V, D]
  use drift = Drift[D]
  use head  = Embedding[V, D].transposed
  fn forward(tokens: i32[T], pos: i32[T]) -> f32[T, V] { return head(drift(embed(tokens))) }
}

${train({ balance_rate: undefined, drift_rate: "schedule by steps { ..3 => -1  ..end => 0 }" })}`;
    const { sections } = checkFile({ path: "test.dsk", text }, diagnostics);
    expect(diagnostics.all.map((d) => d.message)).toEqual([]);
    expect(sections.all[0]!.entries.get("drift_rate")?.value.kind).toBe("schedule");
  });

  test("every pipeline schedule", () => {
    for (const name of [
      "gpipe",
      "one_f_one_b",
      "interleaved(chunks: 2)",
      "zero_bubble(h1)",
      "zero_bubble(p2)",
      "zbv",
      "zbv(half)",
      "dualpipe()",
      "dualpipev()",
      "auto",
    ]) {
      expect([name, check(layout(`mesh = 2 gpus\naxes { pp = 2 }\npipeline = ${name}`)).messages]).toEqual([name, []]);
    }
  });

  test("reinforcement learning", () => {
    const { messages } = check(`${train()}
train Reason for Tiny from Pretrain {
  objective = grpo(group: 16, clip: [0.2, 0.28], kl: 1e-3, estimator: k3, ratio: token)
  prompts   = 32
  rollout   { count = 8_192  length = schedule by steps { ..8_200 => 32Ki tokens  ..end => 64Ki tokens }  minibatches = 16 }
  reference = refresh(every: 400 steps)
  reward    = exact_answer() + 0.5 * format("<think>*</think>") + same_language()
}`);
    expect(messages).toEqual([]);
  });

  test("mined data", () => {
    const { messages } = check(`data Math {
  seed = lines("openwebmath/*.jsonl")
  crawl = lines("crawl/*.jsonl")
  classifier = fasttext()
  keep = 40B tokens
  decontaminate = without("benchmarks/*.jsonl")
}
${train({ data: "Math" })}`);
    expect(messages).toEqual([]);
  });

  test.each(readdirSync(join(root, "specs")).filter((name) => name.endsWith(".dsk")))("%s", (name) => {
    const diagnostics = new Diagnostics();
    checkFile({ path: join(root, "specs", name), text: readFileSync(join(root, "specs", name), "utf8") }, diagnostics);
    expect(diagnostics.all.map((d) => d.message)).toEqual([]);
  });

  test("what is not executed is told when asked", () => {
    const { sections } = check("target cpu { threads = 4 }");
    const diagnostics = new Diagnostics();
    noteUnexecuted(sections, diagnostics);
    expect(diagnostics.all.map((d) => `${d.severity} ${d.message}`)).toEqual([
      "note `threads` is checked, but not executed yet",
    ]);
  });
});

/** What is wrong, and all that is said of it. */
const WRONG: readonly (readonly [string, string, readonly string[]])[] = [
  [
    "a misspelt entry",
    train({}, "  lenght = 1 tokens\n"),
    ["DSK6001 train `Pretrain` has no entry `lenght` | did you mean `length`?"],
  ],
  [
    "an entry of a group",
    train({}, "  master = bf16\n"),
    ["DSK6001 train `Pretrain` has no entry `master` | `precision { master = ... }`"],
  ],
  ["missing entries", train({ lr: undefined, stop: undefined }), ["DSK6002 train `Pretrain` needs `stop` and `lr`"]],
  [
    "missing entries of a training from text",
    train({ data: undefined, loss: undefined }),
    ["DSK6002 train `Pretrain` needs `data` and `loss`"],
  ],
  ["an entry twice", train({}, "  lr = 2\n"), ["DSK6003 `lr` is set twice"]],
  ["a section twice", "target cpu { }\ntarget cpu { }", ["DSK6004 target `cpu` is declared twice"]],
  [
    "no model",
    train().replace(" for Tiny", ""),
    ["DSK6005 train `Pretrain` does not say for which model | write `train Pretrain for Tiny`"],
  ],
  [
    "an unknown model",
    train().replace("for Tiny", "for Tinny"),
    ["DSK2002 there is no model `Tinny` | did you mean `Tiny`?"],
  ],
  ["an unknown train section", "layout L for Pretrian { mesh = 1 gpus }", ["DSK6006 there is no train `Pretrian`"]],
  ["an unknown base", "train A for Tiny from B { }", ["DSK6006 there is no train `B`"]],
  [
    "a base of another kind",
    `${train()}serve A for Tiny from Pretrain { weights = run("a") }`,
    ["DSK6007 `Pretrain` cannot be the base: it is a train section"],
  ],
  [
    "a cycle",
    "train A for Tiny from B { }\ntrain B from A { }",
    ["DSK6008 sections are based on each other: A -> B -> A"],
  ],
  [
    "a value for a group",
    train({ precision: "bf16" }),
    ["DSK6009 `precision` is a group of entries | `precision { ... }`"],
  ],
  ["a group for a value", train({ lr: undefined }, "  lr { }\n"), ["DSK6009 `lr` is no group | `lr = ...`"]],
  ["another kind of value", train({ length: '"long"' }), ["DSK6010 expected a number of tokens, found a text"]],
  [
    "another function",
    train({ optimizer: "dualpipe()" }),
    ["DSK6010 expected an optimizer, found `dualpipe`, a pipeline"],
  ],
  [
    "one value for a list",
    "target cuda { arch = sm_80 }",
    [
      "DSK6010 expected a list of `sm_80`, `sm_86`, `sm_89`, `sm_90a`, `sm_100a` or `sm_120a`, found `sm_80` | write `[sm_80]`",
    ],
  ],
  [
    "a number without a unit",
    train({ length: "4Ki" }),
    ["DSK6011 expected a number of tokens, found a number without a unit | write `4Ki tokens`"],
  ],
  [
    "another unit",
    train({ stop: "8 gpus" }),
    ["DSK6011 expected a number of tokens, a number of steps or a number of epochs, found a number of gpus"],
  ],
  ["a number out of range", train({ lr: "-1" }), ["DSK6012 `-1` is out of range: expected a number from 0 on"]],
  [
    "half a step",
    train({ stop: "1.5 steps" }),
    ["DSK6012 `1.5 steps` is out of range: expected a whole number of steps from 1 on"],
  ],
  [
    "an unknown function",
    train({ optimizer: "adam()" }),
    ["DSK6013 no function `adam` gives an optimizer | did you mean `adamw`?"],
  ],
  [
    "an unknown argument",
    train({ optimizer: "adamw(beta: [0.9, 0.95])" }),
    ["DSK6014 `adamw` has no argument `beta` | did you mean `betas`?"],
  ],
  ["too many arguments", train({ data: 'shards("a", true, 0.1, 2)' }), ["DSK6014 `shards` takes 3 arguments"]],
  ["a missing argument", train({ data: "shards()" }), ["DSK6014 `shards` needs `files`"]],
  ["an argument twice", train({ data: 'shards("a", files: "b")' }), ["DSK6014 `shards` gets `files` twice"]],
  [
    "another word",
    train({}, "  precision { master = bf15 }\n"),
    ["DSK6015 expected `f32` or `bf16`, found `bf15` | did you mean `bf16`?"],
  ],
  ["a target for a model", "target cpu for Tiny { }", ["DSK6017 a target section is for nothing else"]],
  [
    "an unknown fact",
    train({}, "  expect token == 1B tokens\n"),
    ["DSK6018 a train section has no fact `token` | did you mean `tokens`?"],
  ],
  [
    "a fact in another unit",
    train({}, "  expect tokens == 1B steps\n"),
    ["DSK6011 expected a number of tokens, found a number of steps"],
  ],

  [
    "boundaries that fall",
    train({ lr: "schedule by tokens { ..5B => 1  ..1B => 2  ..end => 3 }" }),
    ["DSK6101 `..1B` does not lie behind `..5B`"],
  ],
  [
    "steps behind tokens",
    train({ lr: "schedule by tokens { ..5B => 1  ..9 steps => 2  ..end => 3 }" }),
    ["DSK6101 `..9 steps` does not lie behind `..5B` | boundaries in steps come first"],
  ],
  [
    "no end",
    train({ lr: "schedule by tokens { ..5B => 1 }" }),
    ["DSK6102 a schedule ends with `..end`, so that every step has a value"],
  ],
  [
    "an early end",
    train({ lr: "schedule by tokens { ..end => 1  ..5B => 2 }" }),
    ["DSK6102 a schedule ends with `..end`, and only there"],
  ],
  [
    "a batch now in sequences, now in tokens",
    train({ batch: "schedule by steps { ..9 => ramp(4, 8)  ..end => 1Ki tokens }" }),
    ["DSK6011 expected a number of sequences, found a number of tokens"],
  ],
  [
    "a ramp from sequences to tokens",
    train({ batch: "schedule by steps { ..9 => ramp(4, 1Ki tokens)  ..end => 8 }" }),
    ["DSK6011 expected a number of sequences, found a number of tokens"],
  ],
  [
    "tokens in a schedule by steps",
    train({ lr: "schedule by steps { ..5B tokens => 1  ..end => 2 }" }),
    ["DSK6103 a schedule by steps cannot change at a number of tokens"],
  ],
  [
    "an unknown clock",
    train({ lr: "schedule by step { ..end => 2 }" }),
    ["DSK6104 a schedule cannot run by `step` | did you mean `steps`?"],
  ],
  [
    "a shape alone",
    train({ lr: "cosine(1, 0)" }),
    ["DSK6105 `cosine` only has a meaning inside a schedule | write `schedule by progress { ..end => cosine(1, 0) }`"],
  ],
  [
    "a change after the end",
    train({ lr: "schedule by tokens { ..20B => 1  ..end => 2 }" }),
    ["DSK6106 the training stops at 10B tokens, before a change at 20,000,000,000 tokens"],
  ],
  [
    "a schedule where none may stand",
    train({ seed: "schedule by steps { ..end => 1 }" }),
    ["DSK6010 expected a whole number from 0 on, found a schedule"],
  ],

  [
    "an unknown loss",
    train({ loss: "next_token() + sequence_balanc(1)" }),
    ["DSK6201 no block of `Tiny` has a loss `sequence_balanc` | did you mean `sequence_balance`?"],
  ],
  [
    "look-ahead without a module",
    train({ loss: "next_token() + mtp(0.3)" }),
    [
      "DSK6202 `Tiny` predicts no token ahead: `mtp` has no loss | `use mtp = predict_ahead(depth: 1, with: ..., shares: [embed, head])` in the model",
    ],
  ],
  [
    "a value that the model reads",
    train({ balance_rate: undefined }),
    ["DSK6203 `Tiny` reads `train.balance_rate`, and train `Pretrain` does not set it | `balance_rate = 1e-3`"],
  ],
  [
    "an unknown part",
    train({}, "  precision { keep_bf16 = [embed, mixer.softmx] }\n"),
    ["DSK6204 `Tiny` has no part `mixer.softmx` | did you mean `softmax`?"],
  ],
  [
    "a mixture that is no whole",
    train({ data: 'mixture(shards("a") * 0.5, 0.4 * shards("b"))' }),
    ["DSK6207 the shares of a mixture add up to 0.9, not to 1"],
  ],
  [
    "rewards without an objective",
    train({ reward: "exact_answer()" }),
    ["DSK6206 `reward` has no effect without an objective"],
  ],
  [
    "a rollout of another size",
    train(
      {
        data: 'questions("q/*.jsonl")',
        length: undefined,
        batch: undefined,
        loss: undefined,
        objective: "grpo(group: 4)",
        prompts: "8",
        reward: "exact_answer()",
      },
      "  rollout { count = 30  length = 1Ki tokens }\n",
    ),
    ["DSK6205 `rollout.count` is 30; it must be 32: 8 prompts x 4 answers x 1 mini-batches"],
  ],

  [
    "axes beside the mesh",
    layout("mesh = 4 nodes * 8 gpus\naxes { pp = 2  ep = 8  dp = 4 }"),
    ["DSK3001 pp 2 x ep 8 x dp 4 is 64, the mesh has 32 GPUs | one axis may be `rest`"],
  ],
  [
    "a rest that is no whole",
    layout("mesh = 3 nodes * 8 gpus\naxes { ep = 16  dp = rest }"),
    ["DSK3001 ep 16 is 16, the mesh has 24 GPUs"],
  ],
  ["two rests", layout("mesh = 8 gpus\naxes { ep = rest  dp = rest }"), ["DSK3002 only one axis can be the rest"]],
  [
    "an unknown axis",
    layout("mesh = 8 gpus\naxes { ep = 8 }\nshard { experts = tp }"),
    ["DSK3003 the layout has no axis `tp` | did you mean `ep`?"],
  ],
  [
    "a route over too many nodes",
    layout("mesh = 4 nodes * 8 gpus\naxes { ep = 16  dp = 2 }\nroute = at_most(3 nodes)"),
    ["DSK3004 3 nodes are more than the experts lie on: ep = 16 is 2 nodes"],
  ],
  [
    "experts that do not divide",
    layout("mesh = 6 gpus\naxes { ep = 6 }", { batch: "60" }),
    ["DSK3005 16 experts do not divide over ep = 6"],
  ],
  ["more stages than layers", layout("mesh = 8 gpus\naxes { pp = 8 }"), ["DSK3006 8 pipeline stages for 4 layers"]],
  [
    "an odd DualPipe",
    layout("mesh = 3 gpus\naxes { pp = 3 }\npipeline = dualpipe()"),
    ["DSK3007 `dualpipe` needs an even number of stages; pp is 3"],
  ],
  [
    "DualPipe with few micro-batches",
    layout("mesh = 8 gpus\naxes { pp = 4  dp = 2 }\npipeline = dualpipe()", { batch: "12" }),
    ["DSK3007 `dualpipe` needs 8 micro-batches for pp = 4; a batch has 6"],
  ],
  [
    "a pipeline without stages",
    layout("mesh = 8 gpus\naxes { dp = 8 }\npipeline = gpipe()"),
    ["DSK3007 `gpipe` needs an axis pp; there is none"],
  ],
  [
    "a batch that does not divide",
    layout("mesh = 8 gpus\naxes { dp = 8 }", { batch: "60" }),
    ["DSK3008 a batch of 60 sequences does not divide over dp x ep = 8"],
  ],
  [
    "a mesh without devices",
    layout("mesh = 4 nodes"),
    [
      "DSK3009 a mesh is nodes times GPUs: nothing says how many GPUs a node has | `256 nodes * 8 gpus(h800)` or `8 gpus`",
    ],
  ],

  [
    "attention beside the mesh",
    'serve A for Tiny { weights = run("a")  prefill { mesh = 32 gpus  attention { tp = 4  dp = 4 } } }',
    ["DSK7001 attention over tp x dp = 4 x 4 takes 16 GPUs of a mesh of 32"],
  ],
  [
    "spare experts that do not divide",
    'serve A for Tiny { weights = run("a")  decode { mesh = 8 gpus  attention { dp = 8 }  experts { ep = 8  spare = 1 } } }',
    ["DSK7002 16 experts and 1 spare copies do not divide over ep = 8"],
  ],
  [
    "a draft without look-ahead",
    'serve A for Tiny { weights = run("a")  draft = mtp() }',
    ["DSK6202 `Tiny` predicts no token ahead: `mtp` has nothing to draft with"],
  ],
];

describe("mistakes", () => {
  test.each(WRONG)("%s", (_name, text, messages) => {
    expect(check(text).messages).toEqual(messages);
  });

  test("all of them in one run", () => {
    const { messages } = check(train({ length: "4Ki", optimizer: "adam()", lr: "cosine(1, 0)", loss: "mtp(0.3)" }));
    expect(messages.map((message) => message.slice(0, 7))).toEqual(["DSK6011", "DSK6013", "DSK6105", "DSK6202"]);
  });

  test("syntax errors are not told again as what they swallow", () => {
    const { messages } = check(`${train({ lr: "= 3" }).replace("for Tiny {", "fro Tiny {")}
layout Cluster for Pretrain { mesh = 8 gpus }
train Extend for Tiny from Pretrain { lr = ) }`);
    expect(messages.filter((message) => /^DSK[2367]/.test(message))).toEqual([]);
  });

  test("a model with errors gives no others in its sections", () => {
    const diagnostics = new Diagnostics();
    const text = `model Broken { fn forward(x: i32[T]) -> f32[T] { return y } }
${train({ loss: "next_token() + some_loss(1)", freeze: "[some_part]", own_rate: "1" }).replace("Tiny", "Broken")}`;
    checkFile({ path: "test.dsk", text }, diagnostics);
    expect(diagnostics.all.filter((d) => d.code.startsWith("DSK6"))).toEqual([]);
  });
});
