/** `dskc import DIR|config.json`: a Hugging Face configuration as a spec. */
import type { Command } from "commander";
import { importedSpec } from "./config-json.ts";
import { examples, print, writeText } from "./io.ts";

interface Options {
  readonly out?: string;
}

export function register(command: Command): void {
  command
    .argument("<config>", "a config.json, or the folder of a checkpoint that holds one")
    .option("-o, --out <file>", "the spec to write; printed without this")
    .action(run);
  examples(
    command,
    ["dskc import DeepSeek-V3/config.json", "print the spec of a model"],
    ["dskc import DeepSeek-V3 -o deepseek-v3.dsk", "write it"],
  );
}

function run(config: string, { out }: Options): void {
  const { text } = importedSpec(config);
  if (out === undefined) print(text);
  else writeText(out, text);
}
