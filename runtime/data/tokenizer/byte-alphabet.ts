/**
 * The alphabet of byte-level tokenizers: a visible character for each byte, so that vocabularies are text. Bytes that are
 * printable stand for themselves, the other ones follow from U+0100 on (Radford et al. 2019, `bytes_to_unicode`).
 */
const CHARACTERS: readonly string[] = (() => {
  const printable = (byte: number): boolean => (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173);
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
})();

/** The bytes in the order of their characters: the order of vocabularies, from `!` on. */
export const ALPHABET: readonly number[] = CHARACTERS.map((_, byte) => byte).toSorted((a, b) =>
  CHARACTERS[a]! < CHARACTERS[b]! ? -1 : 1,
);

const BYTES: ReadonlyMap<string, number> = new Map(CHARACTERS.map((character, byte) => [character, byte]));

/** Bytes as a token's text in a vocabulary. */
export function spell(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += CHARACTERS[byte]!;
  return text;
}

/** The bytes of a token's text; undefined when a character stands for no byte. */
export function unspell(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const byte = BYTES.get(text[i]!);
    if (byte === undefined) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}
