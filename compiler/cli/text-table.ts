/** How commands print numbers and tables. */

/** `671_026_404_352` */
export function countText(value: number): string {
  return `${value}`.replace(/\B(?=(\d{3})+$)/g, "_");
}

/** With a decimal prefix and four digits: `671.0 B` of params, `37.55 B`. */
export function scaled(value: number): string {
  return withPrefix(value, 1000, ["", "K", "M", "B", "T", "Q"], "");
}

/** With a decimal prefix of SI, for what happens in a second: `337.5 GFLOP/s`. */
export function rateText(value: number, unit: string): string {
  return withPrefix(value, 1000, ["", "k", "M", "G", "T", "P"], unit);
}

/** In units of 1024: `1.220 TiB`. */
export function bytesText(value: number): string {
  return withPrefix(value, 1024, ["", "Ki", "Mi", "Gi", "Ti", "Pi"], "B");
}

function withPrefix(value: number, base: number, prefixes: readonly string[], unit: string): string {
  let [scale, index] = [1, 0];
  while (Math.abs(value) / scale >= base && index + 1 < prefixes.length) {
    scale *= base;
    index++;
  }
  const number = index === 0 ? `${Number(value.toPrecision(4))}` : (value / scale).toPrecision(4);
  const suffix = `${prefixes[index]}${unit}`;
  return suffix === "" ? number : `${number} ${suffix}`;
}

/** Cells in columns, two spaces between them. */
export function table(rows: readonly (readonly string[])[], align: readonly ("left" | "right")[]): string {
  const widths = align.map((_, column) => rows.reduce((most, row) => Math.max(most, row[column]!.length), 0));
  return rows
    .map((row) =>
      row
        .map((cell, column) =>
          align[column] === "left" ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
        )
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
