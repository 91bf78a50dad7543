/**
 * One call of a program in a process of its own, for what the process grows by: `node --expose-gc memory-child.mjs PACKAGE
 * PROGRAM SEQUENCES LENGTH CACHE_ROWS`. Prints the plan's bytes and the measured ones. Bundled by `tests/support/bundle.ts`.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { drawnCall } from "../../compiler/cli/bench/calls.ts";
import { newElements } from "../../runtime/device/elements.ts";
import { openCpuSession } from "../../runtime/device/cpu/session.ts";
import type { StoreSpec } from "../../runtime/device/session.ts";
import { bytesOf, keptBy } from "../../runtime/device/stores.ts";
import { planArena } from "../../runtime/program/arena.ts";
import { elementsOf } from "../../runtime/program/launch.ts";
import type { ModelFile } from "../../runtime/program/model.ts";
import { readPrograms } from "../../runtime/program/read.ts";

const [directory, name, sequences, length, cacheRows] = process.argv.slice(2) as [string, ...string[]];
const model = JSON.parse(readFileSync(join(directory, "model.json"), "utf8")) as ModelFile;
const program = readPrograms(join(directory, "program.json")).find((one) => one.name === name)!;
const amount = { sequences: Number(sequences), length: Number(length) };
const { call } = drawnCall(program, amount, model.vocabulary);

/** What the process has of its own, in bytes: files that it maps are not part of it. */
async function ownBytes(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    globalThis.gc!();
    await setTimeout(20);
  }
  return 1024 * Number(/^RssAnon:\s+(\d+) kB/m.exec(readFileSync("/proc/self/status", "utf8"))![1]);
}

/** Drawing initial values would take longer than all the rest. In a function of its own: what it made can go. */
function fill({ name: store, dtype, shape }: StoreSpec): void {
  const elements = newElements(dtype, elementsOf({ shape }, {}));
  session.write(store, dtype === "f32" ? elements.fill(0.01) : elements);
}

const { stores, cacheRowBytes } = keptBy([program]);
const kept = stores.reduce((sum, spec) => sum + bytesOf(spec), 0) + Number(cacheRows) * cacheRowBytes;
const arena = planArena(program, call.sizes).bytes;
const before = await ownBytes();
const session = openCpuSession(directory, { programs: { [name!]: name! }, cacheRows: Number(cacheRows) });
for (const store of session.stores) fill(store);
for (let i = 0; i < 2; i++) await session.run({ ...call, outputs: [] });
const grown = (await ownBytes()) - before;
console.log(JSON.stringify({ kept, arena, grown, memory: session.memory() }));
