/** One line of a chart. */
export interface Line {
  readonly name: string;
  readonly color: string;
  /** In order of x. */
  readonly points: readonly (readonly [number, number])[];
  /** Behind the others, without a legend. */
  readonly faint?: boolean;
  /** Each point gets a dot. */
  readonly dots?: boolean;
}

export interface Chart {
  readonly id: string;
  readonly title: string;
  /** What x counts: `tokens`. */
  readonly x: string;
  readonly lines: readonly Line[];
  /** Where y must begin; without it where the values do. */
  readonly from?: number;
}

export interface Theme {
  readonly text: string;
  readonly muted: string;
  readonly grid: string;
  readonly background: string;
}

/**
 * A line chart as SVG. The function refers to nothing outside of itself: the page of a run holds its source and draws with
 * it in the browser.
 */
export function drawChart(chart: Chart, theme: Theme, width: number, height: number): string {
  const margin = { left: 54, right: 16, top: 46, bottom: 30 };
  const [left, right, top, bottom] = [margin.left, width - margin.right, margin.top, height - margin.bottom];
  const lines = chart.lines.filter(({ points }) => points.length > 0);
  const all = lines.flatMap(({ points }) => points).filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y));
  const spread = (values: number[], from?: number): [number, number] => {
    if (values.length === 0) return [0, 1];
    const least = from ?? values.reduce((a, b) => Math.min(a, b));
    const most = values.reduce((a, b) => Math.max(a, b));
    if (most > least) return [least, most];
    return from === undefined ? [least - Math.abs(least || 1) / 10, most + Math.abs(most || 1) / 10] : [from, from + 1];
  };
  const ticks = (from: number, to: number, count: number): number[] => {
    const rough = (to - from) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough) ?? 10 * power;
    const first = Math.ceil(from / step - 1e-9);
    const found: number[] = [];
    for (let k = first; k * step <= to + step * 1e-9; k++) found.push(k * step);
    return found;
  };
  const number = (value: number): string => {
    const size = Math.abs(value);
    if (size >= 1e3) {
      const power = Math.min(4, Math.floor(Math.log10(size) / 3 + 1e-9));
      return Number((value / 1000 ** power).toPrecision(4)) + ["", "k", "M", "G", "T"][power]!;
    }
    if (size > 0 && size < 1e-3) return value.toExponential(1).replace(".0e", "e");
    return String(Number(value.toPrecision(3)));
  };
  const escape = (text: string): string => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const [x0, x1] = spread(all.map(([x]) => x));
  const [low, high] = spread(
    all.map(([, y]) => y),
    chart.from,
  );
  const [y0, y1] = [chart.from ?? low - (high - low) * 0.04, high + (high - low) * 0.04];
  const px = (x: number): number => left + ((x - x0) / (x1 - x0)) * (right - left);
  const py = (y: number): number => bottom - ((y - y0) / (y1 - y0)) * (bottom - top);
  const at = (value: number): string => String(Math.round(value * 10) / 10);
  const text = (x: number, y: number, anchor: string, fill: string, size: number, content: string, more = ""): string =>
    `<text x="${at(x)}" y="${at(y)}" text-anchor="${anchor}" fill="${fill}" font-size="${size}"${more}>${escape(content)}</text>`;

  const out: string[] = [];
  for (const y of ticks(y0, y1, Math.max(2, Math.round((bottom - top) / 45)))) {
    out.push(`<path d="M${left} ${at(py(y))}H${right}" stroke="${theme.grid}"/>`);
    out.push(text(left - 8, py(y) + 4, "end", theme.muted, 11, number(y)));
  }
  for (const x of ticks(x0, x1, Math.max(2, Math.round((right - left) / 90)))) {
    out.push(text(px(x), bottom + 18, "middle", theme.muted, 11, number(x)));
  }
  out.push(`<path d="M${left} ${bottom}H${right}" stroke="${theme.muted}"/>`);
  for (const { points, color, faint, dots } of [...lines.filter((l) => l.faint), ...lines.filter((l) => !l.faint)]) {
    let path = "";
    let pen = "M";
    for (const [x, y] of points) {
      if (Number.isFinite(y)) path += `${pen}${at(px(x))} ${at(py(y))}`;
      pen = Number.isFinite(y) ? "L" : "M";
    }
    const stroke = faint ? `stroke-width="1" stroke-opacity="0.35"` : `stroke-width="1.8"`;
    out.push(`<path d="${path}" fill="none" stroke="${color}" ${stroke} stroke-linejoin="round"/>`);
    if (dots || points.length === 1)
      out.push(...points.map(([x, y]) => `<circle cx="${at(px(x))}" cy="${at(py(y))}" r="2.6" fill="${color}"/>`));
  }
  out.push(text(left, 20, "start", theme.text, 14, chart.title, ` font-weight="600"`));
  out.push(text(right, bottom + 18, "end", theme.muted, 11, chart.x, ` dy="10"`));
  let legend = left;
  for (const { name, color, points } of lines.filter((line) => !line.faint)) {
    const last = points.at(-1)![1];
    const label = `${name} ${number(last)}`;
    out.push(`<rect x="${at(legend)}" y="29" width="9" height="9" rx="2" fill="${color}"/>`);
    out.push(text(legend + 13, 37, "start", theme.muted, 11.5, label));
    legend += 13 + label.length * 6.4 + 14;
  }
  const font = `font-family="system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"`;
  const area = `data-left="${left}" data-right="${right}" data-top="${top}" data-bottom="${bottom}" data-x0="${x0}" data-x1="${x1}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" ${font} ${area}><rect width="${width}" height="${height}" fill="${theme.background}"/>${out.join("")}</svg>`;
}
