/** A process that answers lines of JSON, ours or a peer's: ended when an answer does not come in time. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** What a process did instead of answering. */
export class NoAnswer extends Error {}

export class Talk {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #ended = false;

  constructor(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env) {
    this.#child = spawn(command, args, { env, stdio: ["pipe", "pipe", "inherit"] });
    this.#child.once("error", () => {});
    this.#child.stdin!.on("error", () => {});
    this.#child.once("exit", () => (this.#ended = true));
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** @throws NoAnswer; Error with what the process says went wrong */
  async ask<T>(request: object, milliseconds: number): Promise<T> {
    this.#child.stdin!.write(`${JSON.stringify(request)}\n`);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<"late">((done) => (timer = setTimeout(() => done("late"), milliseconds)));
    const line = await Promise.race([this.#lines.next(), late]);
    clearTimeout(timer);
    if (line === "late") {
      this.end();
      throw new NoAnswer(`hung: no answer in ${milliseconds / 1000} s`);
    }
    if (line.done === true) {
      this.end();
      const { exitCode, signalCode } = this.#child;
      throw new NoAnswer(
        `its process ended${signalCode ? ` by ${signalCode}` : exitCode === null ? "" : ` with ${exitCode}`}`,
      );
    }
    const answer = JSON.parse(line.value) as { readonly error?: string };
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer as T;
  }

  /** At once, whatever it is doing. */
  end(): void {
    this.#ended = true;
    this.#child.kill("SIGKILL");
  }
}
