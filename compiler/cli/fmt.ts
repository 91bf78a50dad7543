/** `dskc fmt FILE...`: the one style. */
import type { Command } from "commander";
import { formatFile } from "../../dsl/format/format.ts";
import { Diagnostics } from "../diagnostics/diagnostic.ts";
import { examples, print, readSource, remark, writeText } from "./io.ts";
import { report } from "./report.ts";

interface Options {
  readonly check?: boolean;
}

export function register(command: Command): void {
  command
    .argument("<files...>", "specs to format; - reads stdin and prints")
    .option("--check", "write nothing; name the files that would change and exit with 1")
    .action(run);
  examples(
    command,
    ["dskc fmt specs/*.dsk", "format files in place"],
    ["dskc fmt --check specs/*.dsk", "for CI"],
    ["dskc fmt - < model.dsk", "for editors"],
  );
}

function run(files: readonly string[], { check }: Options): void {
  let changed = 0;
  for (const file of new Set(files)) {
    const diagnostics = new Diagnostics();
    const source = readSource(file);
    const text = formatFile(source, diagnostics);
    report(diagnostics.all);
    if (text === undefined) continue;
    if (file === "-" && check !== true) process.stdout.write(text);
    else if (text !== source.text) {
      changed++;
      if (check === true) print(source.path);
      else writeText(file, text);
    }
  }
  if (check === true && changed > 0) {
    remark(`${changed} ${changed === 1 ? "file is" : "files are"} not formatted; \`dskc fmt\` mends that`);
    process.exitCode = 1;
  }
}
