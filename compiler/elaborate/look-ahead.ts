import { joinPath } from "../model-ir/places.ts";
import type { Ahead, Block, Module } from "../model-ir/types.ts";
import { type DType, isFloat, type Value } from "../tensor-ir/types.ts";
import { crossEntropy } from "./forward.ts";
import type { LossTerm, ProgramHost } from "./host.ts";
import type { Inliner } from "./inline.ts";
import { emitOne, TOKENS } from "./sink.ts";

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
  return [...module.ahead].flatMap(([use, ahead]) => runModules(module.root, use, ahead, host, inliner, among));
}

function runModules(
  root: Block,
  use: string,
  ahead: Ahead,
  host: ProgramHost,
  inliner: Inliner,
  among: Value | undefined,
): LossTerm[] {
  const target = root.uses.get(use);
  if (target?.kind !== "ahead") throw new Error(`${use} is no look-ahead use`);
  const blockOf = (name: string): Block => {
    const shared = root.uses.get(name);
    if (shared?.kind !== "block") throw new Error(`${use} shares ${name}, which is no block`);
    return shared.block;
  };
  const { embed, head } = ahead;
  // A tied head is the embedding's use: its calls take hidden states, those of the embedding tokens.
  const headCall = host.calls.findLast(({ use: called, args }) => called === head.use && isFloat(args[0]!.type.dtype));
  if (headCall === undefined) throw new Error(`forward does not call ${head.use}`);
  let hidden = inDtype(host, headCall.args[0]!, ahead.forward.params[0]!.type.dtype);
  const pos = host.read("pos", { dtype: "i32", dims: [TOKENS] });
  const losses: LossTerm[] = [];
  for (let k = 1; k <= ahead.depth; k++) {
    const path = joinPath(use, k - 1);
    const tokens = host.read(`ahead.${k}`, { dtype: "i32", dims: [TOKENS] });
    host.bindings.set("live", host.atLeastZero(tokens));
    const [embedding] = inliner.run(embed.fn, host.frame(embed.use, blockOf(embed.use)), [tokens]);
    const frame = host.frame(path, target.block);
    hidden = inliner.run(ahead.forward, frame, [hidden, embedding!, pos])[0]!;
    const [seen] = inliner.run(ahead.readout, frame, [hidden]);
    const [logits] = inliner.run(head.fn, host.frame(head.use, blockOf(head.use)), [seen!]);
    losses.push(crossEntropy(host, logits!, k + 1, joinPath(path, "mtp"), among));
    host.bindings.delete("live");
  }
  return losses;
}

function inDtype({ sink }: ProgramHost, value: Value, dtype: DType): Value {
  if (value.type.dtype === dtype) return value;
  return emitOne(sink, "tensor.cast", [value], { dtype, dims: value.type.dims });
}
