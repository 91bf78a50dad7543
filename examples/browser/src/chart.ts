/** The loss as a line: each step faint, and what it is on average lately. */

const [LEFT, RIGHT, TOP, BOTTOM] = [42, 14, 10, 24];

export class LossChart {
  readonly #into: HTMLElement;
  readonly #losses: number[] = [];

  constructor(into: HTMLElement) {
    this.#into = into;
    new ResizeObserver(() => this.#draw()).observe(into);
  }

  add(loss: number): void {
    this.#losses.push(loss);
    this.#draw();
  }

  clear(): void {
    this.#losses.length = 0;
    this.#draw();
  }

  #draw(): void {
    const { clientWidth: width, clientHeight: height } = this.#into;
    if (width === 0) return;
    const losses = this.#losses;
    const [least, most] = losses.length === 0 ? [0, 1] : [Math.min(...losses), Math.max(...losses)];
    const step = stepOf(Math.max(most - least, 0.05) / 4);
    const [low, high] = [
      Math.floor(least / step) * step,
      Math.max(Math.ceil(most / step), Math.floor(least / step) + 1) * step,
    ];
    const last = Math.max(losses.length, 10);
    const x = (i: number): number => LEFT + ((width - LEFT - RIGHT) * i) / (last - 1);
    const y = (loss: number): number => TOP + ((height - TOP - BOTTOM) * (high - loss)) / (high - low);
    const ticks = Array.from({ length: Math.round((high - low) / step) + 1 }, (_, i) => low + i * step);
    const digits = Math.max(0, Math.ceil(-Math.log10(step)));
    const rows = ticks.map((tick) => {
      const at = y(tick).toFixed(1);
      return `<line class="grid" x1="${LEFT}" x2="${width - RIGHT}" y1="${at}" y2="${at}"/><text x="${LEFT - 6}" y="${at}" dy="0.35em" text-anchor="end">${tick.toFixed(digits)}</text>`;
    });
    const every = Math.max(1, Math.round(stepOf(last / 6)));
    const columns = Array.from({ length: last }, (_, i) => i)
      .filter((i) => (i + 1) % every === 0)
      .map((i) => `<text x="${x(i).toFixed(1)}" y="${height - 6}" text-anchor="middle">${i + 1}</text>`);
    const path = (values: readonly number[]): string =>
      values.map((loss, i) => `${i === 0 ? "M" : "L"}${x(i).toFixed(1)} ${y(loss).toFixed(1)}`).join("");
    const smooth = smoothed(losses);
    const dot = smooth.length === 0 ? "" : `<circle cx="${x(smooth.length - 1)}" cy="${y(smooth.at(-1)!)}" r="3.5"/>`;
    this.#into.innerHTML = `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="Loss by step">${rows.join("")}${columns.join("")}<path class="raw" d="${path(losses)}"/><path class="smooth" d="${path(smooth)}"/>${dot}</svg>`;
  }
}

/** 1, 2 or 5 times a power of ten, at least as much. */
function stepOf(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999)!;
}

function smoothed(losses: readonly number[]): number[] {
  const values: number[] = [];
  for (const [i, loss] of losses.entries())
    values.push(i === 0 ? loss : values[i - 1]! + (loss - values[i - 1]!) * 0.5);
  return values;
}
