import type { Module } from "../model-ir/types.ts";
import type { Program } from "../tensor-ir/types.ts";
import { runForward } from "./forward.ts";
import { ProgramHost } from "./host.ts";
import { Inliner } from "./inline.ts";

/**
 * One call of generation: inputs `tokens`, `pos`, `seq` of the new tokens and `key.pos`, `key.seq` of all positions in the
 * caches, the new ones at the end; output `logits` of the new tokens. `prefill` and `decode` differ in how many tokens a
 * sequence has: passes decide by it.
 */
export function serveProgram(module: Module, name: "prefill" | "decode"): Program {
  const host = new ProgramHost(module, { caches: "keep", metrics: false, losses: false });
  const logits = runForward(module, host, new Inliner(module, host));
  host.builder.effect("program.output", [logits], { name: "logits" });
  return host.builder.finish(name);
}
