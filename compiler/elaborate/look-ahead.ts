import { joinPath } from "../model-ir/places.ts";
import type { Ahead, Module } from "../model-ir/types.ts";
import { isFloat, type Value } from "../tensor-ir/types.ts";
import { crossEntropy } from "./forward.ts";
import type { LossTerm, ProgramHost } from "./host.ts";
import type { Frame, Inliner } from "./inline.ts";
import { inDtype, TOKENS } from "./sink.ts";

/** What the loss of a depth is divided by: the tokens that have a target so far ahead, or all of them (Eq. 24). */
export type AheadDivisor = "valid" | "length";

/**
 * Multi-token prediction (DeepSeek-V3 section 2.2): module k takes the hidden state of depth k - 1 (at first what the head
 * of the model reads) and the embedding of the token k ahead, and predicts the one after it. Positions without a token
 * ahead do not count as live. Called after `runForward`; gives the loss of every depth.
 */
export function runAhead(
  module: Module,
  host: ProgramHost,
  inliner: Inliner,
  divideBy: AheadDivisor = "valid",
): LossTerm[] {
  const among = divideBy === "length" ? host.live() : undefined;
  return [...module.ahead].flatMap(([use, ahead]) => {
    let hidden = headInput(host, ahead);
    return Array.from({ length: ahead.depth }, (_, i) => {
      const tokens = host.read(`ahead.${i + 1}`, { dtype: "i32", dims: [TOKENS] });
      host.bindings.set("live", host.atLeastZero(tokens));
      const guessed = runModule(module, use, i + 1, host, inliner, hidden, tokens);
      hidden = guessed.hidden;
      const loss = crossEntropy(host, guessed.logits, i + 2, joinPath(joinPath(use, i), "mtp"), among);
      host.bindings.delete("live");
      return loss;
    });
  });
}

/** The hidden states [T, D] that the head of the model reads: what the first look-ahead module takes. */
export function headInput(host: ProgramHost, { head }: Ahead): Value {
  // A tied head is the embedding's use: its calls take hidden states, those of the embedding tokens.
  const call = host.calls.findLast(({ use, args }) => use === head.use && isFloat(args[0]!.type.dtype));
  if (call === undefined) throw new Error(`forward does not call ${head.use}`);
  return call.args[0]!;
}

/** Module k of a look-ahead use on hidden states [T, D] and the tokens i32[T] k ahead: its hidden states, logits [T, V]. */
export function runModule(
  module: Module,
  use: string,
  k: number,
  host: ProgramHost,
  inliner: Inliner,
  hidden: Value,
  tokens: Value,
): { readonly hidden: Value; readonly logits: Value } {
  const target = module.root.uses.get(use);
  if (target?.kind !== "ahead") throw new Error(`${use} is no look-ahead use`);
  const { embed, head, forward, readout } = module.ahead.get(use)!;
  const shared = (name: string): Frame => {
    const found = module.root.uses.get(name);
    if (found?.kind !== "block") throw new Error(`${use} shares ${name}, which is no block`);
    return host.frame(name, found.block);
  };
  const [embedding] = inliner.run(embed.fn, shared(embed.use), [tokens]);
  const frame = host.frame(joinPath(use, k - 1), target.block);
  const pos = host.read("pos", { dtype: "i32", dims: [TOKENS] });
  const seen = inDtype(host.sink, hidden, forward.params[0]!.type.dtype);
  const [next] = inliner.run(forward, frame, [seen, embedding!, pos]);
  const [read] = inliner.run(readout, frame, [next!]);
  const [logits] = inliner.run(head.fn, shared(head.use), [read!]);
  return { hidden: next!, logits: logits! };
}
