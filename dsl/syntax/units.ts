/** What a unit measures: only quantities of one kind compare and add. */
export type UnitKind =
  | "tokens"
  | "steps"
  | "epochs"
  | "sequences"
  | "samples"
  | "nodes"
  | "gpus"
  | "sms"
  | "time"
  | "bytes"
  | "bandwidth"
  | "flops"
  | "frequency"
  | "ratio";

export interface Unit {
  readonly kind: UnitKind;
  /** How many of the kind's base unit (token, second, byte, byte per second, FLOP/s, hertz, one) it is. */
  readonly scale: number;
}

const [KI, MI, GI, TI] = [2 ** 10, 2 ** 20, 2 ** 30, 2 ** 40];

/** Every unit that may stand behind a number on its line. */
export const UNITS: Readonly<Record<string, Unit>> = {
  tokens: { kind: "tokens", scale: 1 },
  steps: { kind: "steps", scale: 1 },
  epochs: { kind: "epochs", scale: 1 },
  sequences: { kind: "sequences", scale: 1 },
  samples: { kind: "samples", scale: 1 },
  nodes: { kind: "nodes", scale: 1 },
  gpus: { kind: "gpus", scale: 1 },
  sms: { kind: "sms", scale: 1 },
  ns: { kind: "time", scale: 1e-9 },
  us: { kind: "time", scale: 1e-6 },
  ms: { kind: "time", scale: 1e-3 },
  s: { kind: "time", scale: 1 },
  min: { kind: "time", scale: 60 },
  h: { kind: "time", scale: 3_600 },
  days: { kind: "time", scale: 86_400 },
  B: { kind: "bytes", scale: 1 },
  KB: { kind: "bytes", scale: 1e3 },
  MB: { kind: "bytes", scale: 1e6 },
  GB: { kind: "bytes", scale: 1e9 },
  TB: { kind: "bytes", scale: 1e12 },
  KiB: { kind: "bytes", scale: KI },
  MiB: { kind: "bytes", scale: MI },
  GiB: { kind: "bytes", scale: GI },
  TiB: { kind: "bytes", scale: TI },
  "MB/s": { kind: "bandwidth", scale: 1e6 },
  "GB/s": { kind: "bandwidth", scale: 1e9 },
  "TB/s": { kind: "bandwidth", scale: 1e12 },
  "GiB/s": { kind: "bandwidth", scale: GI },
  "Gbit/s": { kind: "bandwidth", scale: 1e9 / 8 },
  "GFLOP/s": { kind: "flops", scale: 1e9 },
  "TFLOP/s": { kind: "flops", scale: 1e12 },
  "PFLOP/s": { kind: "flops", scale: 1e15 },
  MHz: { kind: "frequency", scale: 1e6 },
  GHz: { kind: "frequency", scale: 1e9 },
  "%": { kind: "ratio", scale: 0.01 },
};

/** Multipliers glued to a number: `4Ki`, `14.8T`. */
export const MULTIPLIERS: Readonly<Record<string, number>> = {
  K: 1e3,
  M: 1e6,
  B: 1e9,
  T: 1e12,
  Ki: KI,
  Mi: MI,
  Gi: GI,
  Ti: TI,
};
