/** The distribution function of the standard normal distribution, to about 1e-15. */
export function normalCdf(x: number): number {
  return 0.5 * complement(-x / Math.SQRT2);
}

/** erfc(z) = 1 - erf(z). */
function complement(z: number): number {
  if (Number.isNaN(z)) return z;
  if (z < 0) return 2 - complement(-z);
  return z < 2 ? 1 - series(z) : fraction(z);
}

/** erf(z) = 2 / sqrt(pi) exp(-z^2) sum over n of 2^n z^(2n+1) / (2n+1)!! (Abramowitz and Stegun 7.1.6): no cancellation. */
function series(z: number): number {
  let term = z;
  let sum = z;
  for (let n = 1; term > sum * 1e-17; n++) {
    term *= (2 * z * z) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-z * z) * sum;
}

/** erfc(z) = exp(-z^2) / sqrt(pi) / (z + (1/2) / (z + 1 / (z + (3/2) / (z + ...)))) (ibid. 7.1.14), from the inside out. */
function fraction(z: number): number {
  if (z > 27) return 0;
  let tail = z;
  for (let n = 120; n > 0; n--) tail = z + n / 2 / tail;
  return Math.exp(-z * z) / Math.sqrt(Math.PI) / tail;
}
