import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

/** A C++ compiler of the machine. */
export interface Compiler {
  /** The program and arguments that always come first. */
  readonly command: readonly [string, ...string[]];
  /** What it says about itself: other versions make other code. */
  readonly version: string;
}

/** There is no C++ compiler. The message says how to get one. */
export class NoCompilerError extends Error {
  constructor(tried: string) {
    super(
      `there is no C++ compiler (${tried}): install one (Debian, Ubuntu: \`apt install g++\`; Fedora: ` +
        "`dnf install gcc-c++`; Alpine: `apk add g++`; macOS: `xcode-select --install`), or set CXX to where it is",
    );
  }
}

/**
 * What CXX names, else g++ or clang++ on the PATH.
 * @throws NoCompilerError
 */
export async function findCompiler(environment: NodeJS.ProcessEnv = process.env): Promise<Compiler> {
  const chosen = environment["CXX"]?.split(/\s+/).filter((word) => word !== "") ?? [];
  const candidates = chosen.length > 0 ? [chosen] : [["g++"], ["clang++"]];
  for (const candidate of candidates) {
    const [program, ...args] = candidate as [string, ...string[]];
    try {
      const { stdout } = await run(program, [...args, "--version"], { env: environment });
      return { command: [program, ...args], version: stdout };
    } catch {
      // Not this one.
    }
  }
  throw new NoCompilerError(
    chosen.length > 0 ? `CXX is \`${chosen.join(" ")}\`, which does not run` : "neither g++ nor clang++ is on the PATH",
  );
}
