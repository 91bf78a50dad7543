import type { Attrs, AttrValue } from "./types.ts";

/*
 * Typed access to the attributes of an op. The verifier has checked their kinds before a pass or an interpreter reads
 * them, so a wrong kind here is a fault of the compiler and throws a plain `Error`.
 */

function wrongKind(key: string, value: AttrValue | undefined, kind: string): Error {
  return new Error(`attribute ${key} is ${JSON.stringify(value)}, not a ${kind}`);
}

export function stringAttr(attrs: Attrs, key: string): string {
  const value = attrs[key];
  if (typeof value !== "string") throw wrongKind(key, value, "string");
  return value;
}

export function numberAttr(attrs: Attrs, key: string): number {
  const value = attrs[key];
  if (typeof value !== "number") throw wrongKind(key, value, "number");
  return value;
}

export function booleanAttr(attrs: Attrs, key: string): boolean {
  const value = attrs[key];
  if (typeof value !== "boolean") throw wrongKind(key, value, "boolean");
  return value;
}

export function stringsAttr(attrs: Attrs, key: string): readonly string[] {
  const value = attrs[key];
  if (!isStrings(value)) throw wrongKind(key, value, "list of strings");
  return value;
}

export function isStrings(value: AttrValue | undefined): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}
