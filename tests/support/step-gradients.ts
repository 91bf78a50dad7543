import { type TrainPlan, trainStepProgram } from "../../compiler/elaborate/train-step.ts";
import { weightsOf } from "../../compiler/model-ir/places.ts";
import type { Given } from "../../compiler/reference/border.ts";
import { runProgram } from "../../compiler/reference/run.ts";
import type { Tensor } from "../../compiler/reference/tensor.ts";
import type { CheckedModel } from "../../dsl/semantics/check.ts";

/** The gradients of an objective, by path: what plain descent with a rate of 1 takes from the params. */
export function stepGradients(
  { training }: CheckedModel,
  objective: TrainPlan["objective"],
  sizes: Readonly<Record<string, number>>,
  values: ReadonlyMap<string, Given>,
): { readonly gradients: ReadonlyMap<string, number[]>; readonly outputs: ReadonlyMap<string, Tensor> } {
  const { module, optimizer } = training();
  const program = trainStepProgram(module, {
    objective,
    optimizer: (type) => optimizer("Sgd", new Map([["momentum", 0]]), type)!,
  });
  const params = weightsOf(module).filter(({ store, path }) => store.kind === "param" && values.has(path));
  const given = new Map<string, Given>([
    ...values,
    ["lr", { data: [1] }],
    ["step", { data: [1] }],
    ["train.balance_rate", { data: [0] }],
    ...params.map(({ path }) => {
      const velocity: Given = { data: Array.from(values.get(path)!.data, () => 0) };
      return [`optimizer.${path}.velocity`, velocity] as const;
    }),
  ]);
  const { outputs, updates } = runProgram(program, { sizes, values: given }, { precision: "f64" });
  const gradients = new Map(
    params.map(({ path }) => {
      const after = updates.get(path)!.data;
      return [path, Array.from(values.get(path)!.data, (before, i) => before - after[i]!)];
    }),
  );
  return { gradients, outputs };
}
