import { fixed } from "../../emit/templates.ts";

let library: ReadonlyMap<string, string> | undefined;

/** The functions of templates/webgpu/math.wgsl that a text calls, and those that they call. */
export function called(text: string): string[] {
  library ??= parsed(fixed("webgpu/math.wgsl"));
  const wanted = new Set<string>();
  const visit = (source: string): void => {
    for (const [name, inner] of library!) {
      if (wanted.has(name) || !new RegExp(`\\b${name}\\b`).test(source)) continue;
      wanted.add(name);
      visit(inner);
    }
  };
  visit(text);
  return [...library].flatMap(([name, inner]) => (wanted.has(name) ? [inner] : []));
}

/** Globals and functions by name. */
function parsed(source: string): Map<string, string> {
  const parts = source.split("\n\n").map((part) => part.trim());
  const found = new Map<string, string>();
  for (const part of parts) {
    // Globals on lines of their own come before functions.
    for (const [line, name] of part.matchAll(/^var<private> (\w+).*$/gm)) found.set(name!, line);
    const name = /^fn (\w+)/m.exec(part)?.[1];
    if (name !== undefined) found.set(name, part);
  }
  return found;
}
