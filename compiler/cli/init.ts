/** `dskc init [DIR]`: a spec to start from. */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { installation } from "./installation.ts";
import { examples, InputError, readSource, remark, writeText, writing } from "./io.ts";

const NAME = "model.dsk";

export function register(command: Command): void {
  command.argument("[dir]", "the folder to write it to; it is made when there is none", ".").action(run);
  examples(command, ["dskc init", "write model.dsk here"], ["dskc init tiny", "write tiny/model.dsk"]);
}

function run(dir: string): void {
  const path = join(dir, NAME);
  if (existsSync(path)) throw new InputError(`\`${path}\` is there already`);
  writing(dir, () => mkdirSync(dir, { recursive: true }));
  writeText(path, readSource(join(installation(), "dsl", "start", NAME)).text);
  remark(`wrote \`${path}\`; next: \`dskc check ${path}\`, \`dskc inspect ${path}\``);
}
