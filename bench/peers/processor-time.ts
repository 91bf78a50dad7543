import { readdirSync, readFileSync } from "node:fs";

/** Milliseconds that all processes below this one have had of the processors, in steps of 10. */
export function processorTime(): number {
  const parents = new Map<number, number>();
  const spent = new Map<number, number>();
  for (const id of readdirSync("/proc").map(Number).filter(Number.isInteger)) {
    try {
      const [, rest] = readFileSync(`/proc/${id}/stat`, "utf8").split(/\) (?!.*\) )/);
      const fields = rest!.split(" ").map(Number);
      parents.set(id, fields[1]!);
      // User and system time in ticks of 10 ms (proc_pid_stat(5)).
      spent.set(id, (fields[11]! + fields[12]!) * 10);
    } catch {
      // It has ended.
    }
  }
  const isBelow = (id: number | undefined): boolean =>
    id !== undefined && (parents.get(id) === process.pid || isBelow(parents.get(id)));
  return [...spent].reduce((sum, [id, time]) => sum + (isBelow(id) ? time : 0), 0);
}
