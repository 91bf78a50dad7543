import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Engine } from "../engine/engine.ts";

const SECONDS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50];

/** What `/metrics` tells, for Prometheus. */
export class Metrics {
  readonly registry = new Registry();
  readonly requests: Counter<"endpoint" | "status">;
  readonly firstToken: Histogram;
  readonly nextToken: Histogram;
  readonly duration: Histogram<"endpoint">;

  constructor(engine: Engine) {
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry });
    this.requests = new Counter({
      name: "dskc_requests_total",
      help: "Requests that were answered, by endpoint and HTTP status; 499 for a client that left",
      labelNames: ["endpoint", "status"],
      registers,
    });
    const histogram = { buckets: SECONDS, registers };
    this.firstToken = new Histogram({
      ...histogram,
      name: "dskc_time_to_first_token_seconds",
      help: "From the request to the first token of each answer",
    });
    this.nextToken = new Histogram({
      ...histogram,
      name: "dskc_time_per_token_seconds",
      help: "From each token to the next one of the same answer",
    });
    this.duration = new Histogram({
      ...histogram,
      name: "dskc_request_duration_seconds",
      help: "From the request to the end of its answer",
      labelNames: ["endpoint"],
    });
    this.#counters(engine);
    this.#gauges(engine);
  }

  #counters({ counts }: Engine): void {
    const counter = (name: string, help: string, value: () => number): void => {
      const known: Counter = new Counter({
        name,
        help,
        registers: [this.registry],
        collect: () => {
          known.reset();
          known.inc(value());
        },
      });
    };
    counter("dskc_prompt_tokens_total", "Tokens of prompts that were read", () => counts.promptTokens);
    counter("dskc_cached_tokens_total", "Tokens of prompts that were found in the cache", () => counts.cachedTokens);
    counter("dskc_generated_tokens_total", "Tokens that were generated", () => counts.generatedTokens);
    counter("dskc_drafted_tokens_total", "Tokens that were guessed", () => counts.draftedTokens);
    counter("dskc_accepted_tokens_total", "Guesses that were right", () => counts.acceptedTokens);
    counter("dskc_preemptions_total", "Answers that had to start again for lack of pages", () => counts.preemptions);
    counter("dskc_steps_total", "Steps of the engine", () => counts.steps);
  }

  #gauges(engine: Engine): void {
    const gauge = (name: string, help: string, value: () => number): void => {
      const known: Gauge = new Gauge({ name, help, registers: [this.registry], collect: () => known.set(value()) });
    };
    gauge("dskc_requests_running", "Answers that are being generated", () => engine.running);
    gauge("dskc_requests_waiting", "Answers that wait in the queue", () => engine.waiting);
    gauge("dskc_cache_pages_used", "Pages of the cache that answers hold", () => engine.pages.held);
    gauge("dskc_cache_pages", "Pages of the cache", () => engine.pages.count);
  }
}
