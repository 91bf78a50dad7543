import { describe, expect, test } from "vitest";
import { fixtureJson, fixtureTensors } from "../../support/fixture.ts";
import { frequencies, rotate, type Row, rowsOf } from "../../support/plain.ts";
import { probeModel, type Probed, score } from "../../support/probe.ts";
import { expectClose } from "./close.ts";

const POSITIONS = [0, 1, 5, 100];

function run(block: string, width: number, { pos = POSITIONS, call = "rope(x, pos)", items = "" } = {}): Probed {
  return score(
    probeModel({
      imports: `import { ${block.split("[")[0]} } from "std/rope"`,
      items: `  dim D = ${width}\n${items}\n  use rope = ${block}`,
      body: `    return ${call}`,
      out: "D",
      tokens: pos.length,
    }),
    { pos },
  );
}

function expectRotated({ logits, value }: Probed, width: number, of: (x: Row, pos: number) => Row): void {
  expectClose(
    logits,
    rowsOf(value("table"), width).flatMap((x, t) => of(x, POSITIONS[t]!)),
    1e-5,
  );
}

describe("Rope", () => {
  test("turns neighbors", () => {
    expectRotated(run("Rope[D]", 8), 8, (x, pos) => rotate(x, pos, frequencies(8), false));
  });

  test("turns halves", () => {
    expectRotated(run("Rope[D](theta: 500, half: true)", 8), 8, (x, pos) => rotate(x, pos, frequencies(8, 500), true));
  });

  test("first turns the first dims of a wider one", () => {
    const probed = run("Rope[4]", 8, { call: "rope.first(x, pos)" });
    expectRotated(probed, 8, (x, pos) => [...rotate(x.slice(0, 4), pos, frequencies(4), false), ...x.slice(4)]);
  });

  test("scores depend on the distance alone", () => {
    const { logits } = score(
      probeModel({
        imports: 'import { Rope } from "std/rope"',
        items: "  dim D = 8\n  use rope = Rope[D]\n  param q: [D]\n  param k: [D]",
        body: "    let a[T, D] = q + 0 * x\n    let b[T, D] = k + 0 * x\n    return x * 0 + sum[D](rope(a, pos) * rope(b, pos + 7))",
        out: "D",
        tokens: 4,
      }),
      { pos: POSITIONS },
    );
    expectClose(
      logits,
      logits.map(() => logits[0]!),
      1e-5,
    );
  });
});

test("LinearRope divides frequencies", () => {
  const slow = frequencies(8).map((f) => f / 4);
  expectRotated(run("LinearRope[D](factor: 4)", 8), 8, (x, pos) => rotate(x, pos, slow, false));
});

describe("PartialRope", () => {
  const text = {
    imports: 'import { PartialRope, Rope, YarnRope } from "std/rope"',
    out: "D",
    tokens: POSITIONS.length,
  };

  test("leaves the rest as it is", () => {
    const items = "  dim D = 8\n  dim R = D / 2\n  use rope = PartialRope[D](rope: Rope[R](half: true))";
    const probed = score(
      probeModel({ ...text, imports: text.imports.replace(", YarnRope", ""), items, body: "    return rope(x, pos)" }),
      { pos: POSITIONS },
    );
    expectRotated(probed, 8, (x, pos) => [...rotate(x.slice(0, 4), pos, frequencies(4), true), ...x.slice(4)]);
  });

  test("passes on the factor of the scores", () => {
    const items = "  dim D = 8\n  use rope = PartialRope[D](rope: YarnRope[4](factor: 40))";
    const imports = text.imports.replace(" Rope,", "");
    const { logits, value } = score(probeModel({ ...text, imports, items, body: "    return x * rope.score_scale()" }));
    expectClose(
      logits,
      value("table").map((v) => v * (0.1 * Math.log(40) + 1) ** 2),
    );
  });
});

interface TableConfig {
  readonly dim: number;
  readonly cos_sin_factor: number;
  readonly softmax_scale_factor: number;
}

describe("tables of real models", () => {
  const configs = fixtureJson("k2_rope_tables", "configs.json") as Record<string, TableConfig>;
  const tensor = fixtureTensors("k2_rope_tables", "rope.safetensors");
  const BLOCKS: Readonly<Record<string, string>> = {
    deepseek_v3:
      "YarnRope[D](theta: 10_000, factor: 40, trained: 4Ki, beta_fast: 32, beta_slow: 1, mscale: 1, mscale_all: 1)",
    llama31_8b: "Llama3Rope[D](theta: 500_000, factor: 8, low: 1, high: 4, trained: 8Ki, half: false)",
  };

  test("all are compared", () => {
    expect(Object.keys(configs)).toEqual(Object.keys(BLOCKS));
  });

  describe.each(Object.entries(BLOCKS))("%s", (name, block) => {
    const { dim, softmax_scale_factor } = configs[name]!;

    /** cos and sin of each pair: the pair (1, 0), turned. */
    function table(pos: Row): { readonly cos: Row; readonly sin: Row } {
      const unit = "where(f32(iota[D]) - 2 * floor(f32(iota[D]) / 2) == 0, 1, 0)";
      const { logits } = run(block, dim, { pos: [...pos], call: `rope(0 * x + ${unit}, pos)` });
      return { cos: logits.filter((_, i) => i % 2 === 0), sin: logits.filter((_, i) => i % 2 === 1) };
    }

    test("frequencies", () => {
      const { cos, sin } = table([1]);
      const { data } = tensor(`${name}.inv_freq`);
      expectClose(
        sin.map((s, i) => Math.atan2(s, cos[i]!)),
        data,
        2e-6,
        1e-6,
      );
    });

    test("cos and sin", () => {
      const positions = tensor("positions").data;
      const { cos, sin } = table(positions);
      // An angle in f32 at position p is off by about p * 6e-8.
      expectClose(cos, tensor(`${name}.cos`).data, 0.02, 0);
      expectClose(sin, tensor(`${name}.sin`).data, 0.02, 0);
      const near = positions.filter((p) => p <= 100).length;
      expect(near).toBeGreaterThan(1);
      expectClose(cos.slice(0, (near * dim) / 2), tensor(`${name}.cos`).data.slice(0, (near * dim) / 2), 2e-5);
    });

    test("factor of the scores", () => {
      const { logits, value } = run(block, dim, { pos: [0], call: "x * rope.score_scale()" });
      expectClose(
        logits,
        value("table").map((v) => v * softmax_scale_factor),
      );
    });
  });
});

test("YaRN with mscale_all: 0 scales cos and sin instead of the scores", () => {
  const factor = 0.1 * Math.log(8) + 1;
  const plain = run("YarnRope[D](factor: 8, half: true)", 8);
  const scaled = run("YarnRope[D](factor: 8, mscale_all: 0, half: true)", 8);
  expectClose(
    scaled.logits,
    plain.logits.map((v) => v * factor),
    1e-5,
  );
  const { logits, value } = run("YarnRope[D](factor: 8, mscale_all: 0)", 8, { call: "x * rope.score_scale()" });
  expectClose(logits, value("table"));
});
