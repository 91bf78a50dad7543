/** What nvcc says of a kernel file, where it is installed. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const PRELUDES = resolve(import.meta.dirname, "../../templates/cuda");

/** Why tests that need nvcc do not run; undefined where it is. */
export const noNvcc: string | undefined =
  spawnSync("nvcc", ["--version"]).status === 0 ? undefined : "there is no nvcc on this machine";

export interface Compiled {
  readonly errors: readonly string[];
  /** Of the compiler and of ptxas; C7508 and C7510 say that registers or products are not what was asked for. */
  readonly warnings: readonly string[];
  /** Bytes of registers that went to memory. */
  readonly spilled: number;
  /** Of processor time. */
  readonly seconds: number;
}

export function compileCuda(text: string, arch: "90a" | "80"): Compiled {
  const directory = mkdtempSync(join(tmpdir(), "dskc-nvcc-"));
  try {
    const file = join(directory, "kernel.cu");
    writeFileSync(file, text);
    const target = `-gencode=arch=compute_${arch},code=sm_${arch}`;
    const args = [target, "-cubin", "-Xptxas", "-v", `-I${PRELUDES}`, file, "-o", join(directory, "kernel.cubin")];
    const timed = spawnSync("bash", ["-c", `TIMEFORMAT='seconds %U'; time nvcc "$@"`, "nvcc", ...args], {
      encoding: "utf8",
    });
    const said = timed.stdout + timed.stderr;
    const numbers = (pattern: RegExp): number[] => [...said.matchAll(pattern)].map(([, n]) => Number(n));
    return {
      errors: said.split("\n").filter((line) => /\b(error|fatal)\b/i.test(line)),
      warnings: said.split("\n").filter((line) => /warning|C75\d\d/i.test(line)),
      spilled: numbers(/(\d+) bytes (?:stack frame|spill stores|spill loads)/g).reduce((a, b) => a + b, 0),
      seconds: numbers(/seconds ([\d.]+)/g)[0] ?? NaN,
    };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
