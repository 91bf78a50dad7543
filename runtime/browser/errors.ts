/** Errors that the worker throws and the page catches. */
import { DeviceError, DeviceLostError } from "../device/session.ts";
import { NoGpuError } from "../device/webgpu/adapter.ts";
import { LimitError } from "../device/webgpu/limits.ts";
import { CheckpointError } from "../io/safetensors/checkpoint-error.ts";
import { ModelError } from "../package/model-error.ts";
import { ContextError, DeadlineError, DrainingError, QueueFullError } from "../serve/engine/request.ts";
import { LogitsError } from "../serve/sampling/logits-error.ts";
import { DivergedError } from "../train/diverged-error.ts";
import { ShardError } from "./shard-error.ts";

/** What can be told apart on the other side with `instanceof`, by the names that it has on the way. */
const CLASSES: Readonly<Record<string, { readonly prototype: Error }>> = {
  CheckpointError,
  ContextError,
  DeadlineError,
  DeviceError,
  DeviceLostError,
  DivergedError,
  DrainingError,
  LimitError,
  LogitsError,
  ModelError,
  NoGpuError,
  QueueFullError,
  ShardError,
};

/** An error as messages carry it. */
export interface SentError {
  readonly kind: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export function sent(error: unknown): SentError {
  if (!(error instanceof Error)) return { kind: "Error", message: String(error), fields: {} };
  const prototype: unknown = Object.getPrototypeOf(error);
  const known = Object.entries(CLASSES).find(([, of]) => of.prototype === prototype);
  return { kind: known?.[0] ?? error.name, message: error.message, fields: { ...error } };
}

export function received({ kind, message, fields }: SentError): Error {
  const error = new Error(message);
  const known = Object.hasOwn(CLASSES, kind) ? CLASSES[kind] : undefined;
  if (known !== undefined) Object.setPrototypeOf(error, known.prototype);
  return Object.assign(error, { name: kind }, fields);
}
