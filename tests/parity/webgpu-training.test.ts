/** Training steps of the fixtures on WebGPU. */
import { test } from "vitest";
import { HAS_WEBGPU, onWebGpu } from "../support/on-webgpu.ts";
import { checkTrainingSteps, TRAINED } from "../support/training-steps.ts";

test.skipIf(!HAS_WEBGPU).each(TRAINED)("%s", { timeout: 300_000 }, (...training) =>
  checkTrainingSteps(training as (typeof TRAINED)[number], onWebGpu),
);
