/** Numbers as people read them. */

const UNITS = ["", " k", " M", " G", " T"];

/** Three digits and a unit: `4,096`, `18.2 k`, `5.15 M`. */
export function countText(value: number): string {
  if (value < 10_000) return Math.round(value).toLocaleString("en-US");
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log10(value) / 3));
  const scaled = value / 1000 ** power;
  return `${scaled.toPrecision(3)}${UNITS[power]!}`;
}

/** Four digits at most: `3.412`, `0.0123`, `9.71e-4`. */
export function valueText(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e5)
    return value
      .toExponential(2)
      .replace(/\.?0+e/, "e")
      .replace("e+", "e");
  return String(Number(value.toPrecision(4)));
}

/** `0.2 s`, `42 s`, `4:07 min`, `2:07 h`, `3.2 days`. */
export function durationText(seconds: number): string {
  if (!Number.isFinite(seconds)) return "-";
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const two = (value: number): string => String(value).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)}:${two(whole % 60)} min`;
  if (whole < 172_800) return `${Math.floor(whole / 3600)}:${two(Math.floor((whole % 3600) / 60))} h`;
  return `${(whole / 86_400).toFixed(1)} days`;
}

/** `61.8 MB`. */
export function bytesText(bytes: number): string {
  return bytes < 10_000 ? `${bytes} B` : `${countText(bytes)}B`;
}

const EIGHTHS = "▁▂▃▄▅▆▇█";

/** A character for a value from 0 to 1: its height. */
export function heightText(share: number): string {
  return EIGHTHS[Math.min(7, Math.max(0, Math.floor(share * 8)))]!;
}

/** A curve of at most `width` characters; neighbors are averaged. */
export function sparkline(values: readonly number[], width: number): string {
  const points = averaged(values.filter(Number.isFinite), width);
  const [least, most] = [Math.min(...points), Math.max(...points)];
  return points.map((value) => heightText(most === least ? 0.5 : (value - least) / (most - least))).join("");
}

/** At most `count` values, each the mean of its neighbors. */
export function averaged(values: readonly number[], count: number): number[] {
  if (values.length <= count) return [...values];
  return Array.from({ length: count }, (_, i) => {
    const from = Math.floor((i * values.length) / count);
    const some = values.slice(from, Math.floor(((i + 1) * values.length) / count));
    return some.reduce((a, b) => a + b, 0) / some.length;
  });
}

/** `━━━━━╸` and `──────`: the share of the width that is done. Told apart without colors as well. */
export function progressBar(share: number, width: number): { readonly done: string; readonly left: string } {
  const halves = Math.round(Math.min(1, Math.max(0, share)) * width * 2);
  const done = "━".repeat(Math.floor(halves / 2)) + (halves % 2 === 1 ? "╸" : "");
  return { done, left: "─".repeat(width - done.length) };
}
