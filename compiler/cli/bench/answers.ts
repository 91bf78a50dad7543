/** `dskc bench latency` and `throughput`: answers of the engine that serves, on prompts that are drawn. */
import type { Session } from "../../../runtime/device/session.ts";
import { Engine } from "../../../runtime/serve/engine/engine.ts";
import type { EngineRequest } from "../../../runtime/serve/engine/request.ts";
import { GREEDY } from "../../../runtime/serve/sampling/sampling.ts";
import { drawnToken } from "./calls.ts";
import { type Spread, spreadOf } from "./statistics.ts";

export interface AnswersRow {
  /** Answers at the same time. */
  readonly streams: number;
  readonly promptTokens: number;
  readonly answerTokens: number;
  /** From the request to the first token, in seconds. */
  readonly firstToken: Spread;
  /** From each token to the next one of its answer, in seconds. */
  readonly nextToken: Spread;
  /** Of all answers together, from the first request to the last token. */
  readonly tokensPerSecond: number;
  /** Of prompts, until the first token. */
  readonly promptTokensPerSecond: number;
}

export interface AnswersCase {
  readonly streams: number;
  readonly promptTokens: number;
  readonly answerTokens: number;
}

interface Options {
  readonly vocabulary: number;
  readonly draftTokens: number;
  readonly seconds: number;
}

/** Rounds of answers for about so many seconds; two at least, and one before. */
export async function benchAnswers(
  session: Session,
  { streams, promptTokens, answerTokens }: AnswersCase,
  { vocabulary, draftTokens, seconds }: Options,
): Promise<AnswersRow> {
  const engine = new Engine(session, { draftTokens, context: promptTokens + answerTokens, maxRunning: streams });
  const [first, next, all]: [number[], number[], number[]] = [[], [], []];
  let prompts = 0;
  const round = async (counts: boolean): Promise<void> => {
    const started = performance.now();
    let tokens = 0;
    const requests = Array.from({ length: streams }, (): EngineRequest => {
      // No prompt begins like another: nothing is found in the cache.
      const at = promptTokens * prompts++;
      const prompt = Array.from({ length: promptTokens }, (_, i) => drawnToken(at + i, vocabulary));
      let last = started;
      let isFirst = true;
      const onToken = (): boolean => {
        const now = performance.now();
        if (counts) (isFirst ? first : next).push((now - last) / 1000);
        [last, isFirst] = [now, false];
        tokens++;
        return false;
      };
      return { prompt, maxTokens: answerTokens, sampling: GREEDY, stopTokens: new Set(), onToken };
    });
    await Promise.all(engine.submit(requests));
    if (counts) all.push((1000 * tokens) / (performance.now() - started));
  };
  await round(false);
  const end = performance.now() + 1000 * seconds;
  do await round(true);
  while (performance.now() < end || all.length < 2);
  const firstToken = spreadOf(first);
  return {
    streams,
    promptTokens,
    answerTokens,
    firstToken,
    nextToken: spreadOf(next),
    tokensPerSecond: spreadOf(all).median,
    promptTokensPerSecond: (streams * promptTokens) / firstToken.median,
  };
}
