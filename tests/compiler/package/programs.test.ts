import { expect, test } from "vitest";
import { trainPlan } from "../../../compiler/cli/train-plan.ts";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import { lowered } from "../../../compiler/package/package.ts";
import { servingPrograms, trainingPrograms } from "../../../compiler/package/programs.ts";
import { checkFile } from "../../../dsl/semantics/check.ts";
import { keptBy } from "../../../runtime/device/stores.ts";

const TEXT = `edition 2026

import { Gqa } from "std/attention"
import { Decoder, Embedding, RmsNorm, SwiGlu } from "std/nn"

model Half {
  dim V = 32
  dim D = 8
  dtype = bf16

  use embed = Embedding[V, D]
  use trunk = stack { 1 of Decoder[D](mixer: Gqa[D, 1, 2, 4], ffn: SwiGlu[D, 16]) }

  fn forward(tokens: i32[T], pos: i32[T]) -> f32[T, V] {
    return embed.transposed(trunk(embed(tokens), pos))
  }
}
`;

test("a model in bf16 is trained and evaluated on params in f32, and generates with its own", () => {
  const model = checkFile({ path: "half.dsk", text: TEXT }, new Diagnostics()).models.get("Half")!;
  const training = model.training();
  const dtypes = (programs: Parameters<typeof lowered>[0]): string[] => [
    ...new Set(keptBy(lowered(programs).programs).stores.map(({ dtype }) => dtype)),
  ];
  const { programs } = trainingPrograms(model.module, training.module, trainPlan(undefined, training), true);
  expect(programs.map(({ name }) => name)).toEqual(["train_step", "evaluate", "denominators", "gradients", "apply"]);
  expect(dtypes(programs)).toEqual(["f32"]);
  expect(dtypes(servingPrograms(model.module))).toEqual(["bf16"]);
});
