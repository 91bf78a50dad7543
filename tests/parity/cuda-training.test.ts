/** Training steps of the fixtures on CUDA: of the smaller one unless DSKC_CUDA_FIXTURES=all. */
import { test } from "vitest";
import { onCuda } from "../support/on-cuda.ts";
import { checkTrainingSteps, TRAINED } from "../support/training-steps.ts";

const trained = process.env["DSKC_CUDA_FIXTURES"] === "all" ? TRAINED : TRAINED.slice(0, 1);

test.each(trained)("%s", { timeout: 600_000 }, (...training) =>
  checkTrainingSteps(training as (typeof TRAINED)[number], onCuda),
);
