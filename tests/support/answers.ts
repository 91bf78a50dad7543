import type { Engine } from "../../runtime/serve/engine/engine.ts";
import type { EngineRequest, Finished } from "../../runtime/serve/engine/request.ts";
import type { Sampled } from "../../runtime/device/choice.ts";
import { GREEDY, type Sampling } from "../../runtime/serve/sampling/sampling.ts";
import { randoms } from "./plain.ts";

export interface Job {
  readonly prompt: readonly number[];
  readonly maxTokens?: number;
  readonly sampling?: Partial<Sampling>;
  readonly signal?: AbortSignal;
  readonly stop?: (token: Sampled, index: number) => boolean;
}

export interface Answer extends Finished {
  readonly tokens: readonly number[];
  readonly sampled: readonly Sampled[];
}

export async function answer(on: Engine, { prompt, maxTokens = 8, sampling = {}, signal, stop }: Job): Promise<Answer> {
  const sampled: Sampled[] = [];
  const request: EngineRequest = {
    prompt,
    maxTokens,
    sampling: { ...GREEDY, ...sampling },
    stopTokens: new Set(),
    ...(signal === undefined ? {} : { signal }),
    onToken: (token) => {
      sampled.push(token);
      return stop?.(token, sampled.length - 1) ?? false;
    },
  };
  const finished = await on.submit([request])[0]!;
  return { ...finished, sampled, tokens: sampled.map(({ token }) => token) };
}

/** Prompts of all lengths, some with a common beginning, and every kind of sampling. */
export function jobs(count: number, seed = 1): Job[] {
  return Array.from({ length: count }, (_, i) => {
    const length = 1 + ((i * 7) % 23);
    const draws = randoms(seed * 1000 + i, length + 1).map((x) => Math.floor(Math.abs(x) * 1e6) % 160);
    const prompt = i % 3 === 0 ? [5, 9, 2, 44, 8, 17, ...draws] : draws;
    const kinds: Partial<Sampling>[] = [
      {},
      { temperature: 1, seed: i },
      { temperature: 0.7, topP: 0.9, seed: 2 ** 40 + i, repetitionPenalty: 1.3 },
      { temperature: 1.5, topK: 12, seed: i, alternatives: 3, frequencyPenalty: 0.4 },
      { temperature: 1, minP: 0.02, presencePenalty: -0.5, seed: i, logitBias: new Map([[3, 2]]) },
    ];
    return { prompt, sampling: kinds[i % kinds.length]!, maxTokens: 1 + ((i * 5) % 12) };
  });
}

/** What must not depend on anything but the request. */
export function plain(answers: readonly Answer[]): Pick<Answer, "sampled" | "reason">[] {
  return answers.map(({ sampled, reason }) => ({ sampled, reason }));
}
