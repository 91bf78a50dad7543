import { describe, expect, test } from "vitest";
import { add, apply, gelu, mean, rmsNorm, type Row, rowsOf, silu, times } from "../../support/plain.ts";
import { probeModel, type Probed, score } from "../../support/probe.ts";
import { expectClose } from "./close.ts";

const D = 6;
const TOKENS = 3;

/** `block` on random rows of width D; the result has dim `out`. */
function run(name: string, block: string, { out = "D", items = "", call = "part(x)" } = {}): Probed {
  return score(
    probeModel({
      imports: `import { ${name} } from "std/nn"`,
      items: `  dim D = ${D}\n${items}\n  use part = ${block}`,
      body: `    return ${call}`,
      out,
      tokens: TOKENS,
    }),
  );
}

/** Compares with a function of one row. */
function expectRows({ logits, value }: Probed, of: (x: Row) => Row): void {
  expectClose(logits, rowsOf(value("table"), D).flatMap(of));
}

describe("projections", () => {
  test("Linear", () => {
    const probed = run("Linear", "Linear[D, O]", { out: "O", items: "  dim O = 4" });
    expectRows(probed, (x) => apply(x, rowsOf(probed.value("part.w"), 4)));
  });

  test("BiasedLinear", () => {
    const probed = run("BiasedLinear", "BiasedLinear[D, O]", { out: "O", items: "  dim O = 4" });
    expectRows(probed, (x) => add(apply(x, rowsOf(probed.value("part.w"), 4)), probed.value("part.b")));
  });

  test("a square Linear keeps the name of its dim", () => {
    const probed = run("Linear", "Linear[D, D]");
    expectRows(probed, (x) => apply(x, rowsOf(probed.value("part.w"), D)));
  });

  test("Embedding gives rows, transposed gives their products", () => {
    const probed = run("Embedding", "Embedding[W, D]", {
      out: "W",
      items: "  dim W = 5",
      call: "part.transposed(x + part(tokens))",
    });
    const rows = rowsOf(probed.value("part.weight"), D);
    const inputs = rowsOf(probed.value("table"), D);
    expectClose(
      probed.logits,
      inputs.flatMap((x, t) =>
        rows.map(
          (row) =>
            apply(
              add(x, rows[t]!),
              row.map((v) => [v]),
            )[0]!,
        ),
      ),
    );
  });

  test("Identity", () => {
    expectRows(run("Identity", "Identity"), (x) => x);
  });
});

describe("norms", () => {
  test("RmsNorm", () => {
    const probed = run("RmsNorm", "RmsNorm[D](eps: 0.01)");
    expectRows(probed, (x) => rmsNorm(x, probed.value("part.weight"), 0.01));
  });

  test("LayerNorm", () => {
    const probed = run("LayerNorm", "LayerNorm[D](eps: 0.01)");
    expectRows(probed, (x) => {
      const centered = x.map((v) => v - mean(x));
      const scale = 1 / Math.sqrt(mean(centered.map((v) => v * v)) + 0.01);
      return centered.map((v, i) => v * scale * probed.value("part.weight")[i]! + probed.value("part.bias")[i]!);
    });
  });

  test("HeadsRmsNorm and KeyHeadsRmsNorm are over all heads", () => {
    const heads = run("HeadsRmsNorm", "HeadsRmsNorm[G, M, N](eps: 0.01)", {
      items: "  dim G = 3\n  dim M = 1\n  dim N = 2\n  dim I = M * N",
      call: "merge[D](merge[I](part(fold[M, N](fold[G, I](x, D), I)), M, N), G, I)",
    });
    expectRows(heads, (x) => rmsNorm(x, heads.value("part.weight"), 0.01));
    const keys = run("KeyHeadsRmsNorm", "KeyHeadsRmsNorm[G, N](eps: 0.01)", {
      items: "  dim G = 3\n  dim N = 2",
      call: "merge[D](part(fold[G, N](x, D)), G, N)",
    });
    expectRows(keys, (x) => rmsNorm(x, keys.value("part.weight"), 0.01));
  });

  test("a norm of each head is RmsNorm", () => {
    const probed = run("RmsNorm", "RmsNorm[N]", {
      items: "  dim G = 3\n  dim N = 2",
      call: "merge[D](part(fold[G, N](x, D)), G, N)",
    });
    expectRows(probed, (x) => rowsOf(x, 2).flatMap((head) => rmsNorm(head, probed.value("part.weight"))));
  });
});

describe("feed-forward networks", () => {
  const F = 4;
  const matrix = ({ value }: Probed, name: string, width: number): number[][] => rowsOf(value(`part.${name}`), width);

  /** act(x gate + b) * (x up + b) down + b, the biases where there are some. */
  function gated(probed: Probed, act: (x: number) => number, biased = false): (x: Row) => Row {
    const bias = (name: string, width: number): Row =>
      biased ? probed.value(`part.${name}_b`) : Array.from({ length: width }, () => 0);
    return (x) => {
      const gate = add(apply(x, matrix(probed, "gate", F)), bias("gate", F)).map(act);
      const up = add(apply(x, matrix(probed, "up", F)), bias("up", F));
      return add(apply(times(gate, up), matrix(probed, "down", D)), bias("down", D));
    };
  }

  test("SwiGlu", () => {
    const probed = run("SwiGlu", `SwiGlu[D, ${F}]`);
    expectRows(probed, gated(probed, silu));
  });

  test("BiasedSwiGlu", () => {
    const probed = run("BiasedSwiGlu", `BiasedSwiGlu[D, ${F}]`);
    expectRows(probed, gated(probed, silu, true));
  });

  test("GeGlu", () => {
    const probed = run("GeGlu", `GeGlu[D, ${F}]`);
    expectRows(probed, gated(probed, gelu));
  });

  test("ReluMlp", () => {
    const probed = run("ReluMlp", `ReluMlp[D, ${F}]`);
    expectRows(probed, (x) =>
      apply(
        apply(x, matrix(probed, "up", F)).map((v) => Math.max(v, 0)),
        matrix(probed, "down", D),
      ),
    );
  });

  test("Mlp", () => {
    const probed = run("Mlp", `Mlp[D, ${F}]`);
    const { value } = probed;
    expectRows(probed, (x) => {
      const hidden = add(apply(x, matrix(probed, "up", F)), value("part.up_b")).map(gelu);
      return add(apply(hidden, matrix(probed, "down", D)), value("part.down_b"));
    });
  });
});

test("Decoder: norm, mixer, residual, norm, network, residual", () => {
  const probed = score(
    probeModel(
      {
        imports: 'import { Decoder, ReluMlp } from "std/nn"',
        items: `  dim D = ${D}\n  use part = Decoder[D](mixer: Shift[D], ffn: ReluMlp[D, 4], eps: 0.01)`,
        body: "    return part(x, pos)",
        out: "D",
        tokens: TOKENS,
      },
      "block Shift[D] {\n  param w: [D]\n  fn forward(x: [T, D], pos: i32[T]) -> [T, D] { return x * w + pos }\n}",
    ),
  );
  const { value } = probed;
  let pos = 0;
  expectRows(probed, (x) => {
    const mixed = rmsNorm(x, value("part.norm_mixer.weight"), 0.01).map((v, i) => v * value("part.mixer.w")[i]! + pos);
    const h = add(x, mixed);
    const up = apply(rmsNorm(h, value("part.norm_ffn.weight"), 0.01), rowsOf(value("part.ffn.up"), 4));
    pos++;
    return add(
      h,
      apply(
        up.map((v) => Math.max(v, 0)),
        rowsOf(value("part.ffn.down"), D),
      ),
    );
  });
  expect(pos).toBe(TOKENS);
});
