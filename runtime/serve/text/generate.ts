import type { Tokenizer } from "../../data/tokenizer/tokenizer.ts";
import type { Engine } from "../engine/engine.ts";
import type { EngineRequest, Finished } from "../engine/request.ts";
import { AnswerText, type Piece } from "./answer.ts";

export interface TextRequest extends Omit<EngineRequest, "onToken"> {
  /** Texts that end the answer; they are not part of it. */
  readonly stops: readonly string[];
  readonly onPiece: (piece: Piece) => void;
  /** Called with every token, that of the end too. */
  readonly onToken?: () => void;
}

export interface TextFinished extends Finished {
  /** Tokens that were generated, that of the end too. */
  readonly generatedTokens: number;
}

/** Generates answers as text. Throws and rejects as `Engine.submit` does. */
export function generateTexts(
  engine: Engine,
  tokenizer: Tokenizer,
  requests: readonly TextRequest[],
): Promise<TextFinished>[] {
  const answers = requests.map(({ stops, stopTokens, onPiece, onToken, ...request }) => {
    const text = new AnswerText(tokenizer, stops, onPiece);
    const state = { generatedTokens: 0, stopped: false };
    const listen: EngineRequest["onToken"] = (sampled) => {
      state.generatedTokens++;
      onToken?.();
      if (!stopTokens.has(sampled.token)) state.stopped = text.push(sampled);
      return state.stopped;
    };
    return { text, state, request: { ...request, stopTokens, onToken: listen } };
  });
  const results = engine.submit(answers.map(({ request }) => request));
  return results.map(async (result, i) => {
    const finished = await result;
    const { text, state } = answers[i]!;
    if (!state.stopped) text.end();
    return { ...finished, generatedTokens: state.generatedTokens };
  });
}
