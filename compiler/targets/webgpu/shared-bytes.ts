/** `array<vec4<f32>, 512>`, `array<f32, 64>`, `vec2<i32>`: all of words. */
const VARIABLE = /^var<workgroup> (\w+): (?:array<)?(?:vec(\d)<)?\w+>?(?:, (\d+)>)?;/gm;
const FUNCTION = /^(@compute.*\n)?fn (\w+)\([^]*?^}/gm;

/** The most bytes of workgroup memory that an entry point of a file reaches, by itself or through functions. */
export function sharedBytes(text: string): number {
  const sizes = [...text.matchAll(VARIABLE)].map(
    ([, name, vector = "1", count = "1"]) => [name!, 4 * Number(vector) * Number(count)] as const,
  );
  const functions = [...text.matchAll(FUNCTION)].map(([body, entry, name]) => ({
    name: name!,
    isEntry: entry !== undefined,
    words: new Set(body.match(/\w+/g)),
  }));
  const reached = (from: readonly (typeof functions)[number][]): Set<string> => {
    const words = new Set<string>();
    for (const { words: own } of from) for (const word of own) words.add(word);
    const more = functions.filter((f) => words.has(f.name));
    return more.length > from.length ? reached(more) : words;
  };
  const bytes = functions
    .filter(({ isEntry }) => isEntry)
    .map((entry) => {
      const words = reached([entry]);
      return sizes.reduce((sum, [name, size]) => sum + (words.has(name) ? size : 0), 0);
    });
  return Math.max(0, ...bytes);
}
