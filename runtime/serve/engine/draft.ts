import type { Session } from "../../device/session.ts";
import { runAndChoose } from "../sampling/run-and-choose.ts";
import { LogitsError } from "../sampling/sampler.ts";
import { type Part, inputsOf } from "./call.ts";
import type { EngineCounts } from "./counts.ts";
import type { EngineOptions } from "./options.ts";
import type { Sequence } from "./sequence.ts";

/** Hidden states that are kept while nothing is guessed, so that guessing can go on. */
const REMEMBERED = 256;

/** What the look-ahead modules know of a sequence. */
interface Lookahead {
  /** By module: positions whose rows in its caches were computed with the tokens that really follow. */
  readonly done: number[];
  /** By module: what it reads at positions from `done` on, the hidden states of the module before. */
  readonly hidden: Map<number, Float32Array>[];
}

/**
 * Guesses tokens with the look-ahead modules of the model (DeepSeek-V3 section 2.2). Module k reads at position i the hidden
 * state of module k - 1 there (of the model itself at first) and token i + k, and predicts token i + k + 1. Its caches hold
 * all positions; rows that were computed with a guess are computed again when the token is known. Programs `draft.k`: inputs as
 * for `decode`, `tokens` being those k ahead, and `hidden` f32[T, D]; outputs `logits` [B, V] and `hidden` f32[T, D].
 */
export class Drafter {
  readonly #session: Session;
  readonly #options: EngineOptions;
  readonly #modules: number;
  readonly #counts: EngineCounts;
  readonly #known = new WeakMap<Sequence, Lookahead>();

  constructor(session: Session, options: EngineOptions, counts: EngineCounts) {
    this.#session = session;
    this.#options = options;
    this.#modules = options.draftTokens;
    this.#counts = counts;
  }

  /** Keeps the hidden states f32[T, D] of a call: what the first module reads. */
  keepHidden(parts: readonly Part[], hidden: Float32Array): void {
    const count = parts.reduce((sum, { tokens }) => sum + tokens.length, 0);
    const width = hidden.length / count;
    let row = 0;
    for (const { sequence, from, tokens } of parts) {
      const states = this.#lookahead(sequence, from).hidden[0]!;
      for (let p = from; p < from + tokens.length; p++) states.set(p, hidden.slice(row * width, ++row * width));
    }
  }

  /** Instead of guessing: keeps few hidden states. Where more are missing, there is no going back to guessing. */
  forget(parts: readonly Part[]): void {
    for (const { sequence } of parts) {
      const states = this.#known.get(sequence)?.hidden[0] ?? new Map<number, Float32Array>();
      for (const p of states.keys()) {
        if (states.size <= REMEMBERED) break;
        states.delete(p);
      }
    }
  }

  /** Puts guesses into the sequences of a step: as many as have a use. */
  async guess(parts: readonly Part[]): Promise<void> {
    for (let module = 1; module <= this.#modules; module++) {
      const group = parts.flatMap(({ sequence }) => this.#part(sequence, module) ?? []);
      if (group.length > 0) await this.#run(module, group);
    }
  }

  async #run(module: number, group: readonly Part[]): Promise<void> {
    const { sizes, inputs } = inputsOf(group);
    const states = group.flatMap(({ sequence, from, tokens }) => {
      const known = this.#known.get(sequence)!.hidden[module - 1]!;
      return tokens.map((_, i) => known.get(from + i)!);
    });
    const width = states[0]!.length;
    const hidden = new Float32Array(states.length * width);
    for (const [i, state] of states.entries()) hidden.set(state, i * width);
    const outputs = module < this.#modules ? ["hidden"] : [];
    const call = { program: `draft.${module}`, sizes, inputs: { ...inputs, hidden }, outputs };
    const choices = group.flatMap(({ sequence, samples }, i) =>
      samples ? [sequence.sampler.choice(i, sequence.drafts)] : [],
    );
    const { outputs: results, chosen } = await runAndChoose(this.#session, call, choices, this.#options.tokens);
    let [row, next] = [0, 0];
    for (const { sequence, from, tokens, samples } of group) {
      const lookahead = this.#known.get(sequence)!;
      for (let p = from; p < from + tokens.length; p++, row++) {
        if (module < this.#modules)
          lookahead.hidden[module]!.set(p, (results["hidden"] as Float32Array).slice(row * width, (row + 1) * width));
      }
      if (samples) {
        const guess = chosen[next++];
        if (guess === undefined) throw new LogitsError();
        sequence.drafts.push(guess.token);
        this.#counts.draftedTokens++;
      }
      this.#settle(sequence, lookahead, module);
    }
  }

  /** What a module has to read of a sequence; undefined for nothing. */
  #part(sequence: Sequence, module: number): Part | undefined {
    const known = this.#known.get(sequence);
    if (sequence.done || known === undefined) return undefined;
    const { tokens, computed, drafts, request, generated, promptLength } = sequence;
    const all = [...tokens, ...drafts];
    const from = known.done[module - 1]!;
    const end = Math.min(computed, all.length - module);
    if (end <= from || !this.#hasStates(known, module, from, end)) return undefined;
    // A guess is of use when every token before it is known or guessed, and the answer may go on so far. The last position of a
    // prompt takes none with it: what follows goes through another program.
    const caughtUp = computed === tokens.length - 1 && drafts.length === module - 1 && end === computed;
    const allowed = Math.min(request.maxTokens - generated, this.#options.context - tokens.length) > module;
    const tokensAhead = all.slice(from + module, end + module);
    return { sequence, from, tokens: tokensAhead, wanted: 1, samples: caughtUp && allowed && computed >= promptLength };
  }

  #hasStates({ hidden }: Lookahead, module: number, from: number, end: number): boolean {
    for (let p = from; p < end; p++) if (!hidden[module - 1]!.has(p)) return false;
    return true;
  }

  /** Forgets what no module needs again. */
  #settle({ tokens, computed }: Sequence, known: Lookahead, module: number): void {
    const done = Math.max(known.done[module - 1]!, Math.min(computed, tokens.length - module));
    for (let p = known.done[module - 1]!; p < done; p++) known.hidden[module - 1]!.delete(p);
    known.done[module - 1] = done;
  }

  /** A sequence that starts again, after a preemption too, goes on behind what the cache had of it. */
  #lookahead(sequence: Sequence, from: number): Lookahead {
    const known = this.#known.get(sequence);
    if (known !== undefined && known.done.every((done) => done <= from)) return known;
    const done = Array.from({ length: this.#modules }, () => from);
    const fresh = { done, hidden: done.map(() => new Map<number, Float32Array>()) };
    this.#known.set(sequence, fresh);
    return fresh;
  }
}
