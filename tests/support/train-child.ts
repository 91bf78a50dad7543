/**
 * Trains in a process of its own, for tests that end it: `node train-child.mjs FOLDER STEPS`. Bundled by
 * `tests/support/bundle.ts`.
 */
import { runTraining } from "../../runtime/train/run.ts";
import { tinyTraining } from "./tiny-training.ts";

const [folder, steps] = process.argv.slice(2);
const stop = await runTraining({
  ...tinyTraining({ stop: { clock: "steps", value: Number(steps) } }),
  folder: folder!,
  resume: true,
  saveEvery: 2,
  evaluateEvery: 5,
  listen: (event) => process.stdout.write(`${JSON.stringify(event)}\n`),
});
process.exitCode = stop.reason === "done" ? 0 : 1;
