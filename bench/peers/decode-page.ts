/** Runs in a page: the quickstart's model one token after the other on WebGPU, ours and in jax-js, on the page's adapter. */
import { deviceOf } from "../../runtime/device/webgpu/adapter.ts";
import { openWebGpuSession } from "../../runtime/device/webgpu/session.ts";
import type { LaunchProgram } from "../../runtime/program/launch.ts";
import type { ModelFile } from "../../runtime/program/model.ts";
import type { SimtKernel } from "../../runtime/program/grids.ts";
import { inputsOf } from "../../runtime/serve/engine/call.ts";
import type { Sequence } from "../../runtime/serve/engine/sequence.ts";
import { runAndChoose } from "../../runtime/serve/sampling/run-and-choose.ts";
import { Sampler } from "../../runtime/serve/sampling/sampler.ts";
import { GREEDY } from "../../runtime/serve/sampling/sampling.ts";
import { initialize } from "../../runtime/train/init.ts";
import { biases } from "./biases.ts";
import { type JaxModel, type JaxWays, openJax } from "./jax-decode.ts";

export interface Package {
  readonly programs: readonly LaunchProgram[];
  readonly kernels: readonly SimtKernel[];
  readonly sources: Readonly<Record<string, string>>;
  readonly model: ModelFile;
}

export interface Work {
  readonly sequences: number;
  /** Positions that the caches have room for. */
  readonly positions: number;
}

interface Decoder {
  /** Reads tokens, one of each sequence at a time, from position 0 on. */
  read(columns: readonly (readonly number[])[]): Promise<void>;
  step(tokens: readonly number[], position: number): Promise<number[]>;
  logits(tokens: readonly number[], position: number): Promise<ArrayLike<number>>;
}

async function openOurs({ programs, kernels, sources, model }: Package, { sequences, positions }: Work) {
  const adapter = await navigator.gpu.requestAdapter();
  const session = openWebGpuSession({
    device: await deviceOf(adapter!),
    programs,
    kernels,
    source: (name) => sources[name]!,
    cacheRows: sequences * positions,
  });
  initialize(session, model, 1);
  biases(session);
  const rows = Array.from({ length: sequences }, (_, s) =>
    Int32Array.from({ length: positions }, (_, p) => s * positions + p),
  );
  const partsOf = (columns: readonly (readonly number[])[], from: number) =>
    rows.map((own, s) => ({
      sequence: { rows: own } as Sequence,
      from,
      tokens: columns.map((tokens) => tokens[s]!),
      wanted: 1,
      samples: true,
    }));
  const call = (tokens: readonly number[], position: number) => ({
    program: "decode",
    ...inputsOf(partsOf([tokens], position)),
  });
  const choices = rows.map((_, row) => new Sampler(GREEDY, []).choice(row, []));
  const decoder: Decoder = {
    read: async (columns) => {
      await session.run({ program: "prefill", ...inputsOf(partsOf(columns, 0)), outputs: [] });
    },
    step: async (tokens, position) => {
      const { chosen } = await runAndChoose(session, call(tokens, position), choices);
      return chosen.map((one) => one!.token);
    },
    logits: async (tokens, position) => {
      const { logits } = await session.run({ ...call(tokens, position), outputs: ["logits"] });
      return logits as Float32Array;
    },
  };
  return { decoder, session };
}

const decoders = new Map<string, Decoder>();

const page = {
  /** Opens ours and jax-js in all `ways`, with the same weights. */
  open: async (source: Package, work: Work, ways: Readonly<Record<string, JaxWays>>): Promise<void> => {
    const { decoder, session } = await openOurs(source, work);
    decoders.clear();
    decoders.set("dskc", decoder);
    const shapes = new Map(session.stores.map(({ name, shape }) => [name, shape]));
    const elements = new Map<string, Float32Array>();
    for (const name of shapes.keys()) elements.set(name, (await session.read(name)) as Float32Array);
    const weight = (name: string) => ({ shape: shapes.get(name)!, elements: elements.get(name)! });
    let first: JaxModel | undefined;
    for (const [name, way] of Object.entries(ways)) {
      const model = await openJax([...shapes.keys()], weight, way, work);
      const before = first;
      const read = async (columns: readonly (readonly number[])[]): Promise<void> => {
        if (before !== undefined) model.goOnFrom(before);
        else for (const [position, tokens] of columns.entries()) await model.step(tokens, position);
      };
      first ??= model;
      decoders.set(name, { step: model.step, logits: model.logits, read });
    }
  },
  /** Reads tokens, one of each sequence at a time, and gives the logits behind the last ones. */
  logits: async (name: string, columns: readonly (readonly number[])[]): Promise<number[]> => {
    const decoder = decoders.get(name)!;
    await decoder.read(columns.slice(0, -1));
    return Array.from(await decoder.logits(columns.at(-1)!, columns.length - 1));
  },
  /** Milliseconds of each of `count` steps from `position` on, and the tokens that they chose. */
  decode: async (
    name: string,
    first: readonly number[],
    position: number,
    count: number,
  ): Promise<{ times: number[]; tokens: number[][] }> => {
    const decoder = decoders.get(name)!;
    const [times, tokens]: [number[], number[][]] = [[], []];
    for (let i = 0; i < count; i++) {
      const start = performance.now();
      tokens.push(await decoder.step(tokens.at(-1) ?? first, position + i));
      times.push(performance.now() - start);
    }
    return { times, tokens };
  },
};

export type DecodePage = typeof page;

Object.assign(globalThis, { page });
