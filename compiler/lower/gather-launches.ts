/**
 * Launches of one kernel of lists next to each other, so that a device may run them at once: an optimizer has one for each param, and
 * so has the norm of all gradients. A launch moves only over such as it has nothing to do with, and where no temp lives longer for it.
 */
import type { BufferSpec, Launch, Together } from "../../runtime/program/launch.ts";
import { isOfLists, isOfOneList } from "../kernel-ir/lists.ts";
import type { Kernel } from "../kernel-ir/types.ts";

/** Launches in an order, and which of them may run at once. */
export interface Gathered {
  readonly launches: readonly Launch[];
  readonly together: readonly Together[];
}

/** The buffers that launches touch, and whether they write them. */
type Uses = Map<number, boolean>;

interface Item {
  readonly launches: Launch[];
  readonly uses: Uses;
}

export function gatherLaunches(
  launches: readonly Launch[],
  kernelOf: (name: string) => Pick<Kernel, "family" | "extents" | "args">,
  buffers: readonly BufferSpec[],
): Gathered {
  const lastUse = new Map(launches.flatMap(({ args }, at) => args.map((arg) => [arg, at] as const)));
  const isTemp = (buffer: number): boolean => buffers[buffer]!.kind === "temp";
  const items: Item[] = [];
  const open = new Map<string, Item>();
  for (const [at, launch] of launches.entries()) {
    const kernel = kernelOf(launch.kernel);
    const item: Item = { launches: [launch], uses: usesOf(launch, kernel) };
    if (!isOfLists(kernel)) {
      items.push(item);
      continue;
    }
    const key = JSON.stringify([launch.kernel, launch.args.filter((_, i) => !isOfOneList(kernel.args[i]!))]);
    const group = open.get(key);
    const others = group === undefined ? [] : items.slice(items.indexOf(group) + 1);
    if (group === undefined || conflict(group, item)) {
      items.push(item);
      open.set(key, item);
      continue;
    }
    // Later, nothing may be used that would be over by then; earlier, nothing may be made that nobody needs yet.
    const staysAlive = [...group.uses.keys()].every((buffer) => !isTemp(buffer) || lastUse.get(buffer)! >= at);
    if (staysAlive && !others.some((other) => conflict(group, other))) {
      items.splice(items.indexOf(group), 1);
      items.push(group);
      join(group, item);
    } else if (
      [...item.uses].every(([buffer, isWritten]) => !isWritten || !isTemp(buffer)) &&
      !others.some((other) => conflict(item, other))
    )
      join(group, item);
    else {
      items.push(item);
      open.set(key, item);
    }
  }
  let first = 0;
  const together = items.flatMap(({ launches: own }): Together[] => {
    first += own.length;
    return own.length === 1 ? [] : [{ first: first - own.length, count: own.length }];
  });
  return { launches: items.flatMap((item) => item.launches), together };
}

function usesOf({ args }: Launch, kernel: Pick<Kernel, "args">): Uses {
  return new Map(kernel.args.map(({ access }, i) => [args[i]!, access !== "read"]));
}

function conflict({ uses: a }: Item, { uses: b }: Item): boolean {
  const [few, many] = a.size < b.size ? [a, b] : [b, a];
  for (const [buffer, isWritten] of few) if (many.has(buffer) && (isWritten || many.get(buffer)!)) return true;
  return false;
}

function join(group: Item, { launches, uses }: Item): void {
  group.launches.push(...launches);
  for (const [buffer, isWritten] of uses) group.uses.set(buffer, isWritten || (group.uses.get(buffer) ?? false));
}
