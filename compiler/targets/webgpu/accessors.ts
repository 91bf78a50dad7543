/** Functions that read and write arguments and scratch arrays: memory is made of words of 32 bits, in several buffers. */
import type { Arg, ScalarType } from "../../kernel-ir/types.ts";
import type { Scratch } from "../simt/frame.ts";
import { rounded, valueType } from "./wgsl.ts";

/** How an argument is read and written: in words of 32 bits, in the space that the launch's pipeline has for it. */
export function accessorsOf({ name, dtype, access }: Arg, body: string): string[] {
  const word = `word(${name}_space, launch.${name} + i)`;
  const lines = [`return ${fromWord(dtype, word)};`];
  // Codes are only read, eight or four in a word; small floats lie two in a word where nothing writes them.
  if (dtype === "i4" || dtype === "i8")
    lines[0] = `return ${dtype}_of(word(${name}_space, launch.${name} + i / ${dtype === "i4" ? 8 : 4}), i);`;
  else if (access === "read" && (dtype === "bf16" || dtype === "f16"))
    lines.unshift(
      `if (${name}_space >= 8u) {`,
      `  return ${dtype}_of(word(${name}_space - 8u, launch.${name} + i / 2), i);`,
      "}",
    );
  const store = `set_word(${name}_space, launch.${name} + i, ${toWord(dtype, rounded(dtype, "x"))});`;
  return loadAndStore(name, dtype, lines, store, body);
}

/** Scratch arrays lie in the arena, one of each for every workgroup. */
export function scratchOf({ name, dtype, shape, common }: Scratch, body: string): string[] {
  const size = shape.map((extent) => (typeof extent === "number" ? extent : `launch.${extent}`)).join(" * ");
  const place = common ? `arena[launch.${name} + i]` : `arena[launch.${name} + own * ${size} + i]`;
  return loadAndStore(name, dtype, [`return ${fromWord(dtype, place)};`], `${place} = ${toWord(dtype, "x")};`, body);
}

function fromWord(dtype: ScalarType, word: string): string {
  const type = valueType(dtype);
  return type === "bool" ? `${word} != 0u` : `bitcast<${type}>(${word})`;
}

function toWord(dtype: ScalarType, value: string): string {
  return valueType(dtype) === "bool" ? `select(0u, 1u, ${value})` : `bitcast<u32>(${value})`;
}

/** Functions that read and write an array, as far as the body calls them. */
function loadAndStore(name: string, dtype: ScalarType, load: readonly string[], store: string, body: string): string[] {
  const type = valueType(dtype);
  return [
    ...(body.includes(`load_${name}(`)
      ? [`fn load_${name}(i: i32) -> ${type} {\n${load.map((line) => `  ${line}\n`).join("")}}`]
      : []),
    ...(body.includes(`store_${name}(`) ? [`fn store_${name}(i: i32, x: ${type}) {\n  ${store}\n}`] : []),
  ];
}

export function wordFunctions(text: string): string {
  const load = `fn word(space: u32, i: i32) -> u32 {
  var x: u32;
  switch space {
    case 0u: { x = arena[i]; }
    case 1u: { x = stores[i]; }
    case 2u: { x = stores_1[i]; }
    case 3u: { x = stores_2[i]; }
    case 4u: { x = stores_3[i]; }
    default: { x = caches[i]; }
  }
  return x;
}`;
  const store = `fn set_word(space: u32, i: i32, x: u32) {
  switch space {
    case 0u: { arena[i] = x; }
    case 1u: { stores[i] = x; }
    case 2u: { stores_1[i] = x; }
    case 3u: { stores_2[i] = x; }
    case 4u: { stores_3[i] = x; }
    default: { caches[i] = x; }
  }
}`;
  return [...(/\bword\(/.test(text) ? [load] : []), ...(text.includes("set_word(") ? [store] : [])].join("\n\n");
}
