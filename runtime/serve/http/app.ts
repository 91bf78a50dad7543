import { createHash, timingSafeEqual } from "node:crypto";
import { Hono, type MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { cors } from "hono/cors";
import { ApiError, apiError } from "./api-error.ts";
import { chat } from "./chat.ts";
import { completions } from "./completions.ts";
import type { PageFile } from "./page.ts";
import type { Service } from "./service.ts";

export interface AppOptions {
  /** When given, requests below /v1 need it as `Authorization: Bearer KEY`. */
  readonly apiKey?: string;
  /** The largest body of a request in bytes. */
  readonly maxBody: number;
  /** Pages of these origins may use the API as well as those of this machine: `https://chat.example.org`. */
  readonly origins: readonly string[];
  /** By path. */
  readonly page: ReadonlyMap<string, PageFile>;
}

/** What every path answers. The API is that of OpenAI (https://platform.openai.com/docs/api-reference). */
export function createApp(service: Service, options: AppOptions): Hono {
  const app = new Hono();
  const { engine, metrics, model, created } = service;

  app.use("/v1/*", cors({ origin: (origin) => allowedOrigin(origin, options.origins) }));
  app.use("/v1/*", measured(service));
  if (options.apiKey !== undefined) app.use("/v1/*", authorized(options.apiKey));
  const onError = (): never => {
    throw new ApiError(413, `the body is larger than ${options.maxBody} bytes`, { code: "body_too_large" });
  };
  app.use("/v1/*", bodyLimit({ maxSize: options.maxBody, onError }));

  const card = { id: model, object: "model", created, owned_by: "dskc" };
  app.get("/v1/models", (c) => c.json({ object: "list", data: [card] }));
  app.get("/v1/models/:id", (c) => {
    if (c.req.param("id") === model) return c.json(card);
    throw new ApiError(404, `there is no model \`${c.req.param("id")}\``, { code: "model_not_found", param: "model" });
  });
  app.post("/v1/chat/completions", (c) => chat(c, service));
  app.post("/v1/completions", (c) => completions(c, service));
  for (const path of ENDPOINTS) {
    app.all(path, (c) => {
      const allow = path === "/v1/models" ? "GET" : "POST";
      const more = { code: "method_not_allowed", headers: { allow } };
      throw new ApiError(405, `${path} takes ${allow}, not ${c.req.method}`, more);
    });
  }

  app.get("/health", (c) => {
    const status = engine.draining ? "draining" : engine.lost === undefined ? "ok" : "reloading";
    const { temperature, topP } = service.defaults;
    const about = { model, talks: service.talks, defaults: { temperature, top_p: topP } };
    const load = { running: engine.running, waiting: engine.waiting };
    return c.json({ status, ...about, ...load }, status === "ok" ? 200 : 503);
  });
  app.get("/metrics", async (c) => {
    return c.text(await metrics.registry.metrics(), 200, { "content-type": metrics.registry.contentType });
  });
  for (const [path, { type, text }] of options.page) {
    const headers = { "content-type": type, "content-security-policy": PAGE_POLICY };
    app.get(path, (c) => c.body(text, 200, headers));
  }

  app.notFound((c) => {
    const { status, body } = new ApiError(404, `there is no ${c.req.method} ${c.req.path}`, { code: "not_found" });
    return c.json(body, status);
  });
  app.onError((error, c) => {
    const { status, body, headers } = apiError(error);
    return c.json(body, status, { ...headers });
  });
  return app;
}

/** Pages of this machine, and those that were allowed by name. */
function allowedOrigin(origin: string, allowed: readonly string[]): string | undefined {
  const local = /^https?:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/.test(origin);
  return local || allowed.includes(origin) ? origin : undefined;
}

function authorized(key: string): MiddlewareHandler {
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  const wanted = digest(`Bearer ${key}`);
  return async (c, next) => {
    const given = c.req.header("authorization");
    if (given === undefined || !timingSafeEqual(digest(given), wanted)) {
      const what = given === undefined ? "an API key is needed: `Authorization: Bearer KEY`" : "the API key is wrong";
      throw new ApiError(401, what, { code: "invalid_api_key", headers: { "www-authenticate": "Bearer" } });
    }
    await next();
  };
}

/** The page loads nothing from elsewhere. */
const PAGE_POLICY = "default-src 'self'; img-src data:; frame-ancestors 'none'";

const ENDPOINTS: ReadonlySet<string> = new Set(["/v1/chat/completions", "/v1/completions", "/v1/models"]);

/** Counts requests by path and status. The duration is that until the response begins for streams. */
function measured({ metrics }: Service): MiddlewareHandler {
  return async (c, next) => {
    const end = metrics.duration.startTimer();
    await next();
    const endpoint = ENDPOINTS.has(c.req.path) ? c.req.path : "other";
    const status = c.req.raw.signal.aborted ? 499 : c.res.status;
    metrics.requests.inc({ endpoint, status: String(status) });
    end({ endpoint });
  };
}
