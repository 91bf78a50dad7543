import type { Checker } from "./checker.ts";
import { memberDim } from "./dim-members.ts";
import type { Instance } from "./instance.ts";
import { placeStore } from "./stores.ts";
import { checkAliases, placeArguments, placeUse } from "./uses.ts";

/** Makes every dim, store and use of a block, used by its functions or not: they count. */
export function placeMembers(c: Checker, instance: Instance): void {
  const { block, levels, members } = instance;
  for (const level of levels) {
    for (const [name, dim] of level.formals) if (!block.dims.has(name)) block.dims.set(name, dim.label);
  }
  for (const [name, { item }] of members) {
    if (item.kind !== "dim") continue;
    const dim = memberDim(c, instance, name);
    if (dim !== undefined) block.dims.set(name, dim.label);
  }
  for (const [name, { item, level }] of members) {
    if (item.kind === "param" || item.kind === "state" || item.kind === "cache")
      placeStore(c, instance, name, item, level);
  }
  placeArguments(c, instance);
  for (const [name, { item, level }] of members) if (item.kind === "use") placeUse(c, instance, name, item, level);
  checkAliases(c, instance);
}
