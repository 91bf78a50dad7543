import type { Kernel } from "../../kernel-ir/types.ts";

/** Words that printers take. */
export const PRINTED =
  "block blocks team first own_column first_column begin end low high token tokens seen saved pair all " +
  "item own part column row inside sum index batch count found marks next have m n k a b i step group groups lane";

/** The kernel with other names where its own are reserved: an underscore behind them. */
export function withoutReserved<K extends Kernel>(kernel: K, reserved: ReadonlySet<string>): K {
  const names = namesOf(kernel).filter((name) => reserved.has(name) || name.startsWith("__") || name === "_");
  if (names.length === 0) return kernel;
  const isName = new Set(names);
  const renamed = (key: string, value: unknown): unknown =>
    typeof value === "string" && NAME_KEYS.has(key) && isName.has(value) ? `${value}_` : value;
  const copied = (value: unknown, key: string): unknown => {
    if (Array.isArray(value)) return value.map((item) => copied(item, ""));
    if (typeof value !== "object" || value === null) return renamed(key, value);
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, copied(v, k)]));
  };
  return { ...(copied(kernel, "") as K), name: kernel.name, from: kernel.from };
}

/** Where a kernel names its arguments, locals and products. */
const NAME_KEYS = new Set(["name", "from", "to", "local"]);

function namesOf(kernel: Kernel): string[] {
  if (kernel.family === "parts") return kernel.parts.flatMap(namesOf);
  return [
    ...kernel.args.map(({ name }) => name),
    ...("locals" in kernel ? kernel.locals.map(({ name }) => name) : []),
    ...(kernel.family === "gemm"
      ? [...(kernel.prologue?.locals ?? []), ...kernel.products].map(({ name }) => name)
      : []),
  ];
}
