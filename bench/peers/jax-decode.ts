/** The model of specs/quickstart.dsk in jax-js: one token of every sequence, greedy, jitted. */

/** What is used of jax-js's arrays: whoever takes one owns it, `ref` keeps it. */
interface Tensor {
  readonly ref: Tensor;
  readonly shape: readonly number[];
  add(other: Tensor | number): Tensor;
  sub(other: Tensor): Tensor;
  mul(other: Tensor | number): Tensor;
  div(other: Tensor): Tensor;
  greater(other: Tensor | number): Tensor;
  less(other: Tensor | number): Tensor;
  lessEqual(other: Tensor): Tensor;
  equal(other: Tensor): Tensor;
  sum(axis: number, options?: { keepdims: boolean }): Tensor;
  mean(axis: number, options?: { keepdims: boolean }): Tensor;
  reshape(shape: readonly number[]): Tensor;
  astype(dtype: unknown): Tensor;
  data(): Promise<ArrayLike<number>>;
  blockUntilReady(): Promise<Tensor>;
  dispose(): void;
}

type Functions = Readonly<Record<string, (...args: unknown[]) => Tensor>>;

export interface JaxWays {
  /** Queries go to the latent (DeepSeek-V2, section 2.1.2), or keys and values are made of it. */
  readonly absorbed: boolean;
  /** The weights of chosen experts are gathered, or all experts run and what was not chosen counts nothing. */
  readonly gathered: boolean;
}

export interface JaxModel {
  /** The next tokens of all sequences, whose last ones stand at `position`; they are read when the call ends. */
  step(tokens: readonly number[], position: number): Promise<number[]>;
  /** As `step`, and gives the logits. */
  logits(tokens: readonly number[], position: number): Promise<ArrayLike<number>>;
  /** Takes over what another way has read: the caches of all ways are the same. */
  goOnFrom(other: JaxModel): void;
  /** Latents and rotary keys of each layer, [B, S, C + R]. */
  readonly caches: readonly Tensor[];
}

const [HEADS, CONTENT, ROTARY, LATENT] = [4, 32, 16, 48];
const [EXPERTS, CHOSEN, GROUPS, KEPT, SCALE] = [16, 4, 4, 2, 2.5];
const LAYERS = 4;

/** @param names of params and states; @param weight the elements and shape of a param or state of our package */
export async function openJax(
  names: readonly string[],
  weight: (name: string) => { readonly shape: readonly number[]; readonly elements: Float32Array },
  { absorbed, gathered }: JaxWays,
  { sequences: B, positions: S }: { readonly sequences: number; readonly positions: number },
): Promise<JaxModel> {
  // @ts-expect-error only where the peers are installed
  const { init, defaultDevice, numpy, nn, jit } = await import("@jax-js/jax");
  await init("webgpu");
  defaultDevice("webgpu");
  const np = numpy as Functions;
  const { int32, float32 } = numpy as { int32: unknown; float32: unknown };
  const concat = (parts: Tensor[]): Tensor => np["concatenate"]!(parts, -1);
  const einsum = (formula: string, a: Tensor, b: Tensor): Tensor => np["einsum"]!(formula, a, b);
  const split = (x: Tensor, at: number): [Tensor, Tensor] => np["split"]!(x, [at], -1) as unknown as [Tensor, Tensor];
  const array = (elements: unknown, shape: readonly number[], dtype?: unknown): Tensor =>
    np["array"]!(elements, dtype === undefined ? {} : { dtype }).reshape(shape);

  const weights = new Map(
    names.map((name) => {
      const { elements, shape } = weight(name);
      return [name, array(elements, shape)] as const;
    }),
  );
  const given = (name: string): Tensor => weights.get(name)!.ref;
  /** Gate and up side by side, made once: one product instead of two. */
  for (const name of names.filter((one) => one.endsWith(".up"))) {
    const block = name.slice(0, -3);
    weights.set(`${block}.both`, await concat([given(`${block}.gate`), given(name)]).blockUntilReady());
  }

  const norm = (x: Tensor, name: string): Tensor => {
    const square = x.ref.mul(x.ref).mean(-1, { keepdims: true });
    return x.mul(np["reciprocal"]!(np["sqrt"]!(square.add(1e-6)))).mul(given(`${name}.weight`));
  };
  const silu = (x: Tensor): Tensor => (nn as Functions)["silu"]!(x);
  const angles = Float32Array.from({ length: ROTARY / 2 }, (_, i) => 10_000 ** ((-2 * i) / ROTARY));
  const rope = (x: Tensor, position: Tensor): Tensor => {
    const { shape } = x;
    const angle = position.astype(float32).mul(array(angles, [ROTARY / 2, 1]));
    const [c, s] = [np["cos"]!(angle.ref), np["sin"]!(angle)];
    const [a, b] = split(x.reshape([...shape.slice(0, -1), ROTARY / 2, 2]), 1);
    return concat([a.ref.mul(c.ref).sub(b.ref.mul(s.ref)), a.mul(s).add(b.mul(c))]).reshape(shape);
  };
  const iota = (count: number): Tensor => np["arange"]!(count);

  const attention = (x: Tensor, at: string, position: Tensor, before: Tensor): [Tensor, Tensor] => {
    const query = np["matmul"]!(
      norm(np["matmul"]!(x.ref, given(`${at}.wq_a`)), `${at}.q_norm`),
      given(`${at}.wq_b`).reshape([-1, HEADS * (CONTENT + ROTARY)]),
    ).reshape([B, HEADS, CONTENT + ROTARY]);
    const [content, turning] = split(query, CONTENT);
    const turned = rope(turning, position.ref);
    const [latent, key] = split(np["matmul"]!(x, given(`${at}.wkv_a`)), LATENT);
    const row = concat([norm(latent, `${at}.kv_norm`), rope(key, position.ref)]).reshape([B, 1, LATENT + ROTARY]);
    const cache = np["where"]!(iota(S).equal(position.ref).reshape([1, S, 1]), row, before);
    let score: Tensor;
    if (absorbed) {
      const q = concat([einsum("bhn,chn->bhc", content, given(`${at}.wk_b`)), turned]);
      score = einsum("bhc,bsc->bhs", q, cache.ref);
    } else {
      const [latents, keys] = split(cache.ref, LATENT);
      const k = einsum("bsc,chn->bshn", latents, given(`${at}.wk_b`));
      score = einsum("bhn,bshn->bhs", content, k).add(einsum("bhr,bsr->bhs", turned, keys));
    }
    score = score.mul((CONTENT + ROTARY) ** -0.5);
    const p = (nn as Functions)["softmax"]!(np["where"]!(iota(S).lessEqual(position), score, -1e30), -1);
    const [latents, keys] = split(cache.ref, LATENT);
    keys.dispose();
    const out = absorbed
      ? einsum("bhc,chv->bhv", einsum("bhs,bsc->bhc", p, latents), given(`${at}.wv_b`))
      : einsum("bhs,bshv->bhv", p, einsum("bsc,chv->bshv", latents, given(`${at}.wv_b`)));
    const wo = given(`${at}.wo`).reshape([-1, x.shape.at(-1)!]);
    return [np["matmul"]!(out.reshape([B, -1]), wo), cache];
  };

  const swiglu = (x: Tensor, at: string): Tensor => {
    const [gate, up] = split(np["matmul"]!(x, given(`${at}.both`)), weight(`${at}.up`).shape.at(-1)!);
    return np["matmul"]!(silu(gate).mul(up), given(`${at}.down`));
  };

  /** How many elements of the last axis are greater than each: fewer kernels than a sort, for so few. */
  const rank = (x: Tensor): Tensor => {
    const { shape } = x;
    const others = x.ref.reshape([...shape.slice(0, -1), 1, shape.at(-1)!]);
    return others
      .greater(x.reshape([...shape, 1]))
      .astype(float32)
      .sum(-1);
  };
  const moe = (x: Tensor, at: string): Tensor => {
    const affinity = (nn as Functions)["sigmoid"]!(np["matmul"]!(x.ref, given(`${at}.gate`)));
    const biased = affinity.ref.add(given(`${at}.bias`)).reshape([B, GROUPS, -1]);
    const best = np["where"]!(rank(biased.ref).less(2), biased.ref, 0).sum(-1);
    const reached = rank(best).less(KEPT).reshape([B, GROUPS, 1]);
    const place = rank(np["where"]!(reached, biased, -1).reshape([B, EXPERTS]));
    const picked = np["where"]!(place.ref.less(CHOSEN), affinity, 0);
    const share = picked.ref.div(picked.sum(-1, { keepdims: true })).mul(SCALE);
    const width = weight(`${at}.experts.up`).shape.at(-1)!;
    const common = swiglu(x.ref, `${at}.shared`);
    if (!gathered) {
      const [gate, up] = split(einsum("bd,edf->bef", x, given(`${at}.experts.both`)), width);
      const hidden = silu(gate)
        .mul(up)
        .mul(share.reshape([B, EXPERTS, 1]));
      return common.add(einsum("bef,efd->bd", hidden, given(`${at}.experts.down`)));
    }
    const isAt = place
      .reshape([B, 1, EXPERTS])
      .equal(iota(CHOSEN).astype(float32).reshape([CHOSEN, 1]))
      .astype(float32);
    const chosen = isAt.ref.mul(iota(EXPERTS).astype(float32)).sum(-1).astype(int32);
    const weighs = isAt.mul(share.reshape([B, 1, EXPERTS])).sum(-1);
    const [gate, up] = split(einsum("bd,bkdf->bkf", x, np["take"]!(given(`${at}.experts.both`), chosen.ref, 0)), width);
    const hidden = silu(gate)
      .mul(up)
      .mul(weighs.reshape([B, CHOSEN, 1]));
    return common.add(einsum("bkf,bkfd->bd", hidden, np["take"]!(given(`${at}.experts.down`), chosen, 0)));
  };

  const forward = (tokens: Tensor, position: Tensor, before: readonly Tensor[]): [Tensor, Tensor[]] => {
    let x = np["take"]!(given("embed.weight"), tokens, 0);
    const caches: Tensor[] = [];
    for (let layer = 0; layer < LAYERS; layer++) {
      const at = `trunk.${layer}`;
      const [mixed, cache] = attention(norm(x.ref, `${at}.norm_mixer`), `${at}.mixer`, position.ref, before[layer]!);
      caches.push(cache);
      x = x.add(mixed);
      const normed = norm(x.ref, `${at}.norm_ffn`);
      x = x.add(layer === 0 ? swiglu(normed, `${at}.ffn`) : moe(normed, `${at}.ffn`));
    }
    position.dispose();
    return [einsum("bd,vd->bv", norm(x, "norm"), given("head.weight")), caches];
  };
  const next = jit((tokens: Tensor, position: Tensor, before: Tensor[]) => {
    const [logits, caches] = forward(tokens, position, before);
    return [np["argmax"]!(logits, -1), caches];
  });
  const scored = jit(forward);

  let caches = Array.from({ length: LAYERS }, () => np["zeros"]!([B, S, LATENT + ROTARY]));
  const call = async (what: typeof next, tokens: readonly number[], position: number): Promise<ArrayLike<number>> => {
    const [result, now] = what(
      array(Int32Array.from(tokens), [B], int32),
      array(Int32Array.of(position), [], int32),
      caches,
    ) as [Tensor, Tensor[]];
    caches = now;
    return await result.data();
  };
  return {
    step: async (tokens, position) => Array.from(await call(next, tokens, position)),
    logits: (tokens, position) => call(scored, tokens, position),
    goOnFrom: (other) => {
      for (const cache of caches) cache.dispose();
      caches = other.caches.map((cache) => cache.ref);
    },
    get caches() {
      return caches;
    },
  };
}
