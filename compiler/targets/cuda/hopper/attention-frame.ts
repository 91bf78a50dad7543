/** What kernels of attention, forward and backward, begin with: their shared memory, numbers of threads, barriers. */
import type { Lines } from "../../../emit/lines.ts";
import { type Schedule, SHARED_BYTES } from "./schedule.ts";

/** Buffers of words, and their types; all others hold tiles. */
const WORDS: Readonly<Record<string, string>> = { ranges: "int", seen: "int", factors: "float", statistics: "float" };

/** @param stages those that the kernel calls STAGES */
export function printShared(lines: Lines, { buffers, barriers }: Schedule, stages: number): void {
  lines.add("// Tiles lie at multiples of 1024 bytes: the pattern of 128-byte swizzle repeats there.");
  lines.block(
    "struct alignas(1024) Shared",
    () => {
      for (const { name, bytes, each, stages: own, holds } of buffers) {
        const of = own > 1 ? `[${stagesText(own, stages)}]` : each === undefined ? "" : `[${each}]`;
        const type = WORDS[name];
        if (type !== undefined) lines.add(`${type} ${name}${of}[${bytes / 4}];  // ${holds}`);
        else lines.add(`unsigned char ${name}${of}[${bytes}];  // ${holds}`);
      }
      for (const { name, stages: own, event } of barriers)
        lines.add(`Barrier ${name}[${stagesText(own, stages)}];  // ${event}`);
    },
    "};",
  );
  lines.add(`static_assert(sizeof(Shared) <= ${SHARED_BYTES}, "a block has ${SHARED_BYTES} bytes of shared memory");`);
}

/** Who a thread is, and where shared memory lies. */
export function printThreads(lines: Lines): void {
  lines.add(
    "Shared& shared = *reinterpret_cast<Shared*>(shared_memory());",
    "// The same in all threads of a warp, as the compiler sees by the shuffle.",
    "const int warpgroup = __shfl_sync(0xffffffffu, (int)threadIdx.x / 128, 0);",
    "const int thread = threadIdx.x % 128, warp = thread / 32, lane = thread % 32;",
  );
}

/** Barriers before anybody comes to them, and tensor maps on their way. */
export function printBarriers(lines: Lines, { barriers }: Schedule, stages: number, maps: Iterable<string>): void {
  lines.block("if (threadIdx.x == 0)", () => {
    const fetched = [...maps].map((name) => `tma_prefetch(&${name})`);
    if (fetched.length > 0) lines.add(`${fetched.join(", ")};`);
    for (const own of new Set(barriers.map((barrier) => barrier.stages)))
      lines.block(`for (int i = 0; i < ${stagesText(own, stages)}; i++)`, () => {
        for (const { name, arrivals } of barriers.filter((barrier) => barrier.stages === own))
          lines.add(`mbarrier_init(&shared.${name}[i], ${arrivals});`);
      });
    lines.add("mbarrier_init_fence();");
  });
  lines.add("__syncthreads();");
}

function stagesText(own: number, stages: number): string {
  return own === stages ? "STAGES" : String(own);
}
