/** The models of the fixtures on WebGPU: the same numbers within ten times the tolerances, the same experts. */
import { test } from "vitest";
import { checkFixture } from "../support/check-fixture.ts";
import { MODEL_FIXTURES } from "../support/model-fixture.ts";
import { HAS_WEBGPU, onWebGpu } from "../support/on-webgpu.ts";

test.skipIf(!HAS_WEBGPU).each(MODEL_FIXTURES)("%s", { timeout: 300_000 }, (name) => checkFixture(name, onWebGpu, 10));
