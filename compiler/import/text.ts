/** Pieces of spec text. The formatter brings the whole into shape, so nothing here cares about lines. */

export type Value = number | boolean;

export type Args = Readonly<Record<string, Value | string>>;

/**
 * What the blocks of the standard library take when nothing is said: arguments with these values are left out, as people
 * write specs. A test compares the table with the library.
 */
export const DEFAULTS: Readonly<Record<string, Readonly<Record<string, Value>>>> = {
  Rope: { theta: 10_000, half: false },
  LinearRope: { theta: 10_000, factor: 1, half: false },
  YarnRope: {
    theta: 10_000,
    factor: 40,
    trained: 4_096,
    beta_fast: 32,
    beta_slow: 1,
    mscale: 1,
    mscale_all: 1,
    half: false,
  },
  Llama3Rope: { theta: 500_000, factor: 8, low: 1, high: 4, trained: 8_192, half: true },
  Mha: { window: 0 },
  Mqa: { window: 0 },
  Gqa: { window: 0 },
  BiasedGqa: { window: 0 },
  FullyBiasedGqa: { window: 0 },
  Mla: { Q: 1_536, C: 512, N: 128, R: 64, Vh: 128 },
  DirectMla: { C: 512, N: 128, R: 64, Vh: 128 },
  RmsNorm: { eps: 1e-6 },
  HeadsRmsNorm: { eps: 1e-6 },
  KeyHeadsRmsNorm: { eps: 1e-6 },
  Decoder: { eps: 1e-6 },
  PredictAhead: { eps: 1e-6 },
  SoftmaxMoe: { renormalize: true },
  DeepSeekMoe: { renormalize: true },
  DeepSeekRoutedMoe: { renormalize: true },
  DeepSeekMoeV1: { scale: 1, renormalize: false },
  DeepSeekMoeV2: { renormalize: false },
  DeepSeekRoutedMoeV2: { renormalize: false },
};

/** `1_536`, `1e-5`, `0.707`, `true`. */
export function literal(value: Value): string {
  if (typeof value === "boolean") return String(value);
  const size = Math.abs(value);
  if (Number.isSafeInteger(value) && size < 1e15) return String(value).replace(/\B(?=(\d{3})+$)/g, "_");
  return size !== 0 && (size < 1e-3 || size >= 1e15) ? value.toExponential().replace("e+", "e") : String(value);
}

/**
 * `Block[D, F](a: 1, b: Other)`: plain values that equal the block's own are left out, texts stand as they are.
 * @param like the block whose defaults count, when it is not the block itself
 */
export function use(block: string, dims: readonly (string | number)[], given: Args = {}, like = block): string {
  const shape = dims.map((dim) => (typeof dim === "string" ? dim : literal(dim))).join(", ");
  const list = args(given, like);
  return `${block}[${shape}]${list === "" ? "" : `(${list})`}`;
}

/** `a: 1, b: Other` without what equals the defaults of a block. */
export function args(given: Args, like: string): string {
  const defaults = DEFAULTS[like] ?? {};
  return Object.entries(given)
    .filter(([name, value]) => !Object.hasOwn(defaults, name) || defaults[name] !== value)
    .map(([name, value]) => `${name}: ${typeof value === "string" ? value : literal(value)}`)
    .join(", ");
}
