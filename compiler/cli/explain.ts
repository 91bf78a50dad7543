/** `dskc explain DSK1203`: the page of a diagnostic. */
import type { Command } from "commander";
import { CODES } from "../diagnostics/codes.ts";
import { didYouMean } from "../diagnostics/did-you-mean.ts";
import { explain, findCode } from "../diagnostics/explain.ts";
import { join } from "node:path";
import { installation } from "./installation.ts";
import { examples, print, UsageError } from "./io.ts";

export function register(command: Command): void {
  command.argument("[code]", "a code or its name; without it, all of them are listed").action(run);
  examples(command, ["dskc explain DSK1203", "the story of a code"], ["dskc explain dim-mismatch", "the same"]);
}

function run(text: string | undefined): void {
  if (text === undefined) {
    for (const [code, { name, severity }] of Object.entries(CODES)) print(`${code}  ${severity.padEnd(7)}  ${name}`);
    return;
  }
  const code = findCode(text);
  if (code === undefined) {
    const help = didYouMean(text, [...Object.keys(CODES), ...Object.values(CODES).map((entry) => entry.name)]);
    throw new UsageError(`there is no diagnostic \`${text}\`${help === undefined ? "" : `; ${help}`}`);
  }
  print(explain(code, join(installation(), "docs", "errors")));
}
