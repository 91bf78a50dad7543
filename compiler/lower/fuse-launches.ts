/**
 * Kernels that need nothing of each other in one launch, for programs whose calls have few rows: a launch costs as much as a small
 * kernel then, and one kernel alone leaves threads without work. Products of the same rows, a router beside a shared expert,
 * rotations beside a product: who does not read what another one writes has no order.
 */
import type { BufferSpec, Extent } from "../../runtime/program/launch.ts";
import type { Capability } from "../kernel-ir/capability.ts";
import { bindingsOf } from "../kernel-ir/fit.ts";
import { joined } from "../kernel-ir/parts.ts";
import type { Kernel, SoloKernel } from "../kernel-ir/types.ts";
import type { Op } from "../tensor-ir/types.ts";
import type { Built } from "./build-rows.ts";

/** A launch, and the ops that it computes. */
export interface Piece<K extends Kernel = Kernel> extends Pick<Built<K>, "kernel" | "buffers"> {
  /** The values of the kernel's extents. */
  readonly extents: readonly Extent[];
  readonly ops: readonly Op[];
}

/** What may stand beside others. A plane, or a sum across rows, has the device for itself. */
const FAMILIES: ReadonlySet<Kernel["family"]> = new Set(["rows", "gemm"]);

/** Pieces that follow each other as one, as far as they are independent and fit the target. */
export function fuseLaunches(
  pieces: readonly Piece<SoloKernel>[],
  buffers: readonly BufferSpec[],
  target: Capability | undefined,
): Piece[] {
  const launches: Piece<SoloKernel>[][] = [];
  for (const piece of pieces) {
    const before = launches.at(-1);
    if (before !== undefined && mayJoin([...before, piece], buffers, target)) before.push(piece);
    else launches.push([piece]);
  }
  return launches.map((all): Piece => {
    if (all.length === 1) return all[0]!;
    const { kernel, buffers: own } = joined(all);
    return { kernel, buffers: own, extents: kernel.extents, ops: all.flatMap(({ ops }) => ops) };
  });
}

function mayJoin(
  pieces: readonly Piece<SoloKernel>[],
  buffers: readonly BufferSpec[],
  target: Capability | undefined,
): boolean {
  const last = pieces.at(-1)!;
  if (!pieces.every((piece) => FAMILIES.has(piece.kernel.family) && hasDims(piece))) return false;
  if (!pieces.every((piece) => piece === last || isIndependent(piece, last))) return false;
  const all = [...new Set(pieces.flatMap((piece) => piece.buffers))];
  return target === undefined || bindingsOf(all, buffers, target) <= target.bindings;
}

/** Whether its extents are dims of the program: a list of elements has another length in each launch. */
function hasDims({ kernel, extents }: Piece<SoloKernel>): boolean {
  return kernel.extents.every((name, i) => name === extents[i]);
}

function isIndependent(a: Piece<SoloKernel>, b: Piece<SoloKernel>): boolean {
  const [first, second] = [usesOf(a), usesOf(b)];
  return [...first].every(([buffer, isWritten]) => !second.has(buffer) || (!isWritten && !second.get(buffer)!));
}

/** The buffers that it touches, and whether it writes them. */
function usesOf({ kernel, buffers }: Piece<SoloKernel>): Map<number, boolean> {
  return new Map(kernel.args.map(({ access }, i) => [buffers[i]!, access !== "read"]));
}
