// `npm start`: from a fresh clone to a model that was trained here and answers on http://127.0.0.1:8000. What is there
// already is not made again: a second run goes on where the first one ended.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = "quickstart";
const spec = join(folder, "quickstart.dsk");
const dskc = join(root, "bin", "dskc.js");

/** Runs a command in the repository, its output as it comes; ends when it fails. */
function run(what, command, ...args) {
  if (what !== "") process.stderr.write(`\n${what}\n`);
  const { status, signal } = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  if (status !== 0) process.exit(status ?? (signal === "SIGINT" ? 130 : 1));
}

process.chdir(root);
// Interrupts are for the command that runs: it saves what it has and says how it ended.
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => {});

if (!existsSync(join("node_modules", ".package-lock.json")) || !existsSync(join("dist", "dskc.js")))
  run("Installing", "npm", "ci", "--no-audit", "--no-fund");

mkdirSync(folder, { recursive: true });
if (!existsSync(spec)) copyFileSync(join("specs", "quickstart.dsk"), spec);
if (!existsSync(join(folder, "corpus", "found.jsonl")))
  run("Looking for text on this machine", process.execPath, dskc, "corpus", "-o", join(folder, "corpus"));

const weights = join(folder, "runs", "Pretrain");
run(
  `Training ${spec}; Ctrl-C saves, npm start goes on`,
  process.execPath,
  dskc,
  "train",
  spec,
  "-o",
  weights,
  "--resume",
);
run("Serving", process.execPath, dskc, "serve", spec);
