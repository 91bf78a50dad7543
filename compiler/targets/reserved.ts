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
 * The kernel with other names where its own are reserved, or may be in some language: an underscore behind them. Extents that are no
 * words of any language (`T/128`) become words (`T_by_128`).
 */
export function withoutReserved<K extends Kernel>(given: K, reserved: ReadonlySet<string>): K {
  const kernel = withWordsForExtents(given);
  const isOfLanguages = (name: string): boolean => /^_|__|^dsk_/.test(name);
  const isReserved = (name: string): boolean => reserved.has(name) || isOfLanguages(name);
  const names = namesOf(kernel);
  const taken = new Set(names);
  const others = new Map<string, string>();
  for (const name of new Set(names.filter(isReserved))) {
    let other = `${name}_`;
    const base = isOfLanguages(other) ? "other" : name;
    for (let i = 2; taken.has(other) || isReserved(other); i++) other = `${base}_${i}`;
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

function withWordsForExtents<K extends Kernel>(kernel: K): K {
  const { extents } = kernel;
  if (extents.every((extent) => WORD.test(extent))) return kernel;
  const taken = new Set([...namesOf(kernel), ...extents]);
  const words = new Map<unknown, string>();
  for (const extent of extents.filter((each) => !WORD.test(each))) {
    let word = extent.replace("/", "_by_").replace("*", "_times_").replace("+", "_plus_");
    while (taken.has(word)) word = `${word}_`;
    taken.add(word);
    words.set(extent, word);
  }
  const copied = (value: unknown, key: string): unknown => {
    if (Array.isArray(value)) return value.map((item) => copied(item, key));
    if (typeof value !== "object" || value === null) return EXTENT_KEYS.has(key) ? (words.get(value) ?? value) : value;
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, copied(v, k)]));
  };
  return copied(kernel, "") as K;
}

/** What an extent is where its run-time dim has a size, by its name or its word. */
export function sizeOfWord(extent: string, size: number): number {
  const [, by = "1", times = "1", plus = "0"] =
    /(?:_by_|\/)(\d+)(?:(?:_times_|\*)(\d+))?(?:(?:_plus_|\+)(\d+))?_*$/.exec(extent) ?? [];
  return Math.ceil(size / Number(by)) * Number(times) + Number(plus);
}

const WORD = /^\w+$/;

/** Where a kernel names its extents. */
const EXTENT_KEYS = new Set(["extent", "extents", "shape"]);
