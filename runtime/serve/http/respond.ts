import type { Context } from "hono";
import { streamSSE } from "hono/streaming";
import type { Piece, PieceToken } from "../text/answer.ts";
import { generateTexts, type TextFinished } from "../text/generate.ts";
import { apiError } from "./api-error.ts";
import type { CommonRequest } from "./fields.ts";
import { Outbox } from "../outbox.ts";
import type { Service } from "./service.ts";
import type { Wanted } from "./to-requests.ts";

/** How an endpoint writes answers. */
export interface Format {
  /** `id`, `object`, `created`, `model` of a whole answer, and of a chunk of a stream. */
  readonly whole: object;
  readonly chunk: object;
  /** What a stream begins with, for each answer. */
  readonly begin?: (index: number) => object;
  readonly piece: (index: number, piece: Piece) => object;
  readonly end: (index: number, reason: string) => object;
  readonly choice: (index: number, text: string, tokens: readonly PieceToken[], reason: string) => object;
}

/** Generates the answers of one HTTP request, and responds with all of them, or with a stream. */
export function respond(
  c: Context,
  service: Service,
  body: CommonRequest,
  wanted: readonly Wanted[],
  format: Format,
): Promise<Response> | Response {
  return body.stream ? respondStream(c, service, body, wanted, format) : respondWhole(c, service, wanted, format);
}

async function respondWhole(
  c: Context,
  service: Service,
  wanted: readonly Wanted[],
  format: Format,
): Promise<Response> {
  const pieces: Piece[][] = wanted.map(() => []);
  const { results, canceling } = start(c, service, wanted, (index, piece) => pieces[index]!.push(piece));
  try {
    const finished = await Promise.all(results);
    const choices = finished.map(({ reason }, index) => {
      const [text, tokens] = [pieces[index]!.map((p) => p.text).join(""), pieces[index]!.flatMap((p) => p.tokens)];
      return format.choice(index, text, tokens, reason);
    });
    return c.json({ ...format.whole, choices, usage: usageOf(wanted, finished) });
  } finally {
    canceling.abort(new Error("another answer of the request failed"));
    service.active.delete(canceling);
  }
}

function respondStream(
  c: Context,
  service: Service,
  body: CommonRequest,
  wanted: readonly Wanted[],
  format: Format,
): Response {
  const withUsage = body.stream_options?.include_usage === true;
  const outbox = new Outbox<object | "[DONE]">();
  const send = (choice: object): void =>
    outbox.put({ ...format.chunk, choices: [choice], ...(withUsage ? { usage: null } : {}) });
  const { results, canceling } = start(c, service, wanted, (index, piece) => send(format.piece(index, piece)));
  if (format.begin !== undefined) for (const index of wanted.keys()) send(format.begin(index));
  void finish();
  return streamSSE(c, async (stream) => {
    stream.onAbort(() => canceling.abort(new Error("the client left")));
    for await (const messages of outbox) {
      const lines = messages.map(
        (message) => `data: ${typeof message === "string" ? message : JSON.stringify(message)}\n\n`,
      );
      await stream.write(lines.join(""));
    }
  });

  async function finish(): Promise<void> {
    try {
      const ended = results.map(async (result, index) => {
        const finished = await result;
        send(format.end(index, finished.reason));
        return finished;
      });
      const usage = usageOf(wanted, await Promise.all(ended));
      if (withUsage) outbox.put({ ...format.chunk, choices: [], usage });
      outbox.put("[DONE]");
    } catch (error) {
      outbox.put(apiError(error).body);
      canceling.abort(error);
    } finally {
      service.active.delete(canceling);
      outbox.end();
    }
  }
}

interface Started {
  readonly results: readonly Promise<TextFinished>[];
  /** Cancels the answers; it is among the active ones until someone takes it out. */
  readonly canceling: AbortController;
}

/** Queues the requests. They are canceled when the client leaves, or when the server ends. */
function start(
  c: Context,
  { engine, tokenizer, metrics, active }: Service,
  wanted: readonly Wanted[],
  onPiece: (index: number, piece: Piece) => void,
): Started {
  const canceling = new AbortController();
  const requests = wanted.map((request, index) => {
    let last = performance.now();
    let histogram = metrics.firstToken;
    const onToken = (): void => {
      const now = performance.now();
      histogram.observe((now - last) / 1000);
      last = now;
      histogram = metrics.nextToken;
    };
    return { ...request, signal: canceling.signal, onToken, onPiece: (piece: Piece) => onPiece(index, piece) };
  });
  const results = generateTexts(engine, tokenizer, requests);
  active.add(canceling);
  const leave = (): void => canceling.abort(new Error("the client left"));
  c.req.raw.signal.addEventListener("abort", leave, { once: true });
  if (c.req.raw.signal.aborted) leave();
  return { results, canceling };
}

/** Tokens of each prompt once, however many answers it gets. */
function usageOf(wanted: readonly Wanted[], finished: readonly TextFinished[]): object {
  const first = wanted.map(({ sampling }) => sampling.choice === 0);
  const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
  const prompt = sum(wanted.map((request, i) => (first[i] ? request.prompt.length : 0)));
  const completion = sum(finished.map(({ generatedTokens }) => generatedTokens));
  const cached = sum(finished.map(({ cachedTokens }, i) => (first[i] ? cachedTokens : 0)));
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: cached },
  };
}
