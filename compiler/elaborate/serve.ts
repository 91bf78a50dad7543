import type { Module } from "../model-ir/types.ts";
import type { Program, Value } from "../tensor-ir/types.ts";
import { runForward } from "./forward.ts";
import { ProgramHost } from "./host.ts";
import { Inliner } from "./inline.ts";
import { emitOne, SEQUENCES, TOKENS } from "./sink.ts";

/**
 * One call of generation: inputs `tokens`, `pos`, `seq` of the new tokens, `key.pos`, `key.seq` of all positions in the
 * caches, the new ones at the end, and `rows` (i32[B]), the tokens whose logits are wanted; output `logits` [B, V] in f32.
 * `prefill` and `decode` differ in how many tokens a sequence has: passes decide by it.
 */
export function serveProgram(module: Module, name: "prefill" | "decode"): Program {
  const host = new ProgramHost(module, { caches: "keep", metrics: false, losses: false });
  const logits = runForward(module, host, new Inliner(module, host));
  host.builder.effect("program.output", [wantedRows(host, logits)], { name: "logits" });
  return host.builder.finish(name);
}

/** The rows of x [T, ..] that the input `rows` names, in f32: [B, ..]. */
function wantedRows(host: ProgramHost, x: Value): Value {
  const rows = host.read("rows", { dtype: "i32", dims: [SEQUENCES] });
  const dims = x.type.dims.map((label) => (label === TOKENS ? SEQUENCES : label));
  const wanted = emitOne(host.sink, "tensor.gather", [x, rows], { dtype: x.type.dtype, dims }, { dim: TOKENS });
  return wanted.type.dtype === "f32" ? wanted : emitOne(host.sink, "tensor.cast", [wanted], { dtype: "f32", dims });
}
