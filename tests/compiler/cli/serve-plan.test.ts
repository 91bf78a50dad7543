import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { type LoadedModel, loadModel } from "../../../compiler/cli/load-model.ts";
import { isTrainedToTalk, serveSection, weightsOfSection } from "../../../compiler/cli/serve-plan.ts";
import { servePlan, unserved } from "../../../compiler/package/serve-plan.ts";
import { DEFAULT_SERVE_PLAN } from "../../../runtime/serve/plan.ts";

const folder = mkdtempSync(join(tmpdir(), "dskc-plan-"));
afterAll(() => rmSync(folder, { recursive: true }));

const MODEL = `edition 2026

import { Gqa } from "std/attention"
import { Decoder, Embedding, RmsNorm, SwiGlu } from "std/nn"

model Small {
  dim V = 32
  dim D = 8
  use embed = Embedding[V, D]
  use trunk = stack { 1 of Decoder[D](mixer: Gqa[D, 1, 2, 4], ffn: SwiGlu[D, 16]) }

  fn forward(tokens: i32[T], pos: i32[T]) -> f32[T, V] {
    return embed.transposed(trunk(embed(tokens), pos))
  }
}
`;

function load(sections: string): LoadedModel {
  const path = join(folder, "model.dsk");
  writeFileSync(path, MODEL + sections);
  const loaded = loadModel(path, undefined);
  if (loaded === undefined) throw new Error("the spec has errors");
  return loaded;
}

const spec = join(folder, "model.dsk");

test("what a section says in vain is told by name, and nothing else is", () => {
  const all = load(`
serve Many for Small {
  api     = openai(port: 9_000)
  weights = run("runs/Some")
  prefill { mesh = 4 gpus  attention { tp = 4 } }
  kv      = paged(page: 16 tokens, dtype: e4m3)
  context = 2Ki tokens
  sample  = greedy()
}

serve One for Small {
  weights = run("runs/Some")
  kv      = paged(page: 16 tokens)
}
`);
  const told = unserved(serveSection(all, "Many")!).map(({ name, why }) => `${name}: ${why}`);
  expect(told).toEqual([
    "prefill.mesh: one machine serves",
    "prefill.attention.tp: one machine serves",
    "kv: caches are kept as the model computes them: e4m3 needs scales",
  ]);
  expect(unserved(serveSection(all, "One")!)).toEqual([]);
});

describe("the plan of a serve section", () => {
  test("has what the section says, and what the library says where it is silent", () => {
    const all = load(`
serve All for Small {
  api     = openai(port: 9_000, host: "0.0.0.0")
  weights = safetensors("weights")
  kv      = paged(page: 16 tokens)
  context = 2Ki tokens
  sample  = sampled(temperature: 0.8, top_p: 0.95, top_k: 40)
}

serve Greedy for Small {
  weights = run("runs/Some")
  sample  = greedy()
}
`);
    const [first, second] = [serveSection(all, undefined)!, serveSection(all, "Greedy")!];
    expect(weightsOfSection(first, spec)).toBe("weights");
    expect(servePlan(first)).toEqual({
      name: "All",
      host: "0.0.0.0",
      port: 9000,
      context: 2048,
      pageSize: 16,
      draftTokens: 0,
      temperature: 0.8,
      topP: 0.95,
      topK: 40,
    });
    expect(weightsOfSection(second, spec)).toBe("runs/Some");
    expect(servePlan(second)).toEqual({
      name: "Greedy",
      host: "127.0.0.1",
      port: 8000,
      context: 4096,
      pageSize: 64,
      draftTokens: 0,
      temperature: 0,
      topP: 1,
      topK: 0,
    });
    expect(() => serveSection(all, "Al")).toThrow("has no serve section `Al`; did you mean `All`");
  });

  test("weights may lie beside the spec", () => {
    writeFileSync(join(folder, "beside"), "");
    const loaded = load('serve Some for Small { weights = safetensors("beside") }');
    expect(weightsOfSection(serveSection(loaded, undefined)!, spec)).toBe(join(folder, "beside"));
  });

  test("without a section only the library speaks", () => {
    const silent = servePlan(serveSection(load('serve Some for Small { weights = safetensors("w") }'), undefined)!);
    expect(silent).toEqual({ ...DEFAULT_SERVE_PLAN, name: "Some" });
    expect(serveSection(load(""), undefined)).toBeUndefined();
  });
});

test("a model talks when some training read conversations, or when nobody knows", () => {
  const train = (name: string, data: string): string => `
train ${name} for Small {
  data = ${data}
  length = 8 tokens
  stop = 1 steps
  batch = 1
  optimizer = adamw()
  lr = 1e-3
  loss = next_token()
}
`;
  const texts = train("Texts", 'text("*.txt")');
  expect(isTrainedToTalk(load(""))).toBe(true);
  expect(isTrainedToTalk(load(texts))).toBe(false);
  expect(isTrainedToTalk(load(texts + train("Tune", 'chat("*.jsonl")')))).toBe(true);
  expect(isTrainedToTalk(load(train("Both", 'mixture(text("*.txt") * 0.9, chat("*.jsonl") * 0.1)')))).toBe(true);
});
