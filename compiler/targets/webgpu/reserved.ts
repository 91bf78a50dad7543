import type { Kernel } from "../../kernel-ir/types.ts";

/** Words that WGSL keeps for itself (WGSL, section 16), and those of the frame. */
const RESERVED = new Set(
  (
    "alias break case const const_assert continue continuing default diagnostic discard else enable false fn for if let loop " +
    "override requires return struct switch true var while " +
    "NULL Self abstract active alignas alignof as asm asm_fragment async attribute auto await become cast catch class co_await " +
    "co_return co_yield coherent column_major common compile compile_fragment concept const_cast consteval constexpr constinit " +
    "crate debugger decltype delete demote demote_to_helper do dynamic_cast enum explicit export extends extern external " +
    "fallthrough filter final finally friend from fxgroup get goto groupshared highp impl implements import inline instanceof " +
    "interface layout lowp macro macro_rules match mediump meta mod module move mut mutable namespace new nil noexcept noinline " +
    "nointerpolation non_coherent noncoherent noperspective null nullptr of operator package packoffset partition pass patch " +
    "pixelfragment precise precision premerge priv protected pub public readonly ref regardless register reinterpret_cast " +
    "require resource restrict self set shared sizeof smooth snorm static static_assert static_cast std subroutine super target " +
    "template this thread_local throw trait try type typedef typeid typename typeof union unless unorm unsafe unsized use using " +
    "varying virtual volatile wgsl where with writeonly yield " +
    "bool f16 f32 i32 u32 vec2 vec3 vec4 array atomic ptr sampler " +
    "block blocks team first own_column first_column begin end low high token tokens seen saved pair all " +
    "item own part column row inside sum index batch count found marks next have m n k a b i step " +
    "launch arena stores stores_1 stores_2 stores_3 caches group groups lane word set_word abs exp log sqrt floor max min sign select fma round exp2 log2 ldexp"
  ).split(" "),
);

function isReserved(name: string): boolean {
  return RESERVED.has(name) || name.startsWith("__") || name === "_";
}

/** The kernel with other names where its own are reserved: an underscore behind them. */
export function withoutReserved<K extends Kernel>(kernel: K): K {
  const names = namesOf(kernel).filter(isReserved);
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
