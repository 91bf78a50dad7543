/** A process of PyTorch that trains the model of the quickstart (torch_train.py). */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { resolve } from "node:path";

export const EXPERTS = ["loop", "grouped", "padded"] as const;

export interface TorchOptions {
  /** A safetensors file with dskc's names. */
  readonly weights: string;
  readonly threads: number;
  readonly experts: (typeof EXPERTS)[number];
  readonly compile: boolean;
}

export interface Losses {
  readonly next_token: number;
  readonly sequence_balance: number;
  readonly mtp: number;
}

export interface TorchPeer {
  readonly version: string;
  /** @param gradients a safetensors file: `distance` is how far the gradient that differs most lies from it, of its norm */
  check(
    tokens: readonly number[][],
    gradients: string,
  ): Promise<{ losses: Losses; gradient: string; distance: number }>;
  /** One step on the tokens of `check`; `processor`: seconds that its threads ran. */
  step(lr: number, balanceRate: number): Promise<{ losses: Losses; seconds: number; processor: number }>;
  close(): Promise<void>;
}

/** @throws Error with what Python said when it ends */
export async function openTorch({ weights, threads, experts, compile }: TorchOptions): Promise<TorchPeer> {
  const script = resolve("bench/peers/torch_train.py");
  const args = [script, "--weights", weights, "--threads", String(threads), "--experts", experts];
  const child = spawn(process.env["PYTHON"] ?? "python3", [...args, ...(compile ? ["--compile"] : [])], {
    env: { ...process.env, OMP_NUM_THREADS: String(threads), OPENBLAS_NUM_THREADS: String(threads) },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async (): Promise<unknown> => {
    const { done, value } = await lines.next();
    if (done === true) throw new Error("the process of PyTorch ended");
    return JSON.parse(value);
  };
  const ask = (request: object): Promise<unknown> => {
    child.stdin.write(`${JSON.stringify(request)}\n`);
    return answer();
  };
  const { torch } = (await answer()) as { torch: string };
  return {
    version: torch,
    check: (tokens, gradients) => ask({ check: { tokens, gradients } }) as ReturnType<TorchPeer["check"]>,
    step: (lr, rate) => ask({ step: { lr, balance_rate: rate } }) as ReturnType<TorchPeer["step"]>,
    close: async () => {
      const ended = new Promise((done) => child.once("exit", done));
      child.stdin.end();
      await ended;
    },
  };
}
