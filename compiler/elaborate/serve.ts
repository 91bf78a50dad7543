import type { Module } from "../model-ir/types.ts";
import type { Program, Value } from "../tensor-ir/types.ts";
import { runForward } from "./forward.ts";
import { ProgramHost } from "./host.ts";
import { Inliner } from "./inline.ts";
import { headInput, runModule } from "./look-ahead.ts";
import { emitOne, inDtype, SEQUENCES, TOKENS } from "./sink.ts";

/**
 * One call of generation: inputs `tokens`, `pos`, `seq` of the new tokens, `key.pos`, `key.seq` of all positions in the
 * caches, the new ones at the end, and `rows` (i32[B]), the tokens whose logits are wanted; output `logits` [B, V] in f32, and
 * when the model looks ahead `hidden` [T, D] in f32, what its first look-ahead module reads. `prefill` and `decode` differ in
 * how many tokens a sequence has: passes decide by it.
 */
export function serveProgram(module: Module, name: "prefill" | "decode"): Program {
  const host = serveHost(module);
  const logits = runForward(module, host, new Inliner(module, host));
  output(host, "logits", wantedRows(host, logits));
  const [ahead] = module.ahead.values();
  if (ahead !== undefined) output(host, "hidden", headInput(host, ahead));
  return host.builder.finish(name);
}

/**
 * Guessing: one program `draft.k` for each look-ahead module (those of the first look-ahead use), with its own caches over all
 * positions. Inputs as for generation, but `tokens` are those k ahead of `pos`, and `hidden` (f32[T, D]) what the model, or the
 * module before, gives there. Outputs `logits` of the tokens k + 1 ahead, and `hidden` for the next module.
 */
export function draftPrograms(module: Module): Program[] {
  return [...module.ahead].slice(0, 1).flatMap(([use, ahead]) =>
    Array.from({ length: ahead.depth }, (_, i) => {
      const host = serveHost(module);
      const { dims } = ahead.forward.params[0]!.type;
      const tokens = host.read("tokens", { dtype: "i32", dims: [TOKENS] });
      const hidden = host.read("hidden", { dtype: "f32", dims });
      const guessed = runModule(module, use, i + 1, host, new Inliner(module, host), hidden, tokens);
      output(host, "logits", wantedRows(host, guessed.logits));
      if (i + 1 < ahead.depth) output(host, "hidden", guessed.hidden);
      return host.builder.finish(`draft.${i + 1}`);
    }),
  );
}

function serveHost(module: Module): ProgramHost {
  return new ProgramHost(module, { caches: "keep", metrics: false, losses: false });
}

function output(host: ProgramHost, name: string, value: Value): void {
  host.builder.effect("program.output", [inDtype(host.sink, value, "f32")], { name });
}

/** The rows of x [T, ..] that the input `rows` names: [B, ..]. */
function wantedRows(host: ProgramHost, x: Value): Value {
  const rows = host.read("rows", { dtype: "i32", dims: [SEQUENCES] });
  const dims = x.type.dims.map((label) => (label === TOKENS ? SEQUENCES : label));
  return emitOne(host.sink, "tensor.gather", [x, rows], { dtype: x.type.dtype, dims }, { dim: TOKENS });
}
