import { describe, expect, test } from "vitest";
import { fixtureJson, fixtureTensors } from "../../support/fixture.ts";
import { add, apply, type Row, rowsOf, scaled, sigmoid, silu, softmax, sum, times, topK } from "../../support/plain.ts";
import { probeModel, type Probed, score, trainStep } from "../../support/probe.ts";
import type { CheckedModel } from "../../../dsl/semantics/check.ts";
import { expectClose } from "./close.ts";

/** One routed layer; the tokens read the rows of `table`. */
function layer(name: string, args: string, width: number, tokens: number): CheckedModel {
  return probeModel({
    imports: `import { ${name} } from "std/moe"`,
    items: `  dim D = ${width}\n  use part = ${name}[D](${args})`,
    body: "    return part(x)",
    out: "D",
    tokens,
  });
}

/** With rows of the unit matrix as tokens the gate's weights are the logits. */
function unit(size: number): number[] {
  return Array.from({ length: size * size }, (_, i) => (i % (size + 1) === 0 ? 1 : 0));
}

/** The output of the experts `chosen` of one token, and of the shared one. */
function mixed({ value }: Probed, x: Row, chosen: readonly number[], weights: Row, shared: boolean): number[] {
  const D = x.length;
  const network = (prefix: string, index: number, copies: number): number[] => {
    const matrix = (name: string, inputs: number): number[][] => {
      const data = value(`part.${prefix}.${name}`);
      const size = data.length / copies;
      return rowsOf(data.slice(index * size, (index + 1) * size), size / inputs);
    };
    const F = value(`part.${prefix}.gate`).length / copies / D;
    return apply(times(apply(x, matrix("gate", D)).map(silu), apply(x, matrix("up", D))), matrix("down", F));
  };
  const copies = value("part.gate").length / D;
  return chosen
    .map((expert, k) => scaled(network("experts", expert, copies), weights[k]!))
    .reduce(add, shared ? network("shared", 0, 1) : x.map(() => 0));
}

describe("layers, in plain numbers", () => {
  const [D, E, K] = [5, 6, 2];
  const tokens = 4;
  const logits = ({ value }: Probed, x: Row): number[] => apply(x, rowsOf(value("part.gate"), E));
  const bias = [0.5, -0.3, 0, 0.2, -0.6, 0.1];

  /** `route` gives the chosen experts and their weights for the logits of a token. */
  function expectLayer(
    name: string,
    args: string,
    route: (logits: Row) => { readonly chosen: number[]; readonly weights: number[] },
    { shared = true, states = {} }: { shared?: boolean; states?: Record<string, Row> } = {},
  ): void {
    const probed = score(layer(name, `E: ${E}, F: 3, K: ${K}${args}`, D, tokens), { states });
    const routes = rowsOf(probed.value("table"), D).map((x) => ({ x, ...route(logits(probed, x)) }));
    expectClose(
      probed.logits,
      routes.flatMap(({ x, chosen, weights }) => mixed(probed, x, chosen, weights, shared)),
    );
    expect([...probed.metrics.get("part.chosen")!]).toEqual(routes.flatMap(({ chosen }) => chosen));
    const load = Array.from({ length: E }, (_, e) => sum(routes.map(({ chosen }) => (chosen.includes(e) ? 1 : 0))));
    expect([...probed.metrics.get("part.load")!]).toEqual(load);
  }

  const picked = (scores: Row, chosen: readonly number[]): number[] => chosen.map((e) => scores[e]!);
  const normalized = (x: Row): number[] => scaled(x, 1 / sum(x));

  test.each(["DeepSeekMoe", "DeepSeekRoutedMoe"])("%s", (name) => {
    const shared = name === "DeepSeekMoe";
    expectLayer(
      name,
      ", G: 3, keep: 2, scale: 1.5",
      (row) => {
        const s = row.map(sigmoid);
        const c = add(s, bias);
        const kept = topK(
          rowsOf(c, 2).map((group) => sum(group)),
          2,
        );
        const chosen = topK(
          c.map((v, e) => (kept.includes(Math.floor(e / 2)) ? v : -Infinity)),
          K,
        );
        return { chosen, weights: scaled(normalized(picked(s, chosen)), 1.5) };
      },
      { shared, states: { "part.bias": bias } },
    );
  });

  test("DeepSeekMoe in one group, weights as they are", () => {
    expectLayer(
      "DeepSeekMoe",
      ", G: 1, keep: 1, scale: 2, renormalize: false",
      (row) => {
        const chosen = topK(add(row.map(sigmoid), bias), K);
        return { chosen, weights: scaled(picked(row.map(sigmoid), chosen), 2) };
      },
      { states: { "part.bias": bias } },
    );
  });

  test("LossFreeMoe", () => {
    expectLayer(
      "LossFreeMoe",
      "",
      (row) => {
        const chosen = topK(add(row.map(sigmoid), bias), K);
        return { chosen, weights: picked(row.map(sigmoid), chosen) };
      },
      { states: { "part.bias": bias } },
    );
  });

  test("DeepSeekMoeV1", () => {
    expectLayer("DeepSeekMoeV1", ", scale: 3", (row) => {
      const chosen = topK(softmax(row), K);
      return { chosen, weights: scaled(picked(softmax(row), chosen), 3) };
    });
    expectLayer("DeepSeekMoeV1", ", scale: 3, renormalize: true", (row) => {
      const chosen = topK(softmax(row), K);
      return { chosen, weights: normalized(picked(softmax(row), chosen)) };
    });
  });

  test.each([
    ["DeepSeekMoeV2", false],
    ["DeepSeekMoeV2", true],
    ["DeepSeekRoutedMoeV2", false],
    ["DeepSeekRoutedMoeV2", true],
  ])("%s, renormalize %s", (name, renormalize) => {
    const route = (row: Row): { chosen: number[]; weights: number[] } => {
      const s = softmax(row);
      const [kept] = topK(
        rowsOf(s, 2).map((group) => Math.max(...group)),
        1,
      );
      const chosen = topK(
        s.map((v, e) => (Math.floor(e / 2) === kept ? v : -Infinity)),
        K,
      );
      // Weights that add up to 1 are not scaled.
      return { chosen, weights: renormalize ? normalized(picked(s, chosen)) : scaled(picked(s, chosen), 4) };
    };
    expectLayer(name, `, G: 3, keep: 1, scale: 4, renormalize: ${renormalize}`, route, {
      shared: name === "DeepSeekMoeV2",
    });
  });

  test("SoftmaxMoe: the softmax of the chosen logits, or of all", () => {
    expectLayer("SoftmaxMoe", "", (row) => ({ chosen: topK(row, K), weights: softmax(picked(row, topK(row, K))) }), {
      shared: false,
    });
    expectLayer(
      "SoftmaxMoe",
      ", renormalize: false",
      (row) => ({ chosen: topK(row, K), weights: picked(softmax(row), topK(row, K)) }),
      { shared: false },
    );
  });
});

interface Case {
  readonly tag: string;
  readonly E: number;
  readonly n_group: number;
  readonly topk_group: number;
  readonly K: number;
  readonly routed_scaling_factor: number;
  readonly scoring: "sigmoid" | "softmax";
}

describe("routing at the size of real models", () => {
  const cases = fixtureJson("k1_router_realscale", "cases.json") as Case[];
  const tensor = fixtureTensors("k1_router_realscale", "router.safetensors");

  test.each(cases)(
    "$tag",
    ({ tag, E, n_group: groups, topk_group: keep, K, routed_scaling_factor: scale, scoring }) => {
      const tokens = 32;
      const sigmoids = scoring === "sigmoid";
      const name = sigmoids ? "DeepSeekMoe" : groups > 1 ? "DeepSeekMoeV2" : "DeepSeekMoeV1";
      const grouping = name === "DeepSeekMoeV1" ? "" : `, G: ${groups}, keep: ${keep}`;
      const model = layer(name, `E: ${E}, F: 1, K: ${K}, Fs: 1${grouping}, scale: ${scale}`, tokens, tokens);
      const states: Record<string, Row> = sigmoids ? { "part.bias": tensor(`${tag}.bias`).data } : {};
      const zero = Array.from({ length: tokens }, () => 0);
      const one = Array.from({ length: E * tokens }, () => 1);
      const { logits, metrics, value } = score(model, {
        states,
        params: {
          table: unit(tokens),
          "part.gate": tensor(`${tag}.logits`).data,
          "part.shared.down": zero,
          "part.experts.gate": one,
          "part.experts.up": one,
        },
      });
      const [index, weight] = [rowsOf(tensor(`${tag}.idx`).data, K), rowsOf(tensor(`${tag}.weight`).data, K)];
      const chosen = rowsOf(metrics.get("part.chosen")!, K).map((row) => row.toSorted((a, b) => a - b));
      expect(chosen).toEqual(index);
      // Every expert gives silu(1) times a row of its own: the output shows the weights.
      const down = rowsOf(value("part.experts.down"), tokens);
      const wanted = index.flatMap((row, t) =>
        row.map((e, k) => scaled(down[e]!, weight[t]![k]! * silu(1))).reduce(add, [...zero]),
      );
      expectClose(logits, wanted, 5e-5);
    },
  );
});

describe("balance losses", () => {
  const tensor = fixtureTensors("h1_balance", "balance.safetensors");
  const [TOKENS, E, K] = [32, 8, 3];
  const halves = Array.from({ length: TOKENS }, (_, t) => Math.floor(t / 16));

  /** Loss and gradient for the logits of the fixture. */
  function expectLoss(name: string, args: string, loss: string, golden: string, seq?: Row, factor = 1): void {
    const model = layer(name, `E: ${E}, F: 1, K: ${K}${args}`, TOKENS, TOKENS);
    const { losses, gradient } = trainStep(model, [loss], {
      params: { table: unit(TOKENS), "part.gate": tensor("logits").data },
      ...(seq === undefined ? {} : { seq }),
      train: { balance_rate: 0 },
    });
    expectClose([losses.get(loss)! * factor], tensor(`${golden}.loss`).data, 1e-6);
    expectClose(scaled(gradient("part.gate"), factor), tensor(`${golden}.grad`).data, 5e-9, 2e-5);
  }

  test.each([
    ["expert_balance", "v2_expert"],
    ["device_balance", "v2_device"],
    ["communication_balance", "v2_comm"],
  ])("DeepSeekMoeV2 %s, of one sequence and of two", (loss, golden) => {
    expectLoss("DeepSeekMoeV2", ", G: 4, keep: 2", loss, golden);
    expectLoss("DeepSeekMoeV2", ", G: 4, keep: 2", loss, `${golden}_seq`, halves);
  });

  test("DeepSeekMoeV2 visits the experts of the fixture, on the devices of the fixture", () => {
    const model = layer("DeepSeekMoeV2", `E: ${E}, F: 1, K: ${K}, G: 4, keep: 2`, TOKENS, TOKENS);
    const { metrics } = score(model, { params: { table: unit(TOKENS), "part.gate": tensor("logits").data } });
    const chosen = rowsOf(metrics.get("part.chosen")!, K);
    const selected = chosen.flatMap((row) => Array.from({ length: E }, (_, e) => (row.includes(e) ? 1 : 0)));
    expect(selected).toEqual(tensor("v2.selected").data);
    const sent = [0, 1, 2, 3].map((d) => chosen.filter((row) => row.some((e) => Math.floor(e / 2) === d)).length);
    expect(sent).toEqual(tensor("v2.tokens_sent").data);
  });

  test("DeepSeekMoe sequence_balance of one sequence beside padding", () => {
    const model = layer("DeepSeekMoe", `E: ${E}, F: 1, K: ${K}, G: 4, keep: 2`, TOKENS, TOKENS);
    const alone = [0, 1].map((one) => {
      const { losses } = trainStep(model, ["sequence_balance"], {
        params: { table: unit(TOKENS), "part.gate": tensor("logits").data },
        seq: halves.map((s) => (s === one ? 0 : -1)),
        train: { balance_rate: 0 },
      });
      return losses.get("sequence_balance")!;
    });
    expectClose(alone, tensor("v3_seq.per_sequence").data, 1e-6);
  });

  test("DeepSeekMoe sequence_balance: raw scores, whatever bias and groups are", () => {
    expectLoss("DeepSeekMoe", ", G: 1, keep: 1", "sequence_balance", "v3_seq", halves);
    expectLoss("DeepSeekMoe", ", G: 4, keep: 2", "sequence_balance", "v3_seq", halves);
    expectLoss("DeepSeekRoutedMoe", ", G: 4, keep: 2", "sequence_balance", "v3_seq", halves);
  });

  test("SoftmaxMoe balance and router_z", () => {
    expectLoss("SoftmaxMoe", "", "balance", "switch_topk");
    expectLoss("SoftmaxMoe", "", "router_z", "z_loss");
  });

  test("DeepSeekMoeV1 in plain numbers", () => {
    const model = layer("DeepSeekMoeV1", `E: ${E}, F: 1, K: ${K}, G: 4`, TOKENS, TOKENS);
    const names = ["expert_balance", "device_balance"];
    const { losses } = trainStep(model, names, {
      params: { table: unit(TOKENS), "part.gate": tensor("logits").data },
      seq: halves,
    });
    const rows = rowsOf(tensor("logits").data, E).map((row) => softmax(row));
    const parts = [rows.slice(0, 16), rows.slice(16)].map((sequence) => {
      const f = Array.from(
        { length: E },
        (_, e) => (sum(sequence.map((s) => (topK(s, K).includes(e) ? 1 : 0))) * E) / (K * 16),
      );
      const p = Array.from({ length: E }, (_, e) => sum(sequence.map((s) => s[e]!)) / 16);
      const device = rowsOf(f, 2).map((own, d) => (sum(own) / 2) * sum(p.slice(2 * d, 2 * d + 2)));
      return [sum(times(f, p)), sum(device)];
    });
    expectClose(
      names.map((name) => losses.get(name)!),
      [0, 1].map((i) => (parts[0]![i]! + parts[1]![i]!) / 2),
    );
  });

  test("padding does not count", () => {
    const model = layer("DeepSeekMoeV2", `E: ${E}, F: 1, K: ${K}, G: 4, keep: 2`, TOKENS, TOKENS);
    const params = { table: unit(TOKENS), "part.gate": tensor("logits").data };
    const half = halves.map((s) => (s === 0 ? 0 : -1));
    const names = ["expert_balance", "device_balance", "communication_balance"];
    const { losses, gradient, metrics } = trainStep(model, names, { params, seq: half });
    const whole = trainStep(model, names, { params, seq: halves });
    expect(sum(metrics.get("part.load")!)).toBe(16 * K);
    // Sequences weigh alike: the gradient of the first one is half of what it is in the mean of two.
    const rows = E * 16;
    expectClose(gradient("part.gate").slice(0, rows), scaled(whole.gradient("part.gate").slice(0, rows), 2), 1e-9);
    expect(
      gradient("part.gate")
        .slice(rows)
        .every((g) => g === 0),
    ).toBe(true);
    expect([...losses.values()].every(Number.isFinite)).toBe(true);
  });
});

describe("the bias of loss-free balancing", () => {
  test.each(["DeepSeekMoe", "DeepSeekRoutedMoe", "LossFreeMoe"])("%s", (name) => {
    const [E, K, tokens] = [4, 2, 6];
    const grouping = name === "LossFreeMoe" ? "" : ", G: 1, keep: 1";
    const model = layer(name, `E: ${E}, F: 2, K: ${K}${grouping}`, 3, tokens);
    const start = [0.5, 0, 0, -0.5];
    // The last token is padding.
    const seq = [0, 0, 0, 0, 0, -1];
    const target = [1, 2, 0, 1, 2, -1];
    const { metrics, after } = trainStep(model, ["next_token"], {
      states: { "part.bias": start },
      seq,
      target,
      train: { balance_rate: 0.25 },
    });
    const load = metrics.get("part.load")!;
    expect(sum(load)).toBe(5 * K);
    expectClose(
      after("part.bias"),
      start.map((b, e) => b + 0.25 * Math.sign(sum(load) / E - load[e]!)),
    );
    expect(load.some((l) => l !== sum(load) / E)).toBe(true);
  });
});

describe("token dropping of DeepSeekMoeV2", () => {
  const [E, K, G, tokens] = [4, 2, 2, 8];
  const gate = (): number[] => {
    // Everybody prefers device 0: the affinity falls from token to token.
    return Array.from({ length: tokens }, (_, t) => [3 - t * 0.2, 2.5 - t * 0.2, 0, -1]).flat();
  };

  function gradients(args: string, draws: Row, seq?: Row): readonly boolean[] {
    const model = probeModel({
      imports: 'import { DeepSeekMoeV2 } from "std/moe"',
      items: `  dim D = ${tokens}\n  use part = DeepSeekMoeV2[D](E: ${E}, F: 2, K: ${K}, G: ${G}, keep: 1${args})`,
      body: "    return part(x)",
      out: "D",
      tokens,
    });
    const { gradient } = trainStep(model, ["next_token"], {
      params: { table: unit(tokens), "part.gate": gate() },
      target: Array.from({ length: tokens }, () => 0),
      draws: [draws],
      ...(seq === undefined ? {} : { seq }),
    });
    // Row t of an expert's gate has a gradient when token t went through it.
    const rows = rowsOf(gradient("part.experts.gate"), 2);
    return Array.from({ length: tokens }, (_, t) => rows[t]!.some((g) => g !== 0));
  }

  test("nobody is dropped without a capacity", () => {
    expect(gradients("", [0.5])).toEqual(Array.from({ length: tokens }, () => true));
  });

  test("a device takes the mean, the best tokens first", () => {
    // All 8 tokens go to device 0; the mean of 8 and 0 is 4.
    expect(gradients(", capacity: 1", [0.5])).toEqual([true, true, true, true, false, false, false, false]);
    expect(gradients(", capacity: 0.5", [0.5])).toEqual([true, true, false, false, false, false, false, false]);
  });

  test("tokens of spared sequences stay", () => {
    const seq = [0, 0, 0, 0, 0, 0, 1, 1];
    expect(gradients(", capacity: 0.5", [0.5, 0.05], seq)).toEqual([
      true,
      true,
      false,
      false,
      false,
      false,
      true,
      true,
    ]);
  });
});
