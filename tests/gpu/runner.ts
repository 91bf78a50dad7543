/**
 * As much of vitest as the tests of GPUs use, for a bundle that needs nothing but Node: they run one after the other in one process.
 * `scripts/test-gpu.mjs` puts it in the place of `vitest`.
 */
import { format } from "node:util";
import {
  ASYMMETRIC_MATCHERS_OBJECT,
  JestAsymmetricMatchers,
  JestChaiExpect,
  JestExtend,
  setState,
} from "@vitest/expect";
import * as chai from "chai";
import { Prepared } from "../support/cuda/real.ts";

chai.use(JestExtend);
chai.use(JestChaiExpect);
chai.use(JestAsymmetricMatchers);
export const expect = chai.expect;
Object.assign(expect, (globalThis as Record<PropertyKey, unknown>)[ASYMMETRIC_MATCHERS_OBJECT]);
setState({ assertionCalls: 0, isExpectingAssertions: false } as never, expect as never);

type Work = (...args: never[]) => unknown;

interface Case {
  readonly name: string;
  readonly work: () => unknown;
  readonly skipped: boolean;
}

interface Hooks {
  readonly beforeAll: Work[];
  readonly afterEach: Work[];
  readonly afterAll: Work[];
}

let cases: Case[] = [];
let hooks: Hooks = { beforeAll: [], afterEach: [], afterAll: [] };
let path: readonly string[] = [];

/** `(name, work)`, or with options between them, which are of no matter here. */
type Declare = (name: string, ...rest: readonly unknown[]) => void;
type Each = (table: readonly unknown[]) => Declare;

function workIn(rest: readonly unknown[]): Work {
  return rest.find((one) => typeof one === "function") as Work;
}

function each(declare: (name: string, work: () => unknown) => void): Each {
  return (table) =>
    (name, ...rest) => {
      for (const row of table) {
        const args = Array.isArray(row) ? row : [row];
        const filled = name.replaceAll(/\$(\w+)/g, (all, key: string) =>
          String((args[0] as Record<string, unknown>)[key] ?? all),
        );
        const count = filled.match(/%[sdifjo]/g)?.length ?? 0;
        declare(format(filled, ...args.slice(0, count)), () => workIn(rest)(...(args as never[])));
      }
    };
}

function tests(skipped: boolean): Declare & { each: Each; skipIf: (skip: unknown) => ReturnType<typeof tests> } {
  const declare = (name: string, work: () => unknown): void => {
    cases.push({ name: [...path, name].join(" > "), work, skipped });
  };
  return Object.assign((name: string, ...rest: readonly unknown[]) => declare(name, workIn(rest) as () => unknown), {
    each: each(declare),
    skipIf: (skip: unknown) => tests(skipped || Boolean(skip)),
  });
}

export const test = tests(false);

function group(name: string, work: () => unknown): void {
  const before = path;
  path = [...path, name];
  work();
  path = before;
}

export const describe = Object.assign(
  (name: string, ...rest: readonly unknown[]) => group(name, workIn(rest) as () => unknown),
  {
    each: each(group),
  },
);

export const beforeAll = (work: Work): number => hooks.beforeAll.push(work);
export const afterEach = (work: Work): number => hooks.afterEach.push(work);
export const afterAll = (work: Work): number => hooks.afterAll.push(work);

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
  prepared: number;
}

/** Runs what a file declares; tests whose name is not asked for are skipped. */
export async function runFile(
  name: string,
  load: () => Promise<unknown>,
  counts: Counts,
  asked: (name: string) => boolean,
): Promise<void> {
  cases = [];
  hooks = { beforeAll: [], afterEach: [], afterAll: [] };
  path = [];
  console.log(name);
  try {
    await load();
  } catch (error) {
    counts.failed++;
    console.log(`  FAILED   ${String((error as Error).stack ?? error)}`);
    return;
  }
  const own = hooks;
  let broken: unknown;
  const attempt = async (what: string, work: () => unknown): Promise<void> => {
    const start = performance.now();
    try {
      if (broken !== undefined) throw broken;
      await work();
      counts.passed++;
      console.log(`  passed   ${what}  ${Math.round(performance.now() - start)} ms`);
    } catch (error) {
      if (error instanceof Prepared) {
        counts.prepared++;
        console.log(`  prepared ${what}`);
        return;
      }
      counts.failed++;
      console.log(`  FAILED   ${what}\n${String((error as Error).stack ?? error).replaceAll(/^/gm, "           ")}`);
    }
  };
  try {
    for (const work of own.beforeAll) await work();
  } catch (error) {
    broken = error;
  }
  for (const { name: what, work, skipped } of cases) {
    if (skipped || !asked(what)) {
      counts.skipped++;
      console.log(`  skipped  ${what}`);
      continue;
    }
    await attempt(what, work);
    for (const after of own.afterEach) await after();
  }
  if (broken === undefined) for (const work of own.afterAll) await work();
}
