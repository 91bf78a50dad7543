import type { Choice } from "../../device/choice.ts";
import type { Call, Outcome, Session } from "../../device/session.ts";
import { choose } from "./choose.ts";
import { askedFor, chooseFrom } from "./choose-from.ts";

/**
 * Runs a call and chooses tokens by its logits: on the device, by what it tells of them, or by all of them.
 * @param known tokens below this number can be chosen; all when not given
 * @throws as `Session.run`
 */
export async function runAndChoose(
  session: Session,
  call: Call,
  choices: readonly Choice[],
  known?: number,
): Promise<Outcome> {
  if (session.choose !== undefined) return session.choose(call, choices, known);
  if (session.shortlist !== undefined) {
    const asked = choices.map((choice) => askedFor(choice, known));
    const { outputs, lists } = await session.shortlist(call, asked, known);
    const chosen = lists.map((list, i) => chooseFrom(list, choices[i]!, known));
    if (!chosen.includes("unsure")) return { outputs, chosen: chosen as Outcome["chosen"] };
    // Once more, for its logits: what a call writes to the caches does not change by that.
  }
  const outputs = await session.run({ ...call, outputs: [...(call.outputs ?? []), "logits"] });
  const logits = outputs["logits"] as Float32Array;
  const vocabulary = logits.length / call.sizes["B"]!;
  const chosen = choices.map((choice) => {
    const row = logits.subarray(choice.row * vocabulary, (choice.row + 1) * vocabulary);
    return choose(row.subarray(0, known), choice);
  });
  return { outputs, chosen };
}
