import { resolve } from "node:path";
import { expect, test } from "vitest";
import { add, apply, dot, frequencies, mean, rmsNorm, rotate, type Row, rowsOf, sum } from "../support/plain.ts";
import { checkedModel, type Probed, score } from "../support/probe.ts";
import { expectClose } from "../dsl/std/close.ts";

/** DeepSeek-V3.2's sparse attention, beside Mla and beside the indexer in plain numbers. */
const [TOKENS, D, H, Q, C, N, R, Vh, J, I] = [6, 8, 2, 6, 5, 4, 2, 3, 2, 4];

function run(name: string, imported: string, args: string, params: Readonly<Record<string, Row>> = {}): Probed {
  const text = `edition 2026

import { ${name} } from "${imported}"
import { Rope } from "std/rope"

model Sparse {
  dim V = ${TOKENS}
  dim D = ${D}
  dim R = ${R}
  use mixer = ${name}[D, ${H}](Q: ${Q}, C: ${C}, N: ${N}, R: R, Vh: ${Vh}, rope: Rope[R]${args})
  param table: [V, D]
  fn forward(tokens: i32[T], pos: i32[T]) -> f32[T, D] { return mixer(gather[V](table, tokens), pos) }
}
`;
  return score(checkedModel(text, resolve(import.meta.dirname, "../../specs/probe.dsk")), { params });
}

const sparse = (keep: number): Probed => run("SparseMla", "deepseek-v3.2", `, J: ${J}, I: ${I}, keep: ${keep}`);

test("with every position kept it is Mla", () => {
  const all = sparse(TOKENS);
  const names = [
    "table",
    ...["wq_a", "wq_b", "wkv_a", "wk_b", "wv_b", "wo", "q_norm.weight", "kv_norm.weight"].map((n) => `mixer.${n}`),
  ];
  const params = Object.fromEntries(names.map((name) => [name, all.value(name)]));
  expectClose(all.logits, run("Mla", "std/attention", "", params).logits);
});

test("with one position kept a token reads the value of the one that the indexer likes best", () => {
  const { logits, value } = sparse(1);
  const turn = (row: Row, pos: number): number[] => [
    ...rotate(row.slice(0, R), pos, frequencies(R), false),
    ...row.slice(R),
  ];
  const norm = (x: Row): number[] => {
    const centered = x.map((v) => v - mean(x));
    const scale = 1 / Math.sqrt(mean(centered.map((v) => v * v)) + 1e-6);
    const [weight, bias] = [value("mixer.k_i_norm.weight"), value("mixer.k_i_norm.bias")];
    return add(
      centered.map((v, i) => v * scale * weight[i]!),
      bias,
    );
  };
  const xs = rowsOf(value("table"), D);
  const keys = xs.map((x, s) => turn(norm(apply(x, rowsOf(value("mixer.wk_i"), I))), s));
  const values = xs.map((x) => {
    const c = apply(x, rowsOf(value("mixer.wkv_a"), C + R)).slice(0, C);
    return apply(rmsNorm(c, value("mixer.kv_norm.weight")), rowsOf(value("mixer.wv_b"), H * Vh));
  });
  const chosen = xs.map((x, t) => {
    const latent = rmsNorm(apply(x, rowsOf(value("mixer.wq_a"), Q)), value("mixer.q_norm.weight"));
    const queries = rowsOf(apply(latent, rowsOf(value("mixer.wq_i"), J * I)), I).map((q) => turn(q, t));
    const weights = apply(x, rowsOf(value("mixer.w_i"), J));
    const index = keys.slice(0, t + 1).map((k) => sum(queries.map((q, j) => weights[j]! * Math.max(dot(q, k), 0))));
    return index.indexOf(Math.max(...index));
  });
  expectClose(
    logits,
    chosen.flatMap((s) => apply(values[s]!, rowsOf(value("mixer.wo"), D))),
  );
  expect(chosen.some((s, t) => s !== t)).toBe(true);
});
