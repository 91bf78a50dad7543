/**
 * How a parameter lies inside a tensor of a checkpoint, in the manner of einops: `(H A) Q` is a matrix whose rows are the
 * pairs of H and A; `(H (N | V)) C` holds for every head the rows of N, then those of V.
 */
export interface Layout {
  /** Axes of the stored tensor; each is a row-major product of factors. */
  readonly axes: readonly (readonly Factor[])[];
}

/** One dim, or several laid one after the other. */
export type Factor = readonly string[];

export function parseLayout(text: string): Layout {
  const tokens = text.match(/[A-Za-z]\w*|[()|]/g) ?? [];
  let at = 0;
  const factor = (): string[] => {
    if (tokens[at] !== "(") return [tokens[at++]!];
    const parts: string[] = [];
    for (at++; tokens[at] !== ")"; at++) if (tokens[at] !== "|") parts.push(tokens[at]!);
    at++;
    return parts;
  };
  const axes: Factor[][] = [];
  while (at < tokens.length) {
    if (tokens[at] !== "(") axes.push([[tokens[at++]!]]);
    else {
      const factors: Factor[] = [];
      for (at++; tokens[at] !== ")";) factors.push(factor());
      at++;
      axes.push(factors);
    }
  }
  return { axes };
}

export type Sizes = ReadonlyMap<string, number>;

function factorSize(factor: Factor, sizes: Sizes): number {
  return factor.reduce((sum, dim) => sum + sizes.get(dim)!, 0);
}

/** The shape of the stored tensor. */
export function shapeOf({ axes }: Layout, sizes: Sizes): number[] {
  return axes.map((factors) => factors.reduce((size, factor) => size * factorSize(factor, sizes), 1));
}

/** Where the first element of a parameter lies, and how far apart neighbors along each of its dims are. */
export function placement(
  { axes }: Layout,
  sizes: Sizes,
  dims: readonly string[],
): { readonly base: number; readonly strides: readonly number[] } {
  const strides = new Map<string, number>();
  let base = 0;
  let stride = 1;
  for (const factor of axes.flat().toReversed()) {
    let before = 0;
    for (const dim of factor) {
      if (dims.includes(dim)) {
        strides.set(dim, stride);
        base += before * stride;
      }
      before += sizes.get(dim)!;
    }
    stride *= factorSize(factor, sizes);
  }
  return { base, strides: dims.map((dim) => strides.get(dim)!) };
}

/** Calls `each` with the offset in the parameter (row-major) and in the stored tensor, for every element. */
export function walk(
  shape: readonly number[],
  base: number,
  strides: readonly number[],
  each: (own: number, stored: number) => void,
): void {
  const index = shape.map(() => 0);
  const last = shape.length - 1;
  const total = shape.reduce((a, b) => a * b, 1);
  let stored = base;
  for (let own = 0; own < total; own++) {
    each(own, stored);
    for (let k = last; k >= 0; k--) {
      stored += strides[k]!;
      if (++index[k]! < shape[k]!) break;
      stored -= strides[k]! * shape[k]!;
      index[k] = 0;
    }
  }
}
