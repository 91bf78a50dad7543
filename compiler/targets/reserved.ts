/** Names of a kernel that are words of the language it is printed in, or of the frame around it. */
import type { Kernel } from "../kernel-ir/types.ts";

/** Keywords and alternative tokens of C++ (C++20, lex.key, lex.digraph), and names of types that headers bring. */
export const CPP_WORDS =
  "alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class co_await co_return " +
  "co_yield compl concept const const_cast consteval constexpr constinit continue decltype default delete do double dynamic_cast " +
  "else enum explicit export extern false float for friend goto if inline int long mutable namespace new noexcept not not_eq " +
  "nullptr operator or or_eq private protected public register reinterpret_cast requires return short signed sizeof static " +
  "static_assert static_cast struct switch template this thread_local throw true try typedef typeid typename union unsigned using " +
  "virtual void volatile wchar_t while xor xor_eq NULL NAN INFINITY main std errno assert " +
  "int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t size_t intptr_t";

/**
 * The kernel with other names where its own are reserved, or may be in some language: an underscore behind them.
 */
export function withoutReserved<K extends Kernel>(kernel: K, reserved: ReadonlySet<string>): K {
  const isReserved = (name: string): boolean => reserved.has(name) || /^_|__|^dsk_/.test(name);
  const names = namesOf(kernel);
  const taken = new Set(names);
  const others = new Map<string, string>();
  for (const name of new Set(names.filter(isReserved))) {
    let other = `${name}_`;
    for (let i = 1; taken.has(other) || isReserved(other); i++) other = `other${i}`;
    taken.add(other);
    others.set(name, other);
  }
  if (others.size === 0) return kernel;
  const renamed = (key: string, value: unknown): unknown =>
    typeof value === "string" && NAME_KEYS.has(key) ? (others.get(value) ?? value) : value;
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
