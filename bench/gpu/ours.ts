/**
 * Our side of the measurements: a process of its own, since a kernel that hangs takes its process with it. It reads requests as lines
 * of JSON and answers each with one: `open` fills a case's numbers and runs it once, `time` gives microseconds of each repetition.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { architecturesOf, gpuOf } from "../../runtime/device/cuda/gpu.ts";
import { openCudaSession, type CudaSession } from "../../runtime/device/cuda/session.ts";
import { DeviceLostError, type Elements } from "../../runtime/device/session.ts";
import type { Case } from "./case.ts";
import { type BenchPackage, benchPackage, type Store } from "./package.ts";
import { directoryOf, useDriver } from "./directory.ts";
import { wholes } from "./v2lite.ts";
import { runWhole } from "./whole.ts";

/** Bytes of a result that are compared: of longer ones the first and the last half of so many. */
const COMPARED = 64 << 20;

/** An array for the peer: how it is made, or the file that has it. Of a result, the parts that the file has. */
export interface Shared {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly seed?: number;
  readonly factor?: number;
  readonly file?: string;
  /** Elements at the beginning and at the end. */
  readonly parts?: readonly [number, number];
}

export interface Opened {
  readonly gpu: string;
  readonly kernels: readonly string[];
  readonly inputs: readonly Shared[];
  readonly results: readonly Shared[];
  /** Microseconds of the first run. */
  readonly us: number;
}

interface Open {
  readonly one: Case;
  readonly made: BenchPackage;
  readonly session: CudaSession;
}

async function open(made: BenchPackage, directory: string, one: Case, exchange: string): Promise<[Open, Opened]> {
  const session = await openCudaSession(directory, { profile: true });
  try {
    return [{ one, made, session }, await filled(made, session, one, exchange)];
  } catch (error) {
    session.close();
    throw error;
  }
}

async function filled(made: BenchPackage, session: CudaSession, one: Case, exchange: string): Promise<Opened> {
  const inputs: Shared[] = [];
  for (const store of made.stores) {
    const { name, dtype, shape, seed, factor, place } = store;
    if (!store.read) continue;
    if (seed === undefined) {
      const integers = integersOf(one, store);
      if (place === "store") session.write(store.store, integers);
      inputs.push({ name, dtype, shape, file: save(exchange, `input.${name}`, [integers]) });
    } else inputs.push({ name, dtype, shape, seed, factor: factor! });
  }
  await session.run({ program: "fill", sizes: {}, inputs: {} });
  const outputs = await session.run({ program: "once", sizes: one.sizes, inputs: givenInputs(one, made) });
  const results = made.stores.flatMap((store) => {
    if (!store.written) return [];
    const elements = store.place === "output" ? outputs[store.store]! : session.read(store.store);
    return [resultOf(elements, store, exchange)];
  });
  const launches = session.profile().filter(({ program }) => program === "once");
  // `timed` has the launch that empties the cache in front of these.
  const us = made.counted.reduce((sum, at) => sum + launches[made.before + at - 1]!.nanoseconds / 1000, 0);
  return { gpu: session.gpu.name, kernels: made.symbols, inputs, results, us };
}

function integersOf({ name, integers = {} }: Case, store: Store): Int32Array {
  const found = integers[store.name]?.();
  if (found === undefined) throw new Error(`${name}: there are no numbers for ${store.name}: ${store.dtype}`);
  return found;
}

/** What calls are given, beside what lies in the session. */
function givenInputs(one: Case, { stores }: BenchPackage): Record<string, Int32Array> {
  return Object.fromEntries(
    stores.flatMap((store) => (store.place === "input" ? [[store.store, integersOf(one, store)]] : [])),
  );
}

function resultOf(elements: Elements, { name, dtype, shape }: Store, exchange: string): Shared {
  const half = Math.floor(COMPARED / 2 / elements.BYTES_PER_ELEMENT);
  const parts: [number, number] = elements.length <= 2 * half ? [elements.length, 0] : [half, half];
  const pieces = [elements.subarray(0, parts[0]), elements.subarray(elements.length - parts[1])];
  return { name, dtype, shape, file: save(exchange, `result.${name}`, pieces), parts };
}

function save(exchange: string, name: string, pieces: readonly Elements[]): string {
  const file = join(exchange, name);
  writeFileSync(file, "");
  for (const piece of pieces)
    writeFileSync(file, new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength), { flag: "a" });
  return file;
}

/** Microseconds of each repetition of a call of `timed`. */
async function time({ one, made, session }: Open): Promise<number[]> {
  const nanoseconds = (): number[] =>
    session.profile().flatMap((launch) => (launch.program === "timed" ? [launch.nanoseconds] : []));
  const before = nanoseconds();
  await session.run({ program: "timed", sizes: one.sizes, inputs: givenInputs(one, made), outputs: [] });
  const after = nanoseconds();
  return Array.from({ length: made.repetitions }, (_, i) =>
    made.counted.reduce((sum, launch) => {
      const at = made.before + i * made.launches + launch;
      return sum + (after[at]! - before[at]!) / 1000;
    }, 0),
  );
}

/** Answers requests until the input ends. */
export async function serveOurs(cases: readonly Case[], small: boolean): Promise<void> {
  await useDriver();
  let opened: Open | undefined;
  // A session without programs keeps the driver's context, which takes longer to make than most cases.
  let keeper: CudaSession | undefined;
  const answer = (value: object): void => void process.stdout.write(`${JSON.stringify(value)}\n`);
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line) as { readonly do: string; readonly name: string; readonly exchange: string };
    try {
      if (request.do === "time") answer({ us: await time(opened!) });
      else {
        opened?.session.close();
        opened = undefined;
        if (request.do === "close") {
          answer({});
          continue;
        }
        if (request.do === "whole") {
          answer(
            await runWhole(
              wholes(small).find(({ name }) => name === request.name)!,
              small,
            ),
          );
          continue;
        }
        const one = cases.find(({ name }) => name === request.name)!;
        const made = benchPackage(one, small, architecturesOf(gpuOf()));
        const directory = await directoryOf(made.files);
        keeper ??= await openCudaSession(directory, { programs: {} });
        const [own, told] = await open(made, directory, one, request.exchange);
        opened = own;
        answer(told);
      }
    } catch (error) {
      answer({ error: (error as Error).message });
      // Nothing works any more in this process: the next case gets another one.
      if (error instanceof DeviceLostError) process.exit(1);
    }
  }
}
