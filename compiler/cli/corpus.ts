/** `dskc corpus -o DIR`: English text that is on the machine already, as data for a training. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Command } from "commander";
import { findText, writeFoundText } from "../../runtime/data/found/find-text.ts";
import { installation } from "./installation.ts";
import { examples, InputError, positive, printJson, remark, writing } from "./io.ts";
import { bytesText, table } from "./text-table.ts";

interface Options {
  readonly out: string;
  readonly limit: number;
  readonly json?: boolean;
}

/** A model cannot learn to write from less. */
const LEAST = 500_000;

export function register(command: Command): void {
  command
    .requiredOption("-o, --out <dir>", "the folder to write `found.jsonl` into")
    .option("--limit <bytes>", "bytes of text that are enough", positive, 20_000_000)
    .option("--json", "print one JSON document about what was taken")
    .action(run);
  examples(
    command,
    ["dskc corpus -o corpus", 'documentation, licenses and manuals: `data = lines("corpus/*.jsonl")`'],
    ["dskc corpus -o corpus --limit 5e6", "5 MB of it"],
  );
}

function run({ out, limit, json }: Options): void {
  const packages = [join(installation(), "node_modules"), "/usr/lib/node_modules", "/usr/local/lib/node_modules"];
  const found = findText({ limit, packages: packages.filter((folder) => existsSync(folder)) });
  if (found.bytes < Math.min(LEAST, limit))
    throw new InputError(`this machine has ${bytesText(found.bytes)} of text only; name your own files in the spec`);
  writing(out, () => writeFoundText(out, found));
  const { report, bytes, documents } = found;
  if (json === true) return printJson({ bytes, documents: documents.length, places: report });
  const rows = report.map((row) => [row.place, `${row.documents} documents`, bytesText(row.bytes)]);
  remark(table([...rows, ["in all", `${documents.length} documents`, bytesText(bytes)]], ["left", "right", "right"]));
}
