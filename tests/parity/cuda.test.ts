/**
 * The models of the fixtures on CUDA: the same numbers within ten times the tolerances, the same experts. On the stand-in of libcuda,
 * where g++ has to compile every kernel first, a few of them unless DSKC_CUDA_FIXTURES=all.
 */
import { test } from "vitest";
import { checkFixture } from "../support/check-fixture.ts";
import { MODEL_FIXTURES } from "../support/model-fixture.ts";
import { onCuda } from "../support/on-cuda.ts";

const FEW = ["a1_v3_plain"];
const all = process.env["DSKC_CUDA_FIXTURES"] === "all";

test.each(all ? MODEL_FIXTURES : FEW)("%s", { timeout: 600_000 }, (name) => checkFixture(name, onCuda, 10));
