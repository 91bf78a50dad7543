/**
 * Sessions in a process of its own, where the stand-in of libcuda lets a call fail (DSK_FAIL): `node cuda-child.mjs PACKAGE RUN`.
 * All that sessions do is done twice, so that the second time shows whether the first one left something broken. Prints the errors.
 * Bundled by `tests/support/bundle.ts`.
 */
import { type CudaSession, openCudaSession } from "../../runtime/device/cuda/session.ts";
import { runAndChoose } from "../../runtime/serve/sampling/run-and-choose.ts";

const [directory, what] = process.argv.slice(2) as [string, string];

const RULES = {
  temperature: 0,
  topP: 1,
  topK: 0,
  minP: 0,
  frequencyPenalty: 0,
  presencePenalty: 0,
  repetitionPenalty: 1,
  logitBias: new Map<number, number>(),
};

async function all(session: CudaSession, profile: boolean): Promise<void> {
  session.write("y", new Float32Array(4096).fill(1));
  const inputs = { a: Float32Array.of(2), x: new Float32Array(400).fill(3) };
  const { sums } = await session.run({ program: "chain", sizes: { T: 100 }, inputs });
  if (sums![99] !== 60) throw new Error(`the sum is ${sums![99]}`);
  for (let step = 0; step < 4; step++) {
    const tokens = Int32Array.from({ length: step + 1 }, (_, i) => i);
    const given = { values: Float32Array.of(step, 10 * step), rows: Int32Array.of(step), tokens };
    const call = { program: "decode", sizes: { T: 1, S: step + 1 }, inputs: given, outputs: ["sums"] };
    const { outputs, chosen } = await runAndChoose(session, call, [
      { row: step, rules: RULES, noise: [1, 2], touched: [], counts: [] },
    ]);
    if (outputs["sums"]![step] !== 11 * step || chosen[0]?.token !== (step === 0 ? 0 : 1))
      throw new Error("a wrong step");
  }
  if (session.firstNonFinite("y") !== -1 || session.read("y")[5] !== 1) throw new Error("a wrong store");
  if (profile && session.profile().every(({ nanoseconds }) => nanoseconds === 0)) throw new Error("no times");
}

async function stray(session: CudaSession): Promise<void> {
  await session.run({ program: "stray", sizes: {}, inputs: { x: new Float32Array(32).fill(-1) } });
}

const errors: { name: string; message: string }[] = [];
for (let time = 0; time < 2; time++) {
  for (const profile of [false, true]) {
    let session: CudaSession | undefined;
    try {
      session = await openCudaSession(directory, { cacheRows: 64, profile });
      await (what === "stray" ? stray(session) : all(session, profile));
    } catch (error) {
      errors.push({ name: (error as Error).constructor.name, message: (error as Error).message });
      if (what === "stray") {
        try {
          session?.read("steps");
        } catch (after) {
          errors.push({ name: (after as Error).constructor.name, message: (after as Error).message });
        }
      }
    } finally {
      session?.close();
    }
    if (what === "stray") process.exit(print());
  }
}
print();

function print(): number {
  console.log(JSON.stringify(errors));
  return 0;
}
