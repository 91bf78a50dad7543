/** What ptxas says of a kernel's file (`-Xptxas -v`). */

/** An entry point on a machine. */
export interface Usage {
  readonly entry: string;
  readonly registers: number;
  /** Of a block, in bytes: what is declared in the kernel. */
  readonly sharedBytes: number;
  readonly stackBytes: number;
  /** Bytes of registers that did not fit. */
  readonly spilledBytes: number;
}

export interface PtxasReport {
  readonly usages: readonly Usage[];
  /** Warnings of nvcc and of ptxas, such as C7508 and C7510: wgmma that the compiler had to serialize. */
  readonly warnings: readonly string[];
  /** Of the processor, that compiling took; undefined where the log does not say it. */
  readonly seconds?: number;
}

export function readPtxas(text: string): PtxasReport {
  const lines = text.split("\n");
  const usages: Usage[] = [];
  let entry: string | undefined;
  let [stackBytes, spilledBytes] = [0, 0];
  for (const line of lines) {
    entry = /Compiling entry function '(\w+)'/.exec(line)?.[1] ?? entry;
    const [, stack, stores, loads] =
      /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line) ?? [];
    // Functions that are called report their own, behind the entry point's.
    if (stack !== undefined) {
      stackBytes = Number(stack);
      spilledBytes = Math.max(Number(stores), Number(loads));
    }
    const registers = /Used (\d+) registers/.exec(line)?.[1];
    if (registers === undefined || entry === undefined) continue;
    const sharedBytes = Number(/(\d+) bytes smem/.exec(line)?.[1] ?? 0);
    usages.push({ entry, registers: Number(registers), sharedBytes, stackBytes, spilledBytes });
    entry = undefined;
  }
  const warnings = lines.filter((line) => /\bwarning\b|\(C75\d\d\)/i.test(line) && !line.startsWith("Remark:"));
  const seconds = secondsOf(lines);
  return { usages, warnings: warnings.map((line) => line.trim()), ...(seconds === undefined ? {} : { seconds }) };
}

/** What `times` of a shell tells: its own time, then that of what it ran, of users and of the system. */
function secondsOf(lines: readonly string[]): number | undefined {
  const TIMES = /^(\d+)m([\d.]+)s (\d+)m([\d.]+)s$/;
  const [minutes, seconds, ofSystem, more] = (lines.findLast((line) => TIMES.test(line))?.match(TIMES) ?? [])
    .slice(1)
    .map(Number);
  return minutes === undefined ? undefined : (minutes + ofSystem!) * 60 + seconds! + more!;
}
