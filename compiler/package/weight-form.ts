/** How weights and caches are stored, as sections and commands say it. */
import { callAt, numberOf } from "../../dsl/semantics/sections/look-up.ts";
import type { CheckedSection } from "../../dsl/semantics/sections/sections.ts";
import type { CacheForm, WeightForm } from "../lower/stored-weights.ts";

/** Groups where nobody says how long they are; a test compares them with the standard library. */
const GROUPS = { int8: 64, int4: 32 } as const;

/** The forms by name, as `--store` takes them. */
export const WEIGHT_FORMS = ["f32", "bf16", "int8", "int4"] as const;

/** `bf16`, `int8` or `int4:64`; undefined for anything else. */
export function parseWeightForm(text: string): WeightForm | undefined {
  const [, name, group] = /^([a-z0-9]+)(?::([1-9]\d{0,6}))?$/.exec(text) ?? [];
  const kind = WEIGHT_FORMS.find((form) => form === name);
  if (kind === "int8" || kind === "int4") return { kind, group: group === undefined ? GROUPS[kind] : Number(group) };
  return kind === undefined || group !== undefined ? undefined : { kind };
}

/** What floats may be in caches; `e4m3` would need scales. */
const CACHE_FORMS: readonly CacheForm[] = ["f32", "bf16", "f16"];

/** What is not stored as the model declares it. */
export interface StoredForms {
  readonly store: WeightForm | undefined;
  readonly caches: CacheForm | undefined;
}

/**
 * @param section a serve section, if there is one
 * @param store what a command says about weights, which goes before the section
 */
export function storedForms(section: CheckedSection | undefined, store?: WeightForm): StoredForms {
  if (section === undefined) return { store, caches: undefined };
  return { store: store ?? weightFormOf(section), caches: cacheFormOf(section) };
}

/** `int8 in groups of 64`, `bf16` */
export function weightFormText(form: WeightForm): string {
  return "group" in form ? `${form.kind} in groups of ${form.group}` : form.kind;
}

/** What the `dtype` of `kv` in a serve section says. */
function cacheFormOf({ entries }: CheckedSection): CacheForm | undefined {
  const dtype = callAt(entries, "kv")?.args.get("dtype");
  return dtype?.kind === "word" ? CACHE_FORMS.find((form) => form === dtype.name) : undefined;
}

/** What the entry `store` of a serve section says. */
function weightFormOf({ entries }: CheckedSection): WeightForm | undefined {
  const value = entries.get("store")?.value;
  if (value?.kind === "word") return parseWeightForm(value.name);
  if (value?.kind !== "call") return undefined;
  const kind = value.fn === "int8" ? "int8" : "int4";
  return { kind, group: numberOf(value.args.get("group")) ?? GROUPS[kind] };
}
