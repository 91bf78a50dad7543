/** What `dskc bench` prints for people. */
import { bytesText, rateText, table } from "../text-table.ts";
import type { AnswersRow } from "./answers.ts";
import type { KernelsReport } from "./kernels.ts";
import type { Machine } from "./machine.ts";
import type { Spread } from "./statistics.ts";
import type { TrainReport } from "./train.ts";

/** Kernels that the table shows. */
const SHOWN = 25;

function machineText({ variant, threads, flops, read }: Machine): string {
  const bandwidth = `${rateText(read.bytesPerSecond, "B/s")} reading ${bytesText(read.bytes)}`;
  const by = threads === undefined ? "" : `${threads} thread${threads === 1 ? "" : "s"}, `;
  return `this machine: ${variant}, ${by}${rateText(flops, "FLOP/s")}, ${bandwidth}`;
}

export function kernelsText(report: KernelsReport): string {
  const { machine, program, tokens, milliseconds, tokensPerSecond, calls, kernels } = report;
  const rest = kernels.slice(SHOWN);
  const all = kernels.reduce((sum, row) => sum + row.milliseconds, 0);
  const head = ["kernel", "family", "launches", "ms", "time", "work", "memory", "peak", "bound by"];
  const rows = kernels
    .slice(0, SHOWN)
    .map((row) => [
      row.kernel,
      row.family,
      String(row.launches),
      row.milliseconds.toFixed(3),
      percent(row.shareOfTime),
      rateText((1000 * row.flops) / row.milliseconds, "FLOP/s"),
      rateText((1000 * row.bytes) / row.milliseconds, "B/s"),
      percent(row.shareOfPeak),
      row.bound,
    ]);
  const others = rest.reduce((sum, row) => sum + row.milliseconds, 0);
  return [
    machineText(machine),
    `${program}: ${tokens} tokens in ${milliseconds.toFixed(2)} ms (median of ${calls} calls), ${tokensPerSecond.toFixed(0)} tokens/s; kernels ${all.toFixed(2)} ms`,
    "",
    table([head, ...rows], ["left", "left", "right", "right", "right", "right", "right", "right", "left"]),
    ...(rest.length === 0 ? [] : [`and ${rest.length} more kernels: ${others.toFixed(3)} ms`]),
    "",
    "peak: the least time that the operations, or the bytes read and written once, take on this machine, of the time",
    "that the kernel took",
  ].join("\n");
}

export function trainText(report: TrainReport): string {
  const { machine, section, sequences, length, tokens, seconds, tokensPerSecond, flops, shareOfPeak } = report;
  const rows = [
    ["step", `${sequences} sequences of ${length}: ${tokens} tokens`],
    ["time", `${spreadText(seconds)}, ${seconds.count} steps`],
    ["speed", `${tokensPerSecond.toFixed(0)} tokens/s`],
    ["work", `${rateText(flops, "FLOP")} a step, ${percent(shareOfPeak)} of the peak`],
    ["memory", `${bytesText(report.storeBytes)} of weights and states, ${bytesText(report.arenaBytes)} beside them`],
  ];
  return [machineText(machine), `training ${section}`, "", table(rows, ["left", "left"])].join("\n");
}

export function answersText(machine: Machine, answers: readonly AnswersRow[]): string {
  const head = [
    "answers",
    "prompt",
    "tokens",
    "first token",
    "p99",
    "next token",
    "p99",
    "tokens/s",
    "prompt tokens/s",
  ];
  const rows = answers.map((row) => [
    String(row.streams),
    String(row.promptTokens),
    String(row.answerTokens),
    timeText(row.firstToken.median),
    timeText(row.firstToken.p99),
    timeText(row.nextToken.median),
    timeText(row.nextToken.p99),
    row.tokensPerSecond.toFixed(0),
    row.promptTokensPerSecond.toFixed(0),
  ]);
  const right = head.map(() => "right" as const);
  return [machineText(machine), "", table([head, ...rows], right)].join("\n");
}

function spreadText({ median, p99 }: Spread): string {
  return `${timeText(median)} median, ${timeText(p99)} p99`;
}

function timeText(seconds: number): string {
  return seconds < 1 ? `${(1000 * seconds).toFixed(2)} ms` : `${seconds.toFixed(2)} s`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
