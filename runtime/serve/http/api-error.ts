import type { ContentfulStatusCode } from "hono/utils/http-status";
import { DeviceLostError } from "../../device/session.ts";
import { ContextError, DeadlineError, DrainingError, QueueFullError } from "../engine/request.ts";

/** What a client is told, in the form of OpenAI's errors. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: ContentfulStatusCode;
  readonly code: string | null;
  /** The field of the request that is at fault. */
  readonly param: string | null;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: ContentfulStatusCode,
    message: string,
    more: { code?: string; param?: string; headers?: Record<string, string> } = {},
  ) {
    super(message);
    this.status = status;
    this.code = more.code ?? null;
    this.param = more.param ?? null;
    this.headers = more.headers ?? {};
  }

  get body(): object {
    const { message, param, code } = this;
    return { error: { message, type: TYPES[this.status] ?? this.#type, param, code } };
  }

  get #type(): string {
    return this.status < 500 ? "invalid_request_error" : "server_error";
  }
}

const TYPES: Readonly<Record<number, string>> = { 429: "rate_limit_error", 503: "service_unavailable_error" };

/** What went wrong, as a client is told. Faults of the server are told by their message. */
export function apiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof ContextError) {
    return new ApiError(400, error.message, { code: "context_length_exceeded" });
  }
  if (error instanceof QueueFullError) {
    const headers = { "retry-after": String(error.retryAfter) };
    return new ApiError(429, `${error.message}: try again later`, { code: "queue_full", headers });
  }
  if (error instanceof DrainingError) {
    return new ApiError(503, error.message, { code: "draining", headers: { connection: "close" } });
  }
  if (error instanceof DeviceLostError) {
    const headers = { "retry-after": "5" };
    return new ApiError(503, `${error.message}: the weights are loaded again`, { code: "device_lost", headers });
  }
  if (error instanceof DeadlineError) return new ApiError(504, error.message, { code: "timeout" });
  return new ApiError(500, error instanceof Error ? error.message : String(error));
}
