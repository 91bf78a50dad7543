/** The number of an E4M3 code (OCP 8-bit floating point, E4M3 without infinities). */
export function e4m3Number(code: number): number {
  const [exponent, digits] = [(code >> 3) & 15, code & 7];
  if (exponent === 15 && digits === 7) return NaN;
  const size = exponent === 0 ? digits * 2 ** -9 : (1 + digits / 8) * 2 ** (exponent - 7);
  return code >= 128 ? -size : size;
}

const NUMBERS = Array.from({ length: 127 }, (_, code) => e4m3Number(code));

/** The nearest number that has a code, of two the one whose last digit is 0; the largest one for all beyond. */
export function nearestE4m3(x: number): number {
  const size = Math.abs(x);
  let above = NUMBERS.findIndex((number) => number >= size);
  if (above < 0) above = NUMBERS.length - 1;
  const [low, high] = [NUMBERS[above - 1] ?? 0, NUMBERS[above]!];
  const isLow = size - low < high - size || (size - low === high - size && (above - 1) % 2 === 0);
  return (x < 0 ? -1 : 1) * (isLow ? low : high);
}

/** Of a sum of products, what rounding it depends on. */
export function sizeOfSum(products: readonly number[]): number {
  return products.reduce((sum, x) => sum + Math.abs(x), 0);
}

/**
 * Hopper's tensor cores cut each addend of a sum of 32 products behind the 13th bit of the largest one (DeepSeek-V3, arXiv 2412.19437,
 * section 3.5.2): what the products of a tile and the sums so far can lose.
 */
export function lostOnHopper(products: readonly number[]): number {
  let [sum, lost] = [0, 0];
  for (let first = 0; first < products.length; first += 32) {
    const some = products.slice(first, first + 32);
    lost += 33 * Math.max(Math.abs(sum), ...some.map(Math.abs)) * 2 ** -13;
    sum += some.reduce((a, x) => a + x, 0);
  }
  return lost;
}
