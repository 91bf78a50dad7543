import { describe, expect, test } from "vitest";
import { fixtureTensors } from "../../support/fixture.ts";
import {
  add,
  apply,
  dot,
  normalCdf,
  type Row,
  rowsOf,
  scaled,
  softmax,
  softplus,
  sum,
  topK,
} from "../../support/plain.ts";
import { probeModel, type Probed, score, trainStep } from "../../support/probe.ts";
import type { CheckedModel } from "../../../dsl/semantics/check.ts";
import { expectClose } from "./close.ts";

function layer(
  name: string,
  args: string,
  width: number,
  tokens: number,
  body = "    return part(x)",
  out = "D",
): CheckedModel {
  return probeModel({
    imports: `import { ${name} } from "std/moe-classic"`,
    items: `  dim D = ${width}\n  use part = ${name}[D](${args})`,
    body,
    out,
    tokens,
  });
}

function unit(size: number): number[] {
  return Array.from({ length: size * size }, (_, i) => (i % (size + 1) === 0 ? 1 : 0));
}

/** relu(x up) down of one expert. */
function expert(value: Probed["value"], x: Row, index: number, F: number): number[] {
  const D = x.length;
  const part = (name: string): Row => value(`part.experts.${name}`).slice(index * D * F, (index + 1) * D * F);
  const hidden = apply(x, rowsOf(part("up"), F)).map((v) => Math.max(v, 0));
  return apply(hidden, rowsOf(part("down"), D));
}

function blend(value: Probed["value"], x: Row, weights: ReadonlyMap<number, number>, F: number): number[] {
  return [...weights]
    .map(([e, w]) => scaled(expert(value, x, e, F), w))
    .reduce(
      add,
      x.map(() => 0),
    );
}

describe("dense mixtures", () => {
  const [D, F, tokens] = [4, 3, 3];

  test("DenseMixture", () => {
    const probed = score(layer("DenseMixture", `E: 3, F: ${F}`, D, tokens));
    const { value } = probed;
    const wanted = rowsOf(value("table"), D).flatMap((x) =>
      blend(value, x, new Map(softmax(apply(x, rowsOf(value("part.gate"), 3))).entries()), F),
    );
    expectClose(probed.logits, wanted);
  });

  test("DenseMixture's surprise is the likelihood of a mixture of Gaussians", () => {
    const model = probeModel({
      imports: 'import { DenseMixture } from "std/moe-classic"',
      items: `  dim D = ${D}\n  dim O = 1\n  use part = DenseMixture[D](E: 3, F: ${F})\n  param wanted: [D]`,
      body: "    let s[T, O] = part.surprise(x, wanted + 0 * x) + f32(0 * iota[O])\n    return s",
      out: "O",
      tokens,
    });
    const probed = score(model);
    const { value } = probed;
    const likelihood = (x: Row): number => {
      const p = softmax(apply(x, rowsOf(value("part.gate"), 3)));
      const terms = p.map((share, e) => {
        const off = add(value("wanted"), scaled(expert(value, x, e, F), -1));
        return share * Math.exp(-dot(off, off) / 2);
      });
      return -Math.log(sum(terms));
    };
    expectClose(probed.logits, rowsOf(value("table"), D).map(likelihood), 1e-5);
  });

  test("HierarchicalMixture", () => {
    const probed = score(layer("HierarchicalMixture", `A: 2, J: 3, F: ${F}`, D, tokens));
    const { value } = probed;
    const inner = value("part.inner");
    const wanted = rowsOf(value("table"), D).flatMap((x) => {
      const branch = softmax(apply(x, rowsOf(value("part.gate"), 2)));
      const leaves = rowsOf(apply(x, rowsOf(inner, 6)), 3).map((row) => softmax(row));
      return blend(
        value,
        x,
        new Map(leaves.flatMap((row, a) => row.map((p, j) => [a * 3 + j, p * branch[a]!] as const))),
        F,
      );
    });
    expectClose(probed.logits, wanted);
  });
});

describe("NoisyTopKMoe", () => {
  const tensor = fixtureTensors("h1_balance", "balance.safetensors");
  const data = (name: string): Row => tensor(`shazeer.${name}`).data;
  const [tokens, width, E] = [32, 12, 8];
  const K = data("gates").filter((g, i) => i < E && g > 0).length;
  const model = layer("NoisyTopKMoe", `E: ${E}, F: 1, K: ${K}, noise_floor: 0.01`, width, tokens);
  const params = { table: data("x"), "part.gate": data("Wg"), "part.noise": data("Wnoise") };

  test.each([
    ["importance", "importance_loss"],
    ["smooth_load", "load_loss"],
  ])("%s and its gradients, with the noise of the fixture", (loss, golden) => {
    const { losses, gradient } = trainStep(model, [loss], { params, draws: [data("eps")] });
    expectClose([losses.get(loss)!], data(golden), 1e-6, 5e-5);
    expectClose(gradient("part.gate"), data(`grad.${golden}.Wg`), 1e-6, 1e-4);
    expectClose(gradient("part.noise"), data(`grad.${golden}.Wnoise`), 1e-6, 1e-4);
  });

  test("visits the experts of the fixture", () => {
    const { metrics } = trainStep(model, ["importance"], { params, draws: [data("eps")] });
    const chosen = rowsOf(metrics.get("part.chosen")!, K).map((row) => row.toSorted((a, b) => a - b));
    const wanted = rowsOf(data("gates"), E).map((row) => row.flatMap((g, e) => (g > 0 ? [e] : [])));
    expect(chosen).toEqual(wanted);
  });

  test("has no noise while it scores", () => {
    const small = layer("NoisyTopKMoe", "E: 5, F: 3, K: 2", 4, 3);
    const probed = score(small);
    const { value } = probed;
    const wanted = rowsOf(value("table"), 4).flatMap((x) => {
      const h = apply(x, rowsOf(value("part.gate"), 5));
      const chosen = topK(h, 2);
      const g = softmax(chosen.map((e) => h[e]!));
      return blend(value, x, new Map(chosen.map((e, k) => [e, g[k]!])), 3);
    });
    expectClose(probed.logits, wanted);
  });

  test("smooth load in plain numbers", () => {
    const small = layer("NoisyTopKMoe", "E: 5, F: 3, K: 2", 4, 3);
    const draws = [0.3, -0.2, 1.1, -0.5, 0.7, 0.1, 0.9, -1.3, 0.2, 0.4, -0.6, 0.8, 0, 1.2, -0.1];
    const { losses, value } = trainStep(small, ["smooth_load"], { draws: [draws] });
    const load = [0, 0, 0, 0, 0];
    for (const [t, x] of rowsOf(value("table"), 4).entries()) {
      const clean = apply(x, rowsOf(value("part.gate"), 5));
      const spread = apply(x, rowsOf(value("part.noise"), 5)).map(softplus);
      const h = clean.map((c, e) => c + draws[t * 5 + e]! * spread[e]!);
      for (let e = 0; e < 5; e++) {
        const others = h.filter((_, i) => i !== e).toSorted((a, b) => b - a);
        load[e]! += normalCdf((clean[e]! - others[1]!) / spread[e]!);
      }
    }
    const m = sum(load) / 5;
    expectClose([losses.get("smooth_load")!], [sum(load.map((l) => (l - m) ** 2)) / 5 / m ** 2], 1e-6, 1e-5);
  });
});

describe("GShardMoe", () => {
  const tensor = fixtureTensors("h1_balance", "balance.safetensors");
  const [tokens, E, F] = [32, 8, 1];
  const params = { table: unit(tokens), "part.gate": tensor("logits").data };
  const certain = [Array.from({ length: tokens }, () => 0)];

  test("balance", () => {
    const { losses, gradient } = trainStep(layer("GShardMoe", `E: ${E}, F: ${F}`, tokens, tokens), ["balance"], {
      params,
      draws: certain,
    });
    expectClose([losses.get("balance")!], tensor("gshard.loss").data, 1e-7);
    expectClose(gradient("part.gate"), tensor("gshard.grad").data, 1e-9);
  });

  /** Which experts a token went through in a training step: its row of their `up` has a gradient. */
  function visited(args: string, draws: readonly Row[]): number[][] {
    const model = layer("GShardMoe", `E: ${E}, F: ${F}${args}`, tokens, tokens);
    const ones = Array.from({ length: E * tokens }, () => 1);
    const { gradient } = trainStep(model, ["next_token"], {
      params: { ...params, "part.experts.up": ones },
      target: Array.from({ length: tokens }, (_, t) => t),
      draws,
    });
    const rows = rowsOf(gradient("part.experts.up"), tokens);
    return Array.from({ length: tokens }, (_, t) => rows.flatMap((row, e) => (row[t] === 0 ? [] : [e])));
  }

  /** Algorithm 1, token by token. */
  function algorithm(capacity: number, lucky: (t: number, g2: number) => boolean): number[][] {
    const best = rowsOf(tensor("logits").data, E).map((row) => topK(row, 2));
    const g = rowsOf(tensor("logits").data, E).map((row) => softmax(row));
    const count = Array.from({ length: E }, () => 0);
    const room = (capacity * 2 * tokens) / E;
    const found = best.map((): number[] => []);
    for (const [t, [e]] of best.entries()) if (count[e!]!++ < room) found[t]!.push(e!);
    for (const [t, [first, e]] of best.entries()) {
      const g2 = g[t]![e!]! / (g[t]![first!]! + g[t]![e!]!);
      if (count[e!]!++ < room && lucky(t, g2)) found[t]!.push(e!);
    }
    return found.map((row) => row.toSorted((a, b) => a - b));
  }

  test.each([0.5, 1])("capacity %s: first choices first, in token order", (capacity) => {
    const found = visited(`, capacity: ${capacity}, random_second: false`, []);
    expect(found).toEqual(algorithm(capacity, () => true));
    // The reference drops the same tokens: its combine weights are 0 there.
    const weights = rowsOf(
      tensor(`gshard.combine_weights.cf${capacity}`).data,
      tensor(`gshard.combine_weights.cf${capacity}`).shape[2]!,
    );
    const wanted = Array.from({ length: tokens }, (_, t) =>
      Array.from({ length: E }, (_unused, e) => e).filter((e) => weights[t * E + e]!.some((w) => w > 0)),
    );
    expect(found).toEqual(wanted);
  });

  test("the second expert by chance", () => {
    const draws = Array.from({ length: tokens }, (_, t) => (t % 10) / 10);
    const found = visited(", capacity: 1", [draws]);
    expect(found).toEqual(algorithm(1, (t, g2) => 2 * g2 > draws[t]!));
    expect(found).not.toEqual(algorithm(1, () => true));
  });

  test("scores without a capacity, weights of the two add up to 1", () => {
    const probed = score(layer("GShardMoe", "E: 4, F: 3, capacity: 0.01", 5, 4));
    const { value } = probed;
    const wanted = rowsOf(value("table"), 5).flatMap((x) => {
      const g = softmax(apply(x, rowsOf(value("part.gate"), 4)));
      const [a, b] = topK(g, 2) as [number, number];
      const total = g[a]! + g[b]!;
      return blend(
        value,
        x,
        new Map([
          [a, g[a]! / total],
          [b, g[b]! / total],
        ]),
        3,
      );
    });
    expectClose(probed.logits, wanted);
  });
});

describe("SwitchMoe", () => {
  test("the best expert with its probability", () => {
    const probed = score(layer("SwitchMoe", "E: 4, F: 3", 5, 4));
    const { value } = probed;
    const wanted = rowsOf(value("table"), 5).flatMap((x) => {
      const p = softmax(apply(x, rowsOf(value("part.gate"), 4)));
      const [best] = topK(p, 1) as [number];
      return blend(value, x, new Map([[best, p[best]!]]), 3);
    });
    expectClose(probed.logits, wanted);
  });

  const [E, tokens] = [4, 8];
  // Tokens 0, 2, 3, 5 and 7 want expert 1.
  const wants = [1, 0, 1, 1, 2, 1, 3, 1];
  const params = {
    table: unit(tokens),
    "part.gate": wants.flatMap((w) => Array.from({ length: E }, (_, e) => (e === w ? 2 : 0))),
    "part.experts.up": Array.from({ length: E * tokens }, () => 1),
  };

  test("balance", () => {
    const { losses } = trainStep(layer("SwitchMoe", `E: ${E}, F: 1`, tokens, tokens), ["balance"], { params });
    const p = softmax([2, 0, 0, 0]);
    const share = Array.from({ length: E }, (_, e) => wants.filter((w) => w === e).length / tokens);
    const mean = share.map((f) => f * p[0]! + (1 - f) * p[1]!);
    expectClose([losses.get("balance")!], [E * dot(share, mean)]);
  });

  test("a capacity, in token order", () => {
    const target = Array.from({ length: tokens }, (_, t) => t);
    const { gradient } = trainStep(layer("SwitchMoe", `E: ${E}, F: 1, capacity: 1.5`, tokens, tokens), ["next_token"], {
      params,
      target,
    });
    const rows = rowsOf(gradient("part.experts.up"), tokens);
    const through = Array.from({ length: tokens }, (_, t) => rows.some((row) => row[t] !== 0));
    // 1.5 * 8 / 4 = 3 places.
    expect(through).toEqual([true, true, true, true, true, false, true, false]);
  });
});
