import type { StepEvent, ValidationEvent } from "../events.ts";
import type { Chart } from "./chart.ts";

/** What is drawn of a run. */
export interface Curves {
  readonly steps: readonly StepEvent[];
  readonly validations: readonly ValidationEvent[];
}

/**
 * The charts of a run: loss, its terms, learning rate, load violation, speed, gradient. Like `drawChart` it refers to
 * nothing outside of itself.
 */
export function chartsOf({ steps, validations }: Curves): Chart[] {
  const colors = ["#2f6fed", "#e8590c", "#2b9a66", "#9b51e0", "#c2255c", "#0c8599", "#a68a00", "#5c677d"];
  const most = 400;
  type Point = [number, number];
  const series = (value: (event: StepEvent) => number | undefined): Point[] =>
    steps.map((event) => [event.tokens, value(event) ?? NaN]);
  /** Neighbors together, so that there are no more points than a chart can show. */
  const fewer = (points: Point[]): Point[] => {
    if (points.length <= most) return points;
    return Array.from({ length: most }, (_, i) => {
      const first = Math.floor((i * points.length) / most);
      const some = points.slice(first, Math.floor(((i + 1) * points.length) / most));
      return [some.at(-1)![0], some.reduce((sum, [, y]) => sum + y, 0) / some.length];
    });
  };
  /** The mean over about a fiftieth of the run before each point, over less where less went before: a fall is not delayed. */
  const smooth = (points: Point[]): Point[] => {
    const window = Math.min(points.length, most) / 50;
    let mean = NaN;
    return fewer(points).map(([x, y], i) => {
      const share = 1 / Math.max(1, Math.min(window, i / 6));
      if (Number.isFinite(y)) mean = Number.isFinite(mean) ? mean + share * (y - mean) : y;
      return [x, mean];
    });
  };
  const last = steps.at(-1);
  const charts: Chart[] = [];
  const add = (id: string, title: string, lines: Chart["lines"], from?: number): void => {
    if (lines.some(({ points }) => points.length > 0))
      charts.push({ id, title, x: "tokens", lines, ...(from === undefined ? {} : { from }) });
  };
  const withRaw = (name: string, color: string, points: Point[]): Chart["lines"] => [
    { name, color, points: fewer(points), faint: true },
    { name, color, points: smooth(points) },
  ];

  const nextToken = series(({ losses, loss }) => losses["next_token"] ?? loss);
  const checked = validations.map(({ tokens, loss }): Point => [tokens, loss]);
  add("loss", "Loss: next token", [
    ...withRaw("training", colors[0]!, nextToken),
    { name: "validation", color: colors[1]!, points: checked, dots: true },
  ]);
  const load = last?.load_violation;
  if (load !== undefined) {
    const layers = Object.keys(load.layers);
    const ofLayer = (name: string): Point[] => smooth(series(({ load_violation: l }) => l?.layers[name]));
    const few = layers.length <= 6;
    add(
      "load",
      "Expert load violation: (max - mean) / mean",
      [
        ...layers.map((name, i) => ({
          name,
          color: few ? colors[(i + 2) % colors.length]! : colors[7]!,
          points: ofLayer(name),
          faint: true,
        })),
        { name: "mean", color: colors[0]!, points: smooth(series(({ load_violation: l }) => l?.mean)) },
        {
          name: "worst layer",
          color: colors[1]!,
          points: smooth(series(({ load_violation: l }) => l && Math.max(...Object.values(l.layers)))),
        },
      ],
      0,
    );
  }
  add("lr", "Learning rate", [{ name: "lr", color: colors[0]!, points: fewer(series(({ lr }) => lr)) }], 0);
  add(
    "speed",
    "Speed",
    withRaw(
      "tokens/s",
      colors[2]!,
      series(({ tokens_per_second: speed }) => speed),
    ),
    0,
  );
  const terms = Object.keys(last?.losses ?? {}).filter((name) => name !== "next_token");
  add(
    "terms",
    "Other losses, without their weights",
    terms.flatMap((name, i) =>
      withRaw(
        name,
        colors[(i + 2) % colors.length]!,
        series(({ losses }) => losses[name]),
      ),
    ),
  );
  add(
    "gradient",
    "Norm of the gradient",
    withRaw(
      "gradient",
      colors[3]!,
      series(({ grad_norm: norm }) => norm),
    ),
    0,
  );
  return charts;
}
