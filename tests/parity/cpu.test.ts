/** The models of the fixtures on generated kernels: the same numbers within the same tolerances. */
import { test } from "vitest";
import { checkFixture } from "../support/check-fixture.ts";
import { MODEL_FIXTURES } from "../support/model-fixture.ts";
import { onCpu } from "../support/on-cpu.ts";

test.each(MODEL_FIXTURES)("%s", { timeout: 300_000 }, (name) => checkFixture(name, onCpu));
