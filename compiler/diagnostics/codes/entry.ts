import type { Severity } from "../diagnostic.ts";

export interface CodeEntry<P> {
  /** Kebab-case, shown beside the code. */
  readonly name: string;
  readonly severity: Severity;
  /** One line, lower case, no full stop. */
  readonly message: (params: P) => string;
}

export function error<P>(name: string, message: (params: P) => string): CodeEntry<P> {
  return { name, severity: "error", message };
}

export function warning<P>(name: string, message: (params: P) => string): CodeEntry<P> {
  return { name, severity: "warning", message };
}

export function note<P>(name: string, message: (params: P) => string): CodeEntry<P> {
  return { name, severity: "note", message };
}
