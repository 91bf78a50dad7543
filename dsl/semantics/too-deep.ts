import type { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import type * as ast from "../syntax/ast.ts";

export const TOO_DEEP_HELP =
  "blocks, dims, functions or sections that each need the next one: only generated text does that";

/**
 * Runs a check that recurses along the definitions of the user's text. Where a chain of them is longer than the stack, that is
 * told at `name`, and the result is undefined.
 */
export function withinStack<T>(name: ast.Name, diagnostics: Diagnostics, run: () => T): T | undefined {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof RangeError) || !error.message.includes("call stack")) throw error;
    diagnostics.report("DSK2107", name.span, { name: name.text }, { help: TOO_DEEP_HELP });
    return undefined;
  }
}
