/** Numbers of tests in bf16. */

/** The bits of a number, rounded to nearest, ties to even. */
export function bits(value: number): number {
  const [word] = new Uint32Array(Float32Array.of(value).buffer);
  return (word! + 0x7fff + ((word! >>> 16) & 1)) >>> 16;
}

export function valueOf(half: number): number {
  return new Float32Array(Uint32Array.of(half << 16).buffer)[0]!;
}

/** Numbers from -0.5 on, below 0.5, one after the other (the generator of Numerical Recipes). */
export function drawing(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
}
