/** The tests that run on the GPU of this machine (`npm run test:gpu`), or prepare packages for one elsewhere. */
import { findGpus } from "../../runtime/device/cuda/gpu.ts";
import { type Counts, runFile } from "./runner.ts";

const counts: Counts = { passed: 0, failed: 0, skipped: 0, prepared: 0 };
const only = new RegExp(process.env["DSKC_GPU_ONLY"] ?? ".");

if (process.env["DSKC_GPU"] === "run") {
  try {
    const [gpu] = findGpus();
    if (gpu === undefined) throw new Error("the CUDA driver shows no GPU");
    console.log(`on ${gpu.name}, compute capability ${gpu.capability}, driver for CUDA ${gpu.driver}`);
  } catch (error) {
    console.log(`skipped: all of it. ${(error as Error).message}`);
    process.exit(0);
  }
}
await runFile("sessions", () => import("../runtime/device/cuda/session.test.ts"), counts, only);
await runFile("models of the fixtures", () => import("../parity/cuda.test.ts"), counts, only);
await runFile("training steps of the fixtures", () => import("../parity/cuda-training.test.ts"), counts, only);
// Those on other devices are part of `npm test`.
const random = only.source === "." ? /on cuda$/ : only;
await runFile("random models", () => import("../parity/random-models.test.ts"), counts, random);
console.log("not run here: failures of driver calls (they are made by the stand-in), the command line, servers");
const { passed, failed, skipped, prepared } = counts;
console.log(
  process.env["DSKC_GPU"] === "prepare"
    ? `${prepared} prepared, ${skipped} skipped, ${failed} failed`
    : `${passed} passed, ${failed} failed, ${skipped} skipped`,
);
process.exit(failed > 0 ? 1 : 0);
