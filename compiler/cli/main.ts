/**
 * The command line `dskc`.
 *
 * To add a command: write `compiler/cli/NAME.ts` that exports `register(command: Command): void` (arguments, options,
 * `examples(command, ...)` and the action), and add a line to `COMMANDS` below. Only the module of the command that runs
 * is loaded, so its imports may be heavy. An action
 *
 * - prints data with `print` (stdout) and remarks with `remark` (stderr), both of `./io.ts`, and reads text files with
 *   `readSource`;
 * - sets `process.exitCode = 1` when the input has errors (`report` of `./report.ts` renders diagnostics and does so);
 * - throws `UsageError` for arguments that make no sense (exit 2) and `InputError` for input that cannot be used and has
 *   no diagnostic (exit 1). Everything else that is thrown is a fault of dskc (exit 70).
 *
 * With an option `--json` errors of the input are one JSON document on stdout as well, in the form of `dskc check`.
 */
import { statSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { Command, CommanderError } from "commander";
import { INTERNAL as INTERNAL_CODES } from "../diagnostics/codes/internal.ts";
import { InputError, remark, UsageError } from "./io.ts";
import { version } from "./installation.ts";
import { forPrograms, reportInput } from "./report.ts";

interface Entry {
  /**
   * True for commands that are done before optimized code pays, unless a file is large: without V8's optimizing compiler,
   * which takes its time on the other cores, `check` takes two thirds of the time.
   */
  readonly brief?: true;
  readonly summary: string;
  readonly load: () => Promise<{ readonly register: (command: Command) => void }>;
}

/** In the order of `dskc --help`. */
const COMMANDS: Readonly<Record<string, Entry>> = {
  init: { brief: true, summary: "write a spec to start from", load: () => import("./init.ts") },
  check: { brief: true, summary: "report all errors of specs", load: () => import("./check.ts") },
  fmt: { brief: true, summary: "bring specs into the one style", load: () => import("./fmt.ts") },
  inspect: {
    brief: true,
    summary: "tell what a model costs: params, FLOPs, cache",
    load: () => import("./inspect.ts"),
  },
  score: { summary: "logits, loss and gradients of rows of tokens", load: () => import("./score.ts") },
  import: { brief: true, summary: "turn a config.json of Hugging Face into a spec", load: () => import("./import.ts") },
  build: { summary: "generate kernels and a package, or print the forms on the way", load: () => import("./build.ts") },
  export: { summary: "write a model as a Hugging Face checkpoint", load: () => import("./export.ts") },
  train: { summary: "train a model as a train section says", load: () => import("./train.ts") },
  generate: { summary: "continue a text, or rows of tokens", load: () => import("./generate.ts") },
  serve: { summary: "serve a model with the HTTP API of OpenAI", load: () => import("./serve.ts") },
  corpus: { summary: "gather English text that is on the machine already", load: () => import("./corpus.ts") },
  bench: { summary: "measure a model on this machine", load: () => import("./bench.ts") },
  explain: { brief: true, summary: "tell the long story of a diagnostic", load: () => import("./explain.ts") },
  doctor: { brief: true, summary: "tell what this machine has of what dskc uses", load: () => import("./doctor.ts") },
};

const OK = 0;
const INPUT = 1;
const USAGE = 2;
const INTERNAL = 70;

/** Bytes of a file that optimized code pays for: some thousand lines. */
const LARGE = 200_000;

async function build(args: readonly string[]): Promise<Command> {
  const chosen = commandOf(args);
  const program = new Command("dskc")
    .description("Checks and compiles language models that are written as .dsk files.")
    .version(version(), "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    .showHelpAfterError("Run with --help for usage.")
    .configureHelp({ showGlobalOptions: false })
    .exitOverride();
  for (const [name, { brief, summary, load }] of Object.entries(COMMANDS)) {
    const command = program.command(name).description(summary).copyInheritedSettings(program);
    if (name !== chosen) continue;
    if (brief && !args.some(isLarge)) setFlagsFromString("--no-opt");
    (await load()).register(command);
    command.hook("preAction", () => {
      if (command.opts()["json"] === true) forPrograms();
    });
  }
  return program;
}

function isLarge(arg: string): boolean {
  try {
    return statSync(arg).size > LARGE;
  } catch {
    return false; // No file, or none that can be read: the command says so.
  }
}

/** The command among the arguments: the first that is no option, or the one that `help` is asked about. */
function commandOf(args: readonly string[]): string | undefined {
  const words = args.filter((arg) => !arg.startsWith("-"));
  return words[0] === "help" ? words[1] : words[0];
}

/** Runs the command line and returns the exit code. */
async function run(args: readonly string[]): Promise<number> {
  try {
    const program = await build(args);
    if (args.length === 0) program.help({ error: true });
    await program.parseAsync([...args], { from: "user" });
    return Number(process.exitCode ?? OK);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === OK ? OK : USAGE;
    if (error instanceof UsageError) {
      remark(`dskc: ${error.message}`);
      return USAGE;
    }
    if (error instanceof InputError) {
      reportInput(error);
      return INPUT;
    }
    const { name, message } = INTERNAL_CODES.DSK9001;
    const what = error instanceof Error ? error.message : String(error);
    remark(`error[DSK9001 ${name}]: ${message({ what })}`);
    remark("This is a fault of dskc, not of your spec. Please report it with the command and the spec.");
    const debug = (process.env["DSKC_DEBUG"] ?? "") !== "";
    remark(debug ? String(error instanceof Error ? error.stack : error) : "DSKC_DEBUG=1 shows where it happened.");
    return INTERNAL;
  }
}

/**
 * A reader that goes away (`dskc check | head`) is no error: nobody wants the rest of the data. Remarks that nobody reads end
 * nothing: a server goes on.
 */
function onClosedPipe(end: () => void): (error: NodeJS.ErrnoException) => void {
  return (error) => {
    if (error.code !== "EPIPE") throw error;
    end();
  };
}

process.stdout.on(
  "error",
  onClosedPipe(() => process.exit(process.exitCode ?? OK)),
);
process.stderr.on(
  "error",
  onClosedPipe(() => {}),
);
process.exitCode = await run(process.argv.slice(2));
