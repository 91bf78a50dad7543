/** Runs in a page: products of square matrices on WebGPU, ours and those of others, on the page's adapter. */
import { deviceOf } from "../../runtime/device/webgpu/adapter.ts";
import { openWebGpuSession, type WebGpuSession } from "../../runtime/device/webgpu/session.ts";
import type { LaunchProgram } from "../../runtime/program/launch.ts";
import type { SimtKernel } from "../../runtime/program/grids.ts";

export interface Product {
  readonly n: number;
  readonly program: LaunchProgram;
  readonly kernels: readonly SimtKernel[];
  readonly sources: Readonly<Record<string, string>>;
  /** An ONNX model of the product `c` of the inputs `a` and `b`. */
  readonly onnx: readonly number[];
}

interface Peer {
  /** Milliseconds until the product is done. Operands are on the device, and the product stays there. */
  multiply(): Promise<number>;
  /** Some elements of the product. */
  check(at: readonly number[]): Promise<number[]>;
}

const matrix = (n: number, seed: number): Float32Array<ArrayBuffer> =>
  Float32Array.from({ length: n * n }, (_, i) => Math.sin(i * 0.7 + seed));

const peers = new Map<string, Peer>();

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

async function ours({ n, program, kernels, sources }: Product): Promise<Peer> {
  const adapter = await navigator.gpu.requestAdapter();
  const device = await deviceOf(adapter!);
  const session: WebGpuSession = openWebGpuSession({
    device,
    programs: [program],
    kernels,
    source: (name) => sources[name]!,
  });
  session.write("a", matrix(n, 0));
  session.write("b", matrix(n, 1));
  const run = (outputs: string[]): Promise<Readonly<Record<string, ArrayLike<number>>>> =>
    session.run({ program: program.name, sizes: {}, inputs: {}, outputs });
  return {
    multiply: () => timed(() => run([])),
    check: async (at) => {
      const { c } = await run(["c"]);
      return at.map((i) => c![i]!);
    },
  };
}

async function jax({ n }: Product): Promise<Peer> {
  // @ts-expect-error only where the peers are installed
  const { init, defaultDevice, numpy } = await import("@jax-js/jax");
  await init("webgpu");
  defaultDevice("webgpu");
  const [a, b] = [0, 1].map((seed) => numpy.array(matrix(n, seed)).reshape([n, n]));
  await Promise.all([a.ref.blockUntilReady(), b.ref.blockUntilReady()]);
  return {
    multiply: () =>
      timed(async () => {
        const c = numpy.matmul(a.ref, b.ref);
        await c.blockUntilReady();
        c.dispose();
      }),
    check: async (at) => {
      const c = (await numpy.matmul(a.ref, b.ref).data()) as Float32Array;
      return at.map((i) => c[i]!);
    },
  };
}

async function onnx({ n, onnx: model }: Product): Promise<Peer> {
  const url = "/peers/onnxruntime-web/dist/ort.webgpu.bundle.min.mjs";
  const ort = await import(/* @vite-ignore */ url);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = "/peers/onnxruntime-web/dist/";
  const session = await ort.InferenceSession.create(Uint8Array.from(model), {
    executionProviders: ["webgpu"],
    preferredOutputLocation: "gpu-buffer",
  });
  const device: GPUDevice = await ort.env.webgpu.device;
  const upload = (seed: number): unknown => {
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    const gpuBuffer = device.createBuffer({ size: n * n * 4, usage });
    device.queue.writeBuffer(gpuBuffer, 0, matrix(n, seed));
    return ort.Tensor.fromGpuBuffer(gpuBuffer, { dataType: "float32", dims: [n, n] });
  };
  const feeds = { a: upload(0), b: upload(1) };
  return {
    multiply: () =>
      timed(async () => {
        const { c } = await session.run(feeds);
        await device.queue.onSubmittedWorkDone();
        c.dispose();
      }),
    check: async (at) => {
      const { c } = await session.run(feeds);
      const data = (await c.getData()) as Float32Array;
      c.dispose();
      return at.map((i) => data[i]!);
    },
  };
}

const OPENERS = { dskc: ours, "jax-js": jax, "onnxruntime-web": onnx } as const;

export type PeerName = keyof typeof OPENERS;

export interface Page {
  open(peer: PeerName, product: Product): Promise<void>;
  multiply(peer: PeerName, n: number): Promise<number>;
  check(peer: PeerName, n: number, at: readonly number[]): Promise<number[]>;
  /** What the elements of the product are, in f64. */
  exact(n: number, at: readonly number[]): number[];
}

const page: Page = {
  open: async (peer, product) => {
    peers.set(`${peer} ${product.n}`, await OPENERS[peer](product));
  },
  multiply: (peer, n) => peers.get(`${peer} ${n}`)!.multiply(),
  check: (peer, n, at) => peers.get(`${peer} ${n}`)!.check(at),
  exact: (n, at) => {
    const [a, b] = [matrix(n, 0), matrix(n, 1)];
    return at.map((i) => {
      const [row, column] = [Math.floor(i / n), i % n];
      let sum = 0;
      for (let k = 0; k < n; k++) sum += a[row * n + k]! * b[k * n + column]!;
      return sum;
    });
  },
};
Object.assign(globalThis, { page });
