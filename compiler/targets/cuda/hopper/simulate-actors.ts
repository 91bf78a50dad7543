/** Who runs a schedule in its checker: each warpgroup is two actors, its first warp and the other three. */
import type { Schedule } from "./schedule.ts";
import type { Actor, Groups } from "./schedule-state.ts";

/** What registers have that nothing was written to. */
const UNSET = "what nobody has set";

/**
 * The actors of a block.
 * @param of the end of the name of what the block has
 */
export function actorsOf(schedule: Schedule, block: number, of: string): Actor[] {
  const actors: Actor[] = [];
  for (const role of schedule.roles)
    for (let part = 0; part < role.warpgroups; part++) {
      const name = `${role.warpgroups > 1 ? `${role.name} ${part}` : role.name}${of}`;
      const place = { role: role.name, block, part };
      if (role.threads !== "all") actors.push(actor(schedule, name, place, true, role.threads === "one" ? 1 : 32));
      else {
        actors.push(actor(schedule, name, place, true, 32));
        actors.push(actor(schedule, `${name} (warps 1 to 3)`, place, false, 96));
      }
    }
  return actors;
}

function actor(
  { registers, cluster, cursors }: Schedule,
  name: string,
  place: Pick<Actor, "role" | "block" | "part">,
  leads: boolean,
  threads: number,
): Actor {
  const own = registers.filter(({ role }) => role === place.role);
  const groups = (): Groups => ({ open: [], closed: [] });
  return {
    name,
    ...place,
    leads,
    threads,
    counters: new Map(cluster === undefined ? [] : [["rank", place.block]]),
    cursors: new Map(cursors.map((cursor) => [cursor.name, { stage: 0, phase: 0, before: [] }])),
    registers: new Map(own.map((array) => [array.name, { terms: [UNSET], flying: false, touched: true }])),
    knows: 0n,
    products: groups(),
    copies: groups(),
    stores: groups(),
    unpublished: 0n,
    done: false,
  };
}
