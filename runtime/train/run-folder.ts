import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { CHECKPOINTS } from "../io/checkpoints/find.ts";
import { replaceFile } from "../io/replace-file.ts";
import type { ModelFile } from "../program/model.ts";
import { METRICS } from "./metrics-log.ts";
import type { TrainingPlan } from "./plan.ts";

/** A run that cannot be started or continued as it was asked for. */
export class RunError extends Error {}

/** Where things are in the folder of a run; docs/training.md describes them. */
export class RunFolder {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  get plan(): string {
    return join(this.path, "plan.json");
  }

  get model(): string {
    return join(this.path, "model.json");
  }

  get metrics(): string {
    return join(this.path, METRICS);
  }

  get checkpoints(): string {
    return join(this.path, CHECKPOINTS);
  }

  get report(): string {
    return join(this.path, "report.html");
  }

  get status(): string {
    return join(this.path, "status.json");
  }

  get plots(): string {
    return join(this.path, "plots");
  }

  get lock(): string {
    return join(this.path, "lock");
  }

  create(): void {
    mkdirSync(this.path, { recursive: true });
  }

  /** Whether something was trained here: what was prepared only is made again. */
  get isBegun(): boolean {
    return existsSync(this.metrics);
  }

  /**
   * Writes down what is trained here.
   * @throws RunError when it holds a run that shall not be continued, or one of another plan (but for its end) or model
   */
  open(plan: TrainingPlan, model: ModelFile, resume: boolean): void {
    if (this.isBegun) {
      if (!resume)
        throw new RunError(`\`${this.path}\` holds a run: continue it with --resume, or choose another folder`);
      this.#compare(this.plan, lasting(plan));
      this.#compare(this.model, model);
    }
    replaceFile(this.model, jsonText(model));
    replaceFile(this.plan, jsonText(plan));
  }

  #compare(path: string, wanted: unknown): void {
    let before: unknown;
    try {
      before = JSON.parse(readFileSync(path, "utf8"));
    } catch (error) {
      throw new RunError(`\`${path}\` says what was trained here, and cannot be read: ${(error as Error).message}`);
    }
    const places = differences(lasting(before), JSON.parse(JSON.stringify(wanted)), "");
    if (places.length === 0) return;
    const shown = places.slice(0, 5).join(", ") + (places.length > 5 ? ` and ${places.length - 5} more` : "");
    throw new RunError(
      `\`${this.path}\` holds a run of another ${path === this.plan ? "plan" : "model"}: ${shown} changed; choose another folder`,
    );
  }
}

/** A hash of what decides about the weights: two trainings with equal ones may continue each other. */
export function planHash(plan: TrainingPlan, model: ModelFile): string {
  const text = JSON.stringify([lasting(plan), model]);
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

/** A plan without its end: a run may be made longer. Anything else as it is. */
function lasting(plan: unknown): unknown {
  return typeof plan === "object" && plan !== null && "stop" in plan ? { ...plan, stop: null } : plan;
}

function jsonText(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

/** The paths at which two values of JSON differ. */
function differences(a: unknown, b: unknown, path: string): string[] {
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null)
    return Object.is(a, b) ? [] : [path === "" ? "everything" : path];
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].flatMap((key) =>
    differences(
      (a as Record<string, unknown>)[key],
      (b as Record<string, unknown>)[key],
      path === "" ? key : `${path}.${key}`,
    ),
  );
}
