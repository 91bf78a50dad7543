import { describe, expect, test } from "vitest";
import {
  add,
  apply,
  dot,
  frequencies,
  rmsNorm,
  rotate,
  type Row,
  type Rows,
  rowsOf,
  scaled,
  softmax,
} from "../../support/plain.ts";
import { probeModel, type Probed, score } from "../../support/probe.ts";
import { expectClose } from "./close.ts";

const D = 8;
/** Two sequences of three and two tokens. */
const SEQ = [0, 0, 0, 1, 1];
const POS = [0, 1, 2, 0, 1];

function run(imports: string, items: string): Probed {
  return score(
    probeModel({
      imports,
      items: `  dim D = ${D}\n${items}`,
      body: "    return part(x, pos)",
      out: "D",
      tokens: SEQ.length,
    }),
    { seq: SEQ, pos: POS },
  );
}

/** Queries, keys and values of one head for every token, and the factor of the scores; gives the outputs. */
function attend(q: Rows, k: Rows, v: Rows, scale: number, window = 0): number[][] {
  return q.map((query, t) => {
    const seen = k
      .map((_, s) => s)
      .filter((s) => SEQ[s] === SEQ[t] && POS[s]! <= POS[t]! && (window === 0 || POS[s]! > POS[t]! - window));
    const p = softmax(seen.map((s) => dot(query, k[s]!) * scale));
    return v[0]!.map((_, n) =>
      dot(
        p,
        seen.map((s) => v[s]![n]!),
      ),
    );
  });
}

/** Columns of one head of a matrix [inputs, heads * width]. */
function head(w: Row, heads: number, width: number, index: number): number[][] {
  return rowsOf(w, heads * width).map((row) => row.slice(index * width, (index + 1) * width));
}

/** The rows of the output projection that belong to a head, applied and summed. */
function project(outs: readonly Rows[], wo: Row, width: number): number[] {
  return SEQ.flatMap((_, t) =>
    apply(
      outs.flatMap((o) => o[t]!),
      rowsOf(wo, D).slice(0, outs.length * width),
    ),
  );
}

interface GroupedShape {
  readonly groups: number;
  readonly perGroup: number;
  readonly width: number;
}

interface GroupedOptions {
  readonly window?: number;
  readonly half?: boolean;
  readonly qNorm?: Row;
  readonly kNorm?: Row;
  readonly biased?: boolean;
}

/** Attention with heads in groups: MHA, MQA and GQA. */
function grouped({ value }: Probed, { groups, perGroup, width }: GroupedShape, options: GroupedOptions = {}): number[] {
  const { window = 0, half = true, qNorm, kNorm, biased = false } = options;
  const xs = rowsOf(value("table"), D);
  const heads = groups * perGroup;
  const turn = (row: Row, t: number, norm: Row | undefined): number[] =>
    rotate(norm === undefined ? row : rmsNorm(row, norm), POS[t]!, frequencies(width), half);
  const projected = (name: string, count: number, index: number): number[][] =>
    xs.map((x) => {
      const row = apply(x, head(value(`part.w${name}`), count, width, index));
      return biased ? add(row, value(`part.b${name}`).slice(index * width, (index + 1) * width)) : row;
    });
  const outs = Array.from({ length: heads }, (_, h) => {
    const g = Math.floor(h / perGroup);
    const q = projected("q", heads, h).map((row, t) => turn(row, t, qNorm));
    const k = projected("k", groups, g).map((row, t) => turn(row, t, kNorm));
    return attend(q, k, projected("v", groups, g), width ** -0.5, window);
  });
  return project(outs, value("part.wo"), width);
}

describe("grouped heads", () => {
  test("Mha", () => {
    const probed = run('import { Mha } from "std/attention"', "  use part = Mha[D, 2, 4]");
    expectClose(probed.logits, grouped(probed, { groups: 2, perGroup: 1, width: 4 }));
  });

  test("Mha with a window and another rotation", () => {
    const probed = run(
      'import { Mha } from "std/attention"\nimport { Rope } from "std/rope"',
      "  dim N = 4\n  use part = Mha[D, 2, N](rope: Rope[N], window: 2)",
    );
    expectClose(probed.logits, grouped(probed, { groups: 2, perGroup: 1, width: 4 }, { window: 2, half: false }));
  });

  test("Mqa", () => {
    const probed = run('import { Mqa } from "std/attention"', "  use part = Mqa[D, 3, 4](window: 2)");
    expectClose(probed.logits, grouped(probed, { groups: 1, perGroup: 3, width: 4 }, { window: 2 }));
  });

  test("Gqa", () => {
    const probed = run('import { Gqa } from "std/attention"', "  use part = Gqa[D, 2, 3, 4]");
    expectClose(probed.logits, grouped(probed, { groups: 2, perGroup: 3, width: 4 }));
  });

  test("Gqa with a norm of each head", () => {
    const probed = run(
      'import { Gqa } from "std/attention"\nimport { RmsNorm } from "std/nn"',
      "  dim N = 4\n  use part = Gqa[D, 2, 3, N](q_norm: RmsNorm[N], k_norm: RmsNorm[N], window: 2)",
    );
    const [qNorm, kNorm] = [probed.value("part.q_norm.weight"), probed.value("part.k_norm.weight")];
    expectClose(
      probed.logits,
      grouped(probed, { groups: 2, perGroup: 3, width: 4 }, { qNorm, kNorm, window: 2 }),
      1e-5,
    );
  });

  test("BiasedGqa", () => {
    const probed = run('import { BiasedGqa } from "std/attention"', "  use part = BiasedGqa[D, 2, 3, 4](window: 2)");
    expectClose(probed.logits, grouped(probed, { groups: 2, perGroup: 3, width: 4 }, { biased: true, window: 2 }));
  });

  test("FullyBiasedGqa", () => {
    const probed = run('import { FullyBiasedGqa } from "std/attention"', "  use part = FullyBiasedGqa[D, 2, 3, 4]");
    const plain = grouped(probed, { groups: 2, perGroup: 3, width: 4 }, { biased: true });
    expectClose(
      probed.logits,
      rowsOf(plain, D).flatMap((row) => add(row, probed.value("part.bo"))),
    );
  });

  test("MHA and MQA are GQA with one head a group and with one group", () => {
    for (const [groups, perGroup] of [
      [3, 1],
      [1, 3],
    ] as const) {
      const probed = run('import { Gqa } from "std/attention"', `  use part = Gqa[D, ${groups}, ${perGroup}, 4]`);
      expectClose(probed.logits, grouped(probed, { groups, perGroup, width: 4 }));
    }
  });
});

describe("latent attention", () => {
  const [H, Q, C, N, R, Vh] = [2, 6, 5, 4, 2, 3];

  /** DeepSeek-V2 Eq. 37-47, head by head, keys and values written out. */
  function latent({ value }: Probed, { direct = false, biased = false, factor = 1 } = {}): number[] {
    const xs = rowsOf(value("table"), D);
    const bias = (name: string, row: number[]): number[] => (biased ? add(row, value(`part.${name}`)) : row);
    const down = xs.map((x) => bias("bkv_a", apply(x, rowsOf(value("part.wkv_a"), C + R))));
    const c = down.map((row) => rmsNorm(row.slice(0, C), value("part.kv_norm.weight")));
    const turn = (row: Row, t: number): number[] => rotate(row, POS[t]!, frequencies(R), false);
    const kRope = down.map((row, t) => turn(row.slice(C), t));
    const qIn = direct
      ? xs
      : xs.map((x) => rmsNorm(bias("bq_a", apply(x, rowsOf(value("part.wq_a"), Q))), value("part.q_norm.weight")));
    const wq = value(direct ? "part.wq" : "part.wq_b");
    const outs = Array.from({ length: H }, (_, h) => {
      const q = qIn.map((row, t) => {
        const whole = apply(row, head(wq, H, N + R, h));
        return [...whole.slice(0, N), ...turn(whole.slice(N), t)];
      });
      const k = c.map((row, t) => [...apply(row, head(value("part.wk_b"), H, N, h)), ...kRope[t]!]);
      const v = c.map((row) => apply(row, head(value("part.wv_b"), H, Vh, h)));
      return attend(q, k, v, (N + R) ** -0.5 * factor);
    });
    const out = rowsOf(project(outs, value("part.wo"), Vh), D);
    return out.flatMap((row) => bias("bo", row));
  }

  function latentBlock(name: string, rope = "Rope[R]"): Probed {
    const q = name.includes("Direct") ? "" : `Q: ${Q}, `;
    return run(
      `import { ${name} } from "std/attention"\nimport { ${rope.split("[")[0]} } from "std/rope"`,
      `  dim R = ${R}\n  use part = ${name}[D, ${H}](${q}C: ${C}, N: ${N}, R: R, Vh: ${Vh}, rope: ${rope})`,
    );
  }

  test("Mla", () => {
    const probed = latentBlock("Mla");
    expectClose(probed.logits, latent(probed), 1e-5);
  });

  test("BiasedMla", () => {
    const probed = latentBlock("BiasedMla");
    expectClose(probed.logits, latent(probed, { biased: true }), 1e-5);
  });

  test("DirectMla", () => {
    const probed = latentBlock("DirectMla");
    expectClose(probed.logits, latent(probed, { direct: true }), 1e-5);
  });

  test("BiasedDirectMla", () => {
    const probed = latentBlock("BiasedDirectMla");
    expectClose(probed.logits, latent(probed, { direct: true, biased: true }), 1e-5);
  });

  test("YaRN multiplies the scores", () => {
    // So long a trained length that no frequency changes.
    const probed = latentBlock("Mla", "YarnRope[R](factor: 40, trained: 1_000_000_000)");
    const factor = (0.1 * Math.log(40) + 1) ** 2;
    expectClose(probed.logits, latent(probed, { factor }), 1e-5);
    expect(scaled(latent(probed), 1)).not.toEqual(probed.logits);
  });
});
