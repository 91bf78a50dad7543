import { expect, test } from "vitest";
import { add, apply, rmsNorm, type Row, rowsOf, sum } from "../../support/plain.ts";
import { probeModel, score, trainStep } from "../../support/probe.ts";
import { expectClose } from "./close.ts";

const D = 4;

/** A layer that is easy to follow. */
const SHIFT =
  "block Shift[D] {\n  param w: [D]\n  fn forward(x: [T, D], pos: i32[T]) -> [T, D] { return x * w + pos }\n}";

test("PredictAhead joins embedding and hidden state, in that order", () => {
  const tokens = 3;
  const probed = score(
    probeModel(
      {
        imports: 'import { PredictAhead } from "std/mtp"',
        items: `  dim D = ${D}\n  use part = PredictAhead[D](layer: Shift[D], eps: 0.01)\n  param ahead: [V, D]`,
        body: "    return part.readout(part(x, gather[V](ahead, tokens), pos))",
        out: "D",
        tokens,
      },
      SHIFT,
    ),
  );
  const { value } = probed;
  const [h, e] = [rowsOf(value("table"), D), rowsOf(value("ahead"), D)];
  const wanted = h.flatMap((row, t) => {
    const both = [
      ...rmsNorm(e[t]!, value("part.norm_embed.weight"), 0.01),
      ...rmsNorm(row, value("part.norm_hidden.weight"), 0.01),
    ];
    const y = apply(both, rowsOf(value("part.join"), D)).map((v, i) => v * value("part.layer.w")[i]! + t);
    return rmsNorm(y, value("part.norm.weight"), 0.01);
  });
  expectClose(probed.logits, wanted, 1e-5);
});

test("the mtp loss of two depths: hidden states chain, embedding and head are shared, the end has no target", () => {
  const tokens = 5;
  const model = probeModel(
    {
      imports: 'import { Embedding, RmsNorm } from "std/nn"',
      items: `  dim D = ${D}
  use embed = Embedding[V, D]
  use norm  = RmsNorm[D](eps: 0.01)
  use mtp   = predict_ahead(depth: 2, with: Shift[D], shares: [embed, embed_head], eps: 0.01)
  use embed_head = embed.transposed`,
      body: "    return embed_head(norm(embed(tokens) + 0 * x))",
      out: "V",
      tokens,
    },
    SHIFT,
  );
  const { losses, value } = trainStep(model, ["mtp"]);
  const embed = rowsOf(value("embed.weight"), D);
  const surprise = (h: Row, target: number): number => {
    const logits = embed.map((row) => sum(row.map((v, i) => v * h[i]!)));
    return Math.log(sum(logits.map(Math.exp))) - logits[target]!;
  };
  let hidden = embed.map((row) => rmsNorm(row, value("norm.weight"), 0.01));
  const means = [1, 2].map((k) => {
    const at = (name: string): Row => value(`mtp.${k - 1}.${name}`);
    hidden = hidden.slice(0, tokens - k).map((h, t) => {
      const both = [
        ...rmsNorm(embed[t + k]!, at("norm_embed.weight"), 0.01),
        ...rmsNorm(h, at("norm_hidden.weight"), 0.01),
      ];
      return apply(both, rowsOf(at("join"), D)).map((v, i) => v * at("layer.w")[i]! + t);
    });
    const terms = hidden
      .slice(0, tokens - k - 1)
      .map((h, t) => surprise(rmsNorm(h, at("norm.weight"), 0.01), t + k + 1));
    return sum(terms) / terms.length;
  });
  expectClose([losses.get("mtp")!], [(means[0]! + means[1]!) / 2], 1e-5);
  expect(add(means, means)).not.toEqual([0, 0]);
});
