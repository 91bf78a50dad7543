import type { Call, Elements, MemoryUse, Session, StoreSpec } from "../../runtime/device/session.ts";

/**
 * A table of logits [V, V] for the token after each token, trained by gradient descent: small enough to be right at sight,
 * with all programs that a trainer may use.
 */
export class BigramSession implements Session {
  readonly device = "reference";
  readonly programs: readonly string[] = ["train_step", "evaluate", "denominators", "gradients", "apply"];
  readonly stores: readonly StoreSpec[];
  readonly cacheRowBytes = 0;
  readonly cacheRows = 0;
  /** The tokens of each call that was made, by program. */
  readonly calls: { readonly program: string; readonly tokens: number }[] = [];
  readonly #values: ReadonlyMap<string, Float32Array>;
  readonly #vocabulary: number;

  constructor(vocabulary: number) {
    this.#vocabulary = vocabulary;
    const shape = [vocabulary, vocabulary];
    this.stores = [
      { name: "table", kind: "param", dtype: "f32", shape },
      { name: "gradient.table", kind: "state", dtype: "f32", shape },
    ];
    this.#values = new Map(this.stores.map(({ name }) => [name, new Float32Array(vocabulary ** 2)]));
  }

  async run({ program, inputs }: Call): Promise<Record<string, Elements>> {
    this.calls.push({ program, tokens: inputs["tokens"]?.length ?? 0 });
    const count = [...(inputs["target.1"] ?? [])].filter((target) => target >= 0).length;
    switch (program) {
      case "denominators":
        return { "denominator.next_token": Float32Array.of(count) };
      case "gradients":
        return this.#backward(inputs, inputs["denominator.next_token"]![0]!);
      case "apply":
        return this.#apply(inputs["lr"]![0]!);
      case "train_step":
        return { ...this.#backward(inputs, count), ...this.#apply(inputs["lr"]![0]!) };
      case "evaluate":
        return { "loss.next_token": Float32Array.of(this.#cross(inputs, count)) };
      default:
        throw new Error(`there is no program ${program}`);
    }
  }

  read(store: string): Elements {
    return this.#values.get(store)!.slice();
  }

  write(store: string, elements: Elements): void {
    this.#values.get(store)!.set(elements);
  }

  memory(): MemoryUse {
    return { arenaBytes: 0, arenaHighWater: 0, storeBytes: 8 * this.#vocabulary ** 2, cacheBytes: 0 };
  }

  close(): void {}

  #backward(inputs: Call["inputs"], denominator: number): Record<string, Elements> {
    const gradient = this.#values.get("gradient.table")!;
    const loss = this.#cross(inputs, denominator, (at, value) => (gradient[at]! += value));
    return { loss: Float32Array.of(loss), "loss.next_token": Float32Array.of(loss) };
  }

  #apply(lr: number): Record<string, Elements> {
    const [table, gradient] = [this.#values.get("table")!, this.#values.get("gradient.table")!];
    const norm = Math.sqrt(gradient.reduce((sum, g) => sum + g * g, 0));
    gradient.forEach((g, i) => (table[i]! -= lr * g));
    gradient.fill(0);
    return { grad_norm: Float32Array.of(norm) };
  }

  /** Cross-entropy of the targets over a denominator; `each` gets its derivatives. */
  #cross(inputs: Call["inputs"], denominator: number, each?: (at: number, value: number) => void): number {
    const [table, v] = [this.#values.get("table")!, this.#vocabulary];
    let loss = 0;
    for (const [i, target] of inputs["target.1"]!.entries()) {
      if (target < 0) continue;
      const first = inputs["tokens"]![i]! * v;
      const exps = table.subarray(first, first + v).map(Math.exp);
      const sum = exps.reduce((a, b) => a + b, 0);
      loss -= Math.log(exps[target]! / sum) / denominator;
      exps.forEach((e, k) => each?.(first + k, (e / sum - (k === target ? 1 : 0)) / denominator));
    }
    return loss;
  }
}
