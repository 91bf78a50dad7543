/** `dskc doctor`: what this machine has of what dskc uses. */
import { execFile } from "node:child_process";
import { availableParallelism, cpus, totalmem } from "node:os";
import { promisify } from "node:util";
import type { Command } from "commander";
import { findGpus } from "../../runtime/device/cuda/gpu.ts";
import { findGpu } from "../../runtime/device/dawn/gpu.ts";
import { DeviceError } from "../../runtime/device/session.ts";
import { FEATURES, NoGpuError } from "../../runtime/device/webgpu/adapter.ts";
import { addon } from "../../runtime/native/addon.ts";
import { findCompiler } from "../targets/cpu/compiler.ts";
import { findNvcc } from "../targets/cuda/nvcc.ts";
import { installation, version } from "./installation.ts";
import { examples, print, printJson } from "./io.ts";
import { bytesText, table } from "./text-table.ts";

const execute = promisify(execFile);

interface Tool {
  readonly name: string;
  /** What it is needed for. */
  readonly use: string;
  /** What it says about itself in one line; undefined when it is not here. */
  readonly found: string | undefined;
}

export function register(command: Command): void {
  command.option("--json", "print one JSON document").action(run);
  examples(command, ["dskc doctor", "compilers, GPUs and launchers of this machine"]);
}

async function run({ json }: { readonly json?: boolean }): Promise<void> {
  const machine = {
    dskc: version(),
    installation: installation(),
    node: process.versions.node,
    platform: `${process.platform} ${process.arch}`,
    processor: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memoryBytes: totalmem(),
  };
  const tools = await toolsOf();
  if (json === true)
    return printJson({ ...machine, tools: tools.map((tool) => ({ ...tool, found: tool.found ?? null })) });
  const lines = [
    ["dskc", `${machine.dskc} in ${machine.installation}`],
    ["node", machine.node],
    ["machine", `${machine.platform}, ${machine.processor}`],
    ["", `${machine.cores} cores, ${bytesText(machine.memoryBytes)}`],
    ...tools.map(({ name, use, found }) => [name, found ?? `not found, needed ${use}`]),
  ];
  print(table(lines, ["left", "left"]));
}

/** Driver and GPUs with what kernels use of them; why there are none. */
function cudaGpus(): readonly [use: string, find: () => Promise<string | undefined>] {
  try {
    const gpus = findGpus().map(({ name, memoryBytes, capability, processors, sharedBytes, driver }) =>
      [
        `${name}, compute capability ${capability}`,
        bytesText(memoryBytes),
        `${processors} multiprocessors`,
        `${bytesText(sharedBytes)} of shared memory`,
        `driver for CUDA ${driver}`,
      ].join(", "),
    );
    return ["for the device cuda", async () => gpus.join("; ")];
  } catch (error) {
    const why = error instanceof DeviceError ? error.message : "the native addon is not built";
    return [`for the device cuda: ${why}`, async () => undefined];
  }
}

async function nvcc(): Promise<string | undefined> {
  const found = await findNvcc();
  return found && `${found.version.match(/release [\d.]+/)?.[0] ?? found.version}, ${found.command}`;
}

async function nvrtc(): Promise<string | undefined> {
  try {
    const found = addon().nvrtc();
    return "problem" in found ? undefined : `${found.major}.${found.minor}, ${found.name}`;
  } catch {
    return undefined;
  }
}

function toolsOf(): Promise<Tool[]> {
  const tools: readonly (readonly [name: string, use: string, find: () => Promise<string | undefined>])[] = [
    ["C++ compiler", "for the device cpu: install g++ or set CXX", compiler],
    ["WebGPU", "for the device webgpu: install a GPU driver, or chromium and libvulkan1 for one in software", adapter],
    ["CUDA", ...cudaGpus()],
    ["nvcc", "to compile CUDA kernels where packages are built: it comes with the CUDA toolkit", nvcc],
    ["NVRTC", "to compile CUDA kernels where packages without cubins are opened (Debian: libnvrtc12)", nvrtc],
    ["mpirun", "to train with several processes", () => says("mpirun", ["--version"], /.*\d+\.\d+.*/g)],
  ];
  return Promise.all(tools.map(async ([name, use, find]) => ({ name, use, found: await find() })));
}

async function compiler(): Promise<string | undefined> {
  try {
    const found = await findCompiler();
    return found.version.split("\n")[0];
  } catch {
    return undefined;
  }
}

/** The adapter with what kernels use of it: limits and features. */
async function adapter(): Promise<string | undefined> {
  try {
    const { adapter: found, software } = await findGpu();
    const { limits, features, info } = found;
    const name = info.description || [info.vendor, info.architecture].filter((part) => part !== "").join(" ");
    return [
      software ? `${name}, on the processor` : name,
      `bindings of ${bytesText(limits.maxStorageBufferBindingSize)}`,
      `${limits.maxStorageBuffersPerShaderStage} storage buffers`,
      `${limits.maxComputeInvocationsPerWorkgroup} invocations`,
      `${bytesText(limits.maxComputeWorkgroupStorageSize)} of workgroup memory`,
      ...FEATURES.filter((feature) => features.has(feature)),
    ].join(", ");
  } catch (error) {
    if (error instanceof NoGpuError) return undefined;
    throw error;
  }
}

/** What a program prints, as far as it matches; undefined when it does not run. */
async function says(program: string, args: readonly string[], pattern: RegExp): Promise<string | undefined> {
  try {
    const { stdout } = await execute(program, [...args], { timeout: 10_000 });
    return stdout.match(pattern)?.join("; ");
  } catch {
    return undefined;
  }
}
