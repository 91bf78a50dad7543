import { decoded } from "../../runtime/device/elements.ts";
import type { Session } from "../../runtime/device/session.ts";
import { packRows, padRows, type RowScores, type Scored } from "../reference/score-rows.ts";
import { POSITIONS, SEQUENCES, TOKENS } from "../elaborate/sink.ts";
import { stringAttr } from "../tensor-ir/attrs.ts";
import type { Program, TensorType } from "../tensor-ir/types.ts";

/**
 * Scores rows of tokens with the program `score` of a session.
 * @param types the types of the program's outputs by name
 */
export async function scoreOn(
  session: Pick<Session, "run">,
  types: ReadonlyMap<string, TensorType>,
  rows: readonly (readonly number[])[],
  sizeOf: (label: string) => number,
): Promise<RowScores> {
  const count = rows.reduce((sum, row) => sum + row.length, 0);
  const inputs = Object.fromEntries([...packRows(rows)].map(([name, { data }]) => [name, Int32Array.from(data)]));
  const sizes = { [TOKENS]: count, [POSITIONS]: count, [SEQUENCES]: rows.length };
  const outputs = await session.run({ program: "score", sizes, inputs });
  const tensors = new Map<string, Scored>();
  const gradients = new Map<string, Pick<Scored, "data">>();
  const metrics = new Map<string, Scored>();
  for (const [name, elements] of Object.entries(outputs)) {
    const { dtype, dims } = types.get(name)!;
    const shape = dims.map((label) => (label === TOKENS ? count : sizeOf(label)));
    const data = decoded(elements, dtype);
    if (name.startsWith("grad.")) gradients.set(name.slice("grad.".length), { data });
    else if (name.startsWith("metric.")) metrics.set(name.slice("metric.".length), { shape, data });
    else if (name === "loss.next_token") tensors.set("loss", { shape: [1], data });
    else tensors.set(name, padRows({ shape, data }, rows));
  }
  return { tensors, gradients, metrics };
}

/** The types of what a program hands out, by the names that a session gives it. */
export function outputTypes({ ops }: Program): Map<string, TensorType> {
  const prefix: Readonly<Record<string, string>> = { "program.output": "", "metric.emit": "metric." };
  return new Map(
    ops.flatMap(({ name, attrs, operands: [value] }) =>
      prefix[name] === undefined ? [] : [[`${prefix[name]}${stringAttr(attrs, "name")}`, value!.type] as const],
    ),
  );
}
