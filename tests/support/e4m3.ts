/** The number of an E4M3 code (OCP 8-bit floating point, E4M3 without infinities). */
export function e4m3Number(code: number): number {
  const [exponent, digits] = [(code >> 3) & 15, code & 7];
  if (exponent === 15 && digits === 7) return NaN;
  const size = exponent === 0 ? digits * 2 ** -9 : (1 + digits / 8) * 2 ** (exponent - 7);
  return code >= 128 ? -size : size;
}
