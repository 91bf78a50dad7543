import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { StepEvent, ValidationEvent } from "../../../runtime/train/events.ts";
import { type Chart, drawChart } from "../../../runtime/train/report/chart.ts";
import { chartsOf } from "../../../runtime/train/report/charts.ts";
import { pageOf } from "../../../runtime/train/report/page.ts";
import { reportWriter } from "../../../runtime/train/report/report.ts";
import { EVENTS, START, stepEvent } from "../../support/train-events.ts";

const THEME = { text: "#000", muted: "#666", grid: "#eee", background: "#fff" };
const steps = EVENTS.filter((event): event is StepEvent => event.event === "step");
const validations = EVENTS.filter((event): event is ValidationEvent => event.event === "validation");

/** The points of the paths of a color. */
function pathsOf(svg: string, color: string): [number, number][][] {
  return [...svg.matchAll(new RegExp(`<path d="([^"]*)" fill="none" stroke="${color}"`, "g"))].map(([, d]) =>
    d!.split(/[ML]/).flatMap((pair) => (pair === "" ? [] : [pair.split(" ").map(Number) as [number, number]])),
  );
}

describe("a chart", () => {
  const chart: Chart = {
    id: "loss",
    title: "Loss <1>",
    x: "tokens",
    lines: [
      {
        name: "a",
        color: "#111",
        points: [
          [0, 1],
          [500, 3],
          [1000, 2],
        ],
      },
    ],
  };

  test("puts values where the axes say", () => {
    const svg = drawChart(chart, THEME, 720, 360);
    const [[first, high, last]] = pathsOf(svg, "#111") as [[[number, number], [number, number], [number, number]]];
    expect([first[0], high[0], last[0]]).toEqual([54, 379, 704]);
    // The axis has a margin of 4 % on both sides: 2 is in the middle.
    expect(last[1]).toBeCloseTo((330 + 46) / 2, 0);
    expect(high[1]).toBeLessThan(last[1]);
    expect(first[1]).toBeGreaterThan(last[1]);
    const ticks = [...svg.matchAll(/text-anchor="end" fill="#666" font-size="11">([^<]+)</g)].map(([, text]) => text);
    expect(ticks).toEqual(["1", "1.5", "2", "2.5", "3"]);
    expect(svg).toContain("Loss &lt;1&gt;");
  });

  test("with a point, without a spread or with gaps has no NaN in it", () => {
    for (const points of [
      [[5, 2]],
      [
        [0, 2],
        [1, 2],
      ],
      [
        [0, NaN],
        [1, 2],
        [2, NaN],
        [3, 1],
      ],
      [],
    ] as [number, number][][]) {
      const svg = drawChart({ ...chart, lines: [{ name: "a", color: "#111", points }] }, THEME, 720, 360);
      expect(svg).not.toContain("NaN");
    }
  });

  test("starts at 0 where it must", () => {
    const svg = drawChart({ ...chart, from: 0 }, THEME, 720, 360);
    expect(svg).toContain('text-anchor="end" fill="#666" font-size="11">0<');
  });
});

describe("the charts of a run", () => {
  const charts = new Map(chartsOf({ steps, validations }).map((chart) => [chart.id, chart]));

  test("are those of its metrics", () => {
    expect([...charts.keys()]).toEqual(["loss", "load", "lr", "speed", "terms", "gradient"]);
    expect(charts.get("loss")!.lines.map(({ name }) => name)).toEqual(["training", "training", "validation"]);
    expect(charts.get("loss")!.lines[2]!.points).toEqual([
      [0, 8],
      [409_600, 2.5],
    ]);
    const { lines } = charts.get("load")!;
    expect(lines.map(({ name }) => name)).toEqual(["trunk.1.ffn", "trunk.2.ffn", "mean", "worst layer"]);
    expect(lines[3]!.points.at(-1)![1]).toBeCloseTo(0.3, 9);
    expect(charts.get("terms")!.lines.map(({ name }) => name)).toEqual(["mtp", "mtp"]);
  });

  test("of a dense model have no load", () => {
    const { load_violation: routed, ...dense } = stepEvent(1);
    expect(routed).toBeDefined();
    expect(chartsOf({ steps: [dense], validations: [] }).map(({ id }) => id)).not.toContain("load");
  });

  test("have a bounded number of points, the last one at the end", () => {
    const many = Array.from({ length: 5000 }, (_, i) => stepEvent(i + 1));
    const [loss] = chartsOf({ steps: many, validations: [] });
    expect(loss!.lines[0]!.points).toHaveLength(400);
    expect(loss!.lines[0]!.points.at(-1)![0]).toBe(5000 * 4096);
  });

  test("are drawn by functions that refer to nothing outside of themselves: the page holds their source", () => {
    const alone = <T>(source: T): T => new Function(`return ${String(source)}`)() as T;
    const drawn = (charts: Chart[], draw: typeof drawChart): string[] => charts.map((c) => draw(c, THEME, 600, 300));
    expect(drawn(alone(chartsOf)({ steps, validations }), alone(drawChart))).toEqual(
      drawn([...charts.values()], drawChart),
    );
  });
});

describe("the page", () => {
  const status = { start: { ...START, name: "</script><b>" }, updated: "2026-01-01T00:00:00.000Z" };
  const page = pageOf(status, { steps, validations });

  test("holds its data, safe inside of a script", () => {
    const data = /<script type="application\/json" id="data">(.*)<\/script>/.exec(page)![1]!;
    const { status: found, curves } = JSON.parse(data) as { status: typeof status; curves: { steps: StepEvent[] } };
    expect(found).toEqual(status);
    expect(curves.steps).toHaveLength(101);
    expect(curves.steps[2]!.loss).toBe(5.2);
    expect(page.match(/<\/script>/g)).toHaveLength(2);
    expect(page).toContain("<title>&lt;/script>&lt;b> · Tiny</title>");
  });

  test("needs nothing from elsewhere", () => {
    const links = [...page.matchAll(/(?:src|href)="([^"]+)"|https?:\/\/[^"' )]+/g)].map(([link]) => link);
    expect(links).toEqual(['href="data:,"', "http://www.w3.org/2000/svg"]);
  });

  test("has a script that is one", () => {
    const script = page.slice(page.lastIndexOf("<script>") + "<script>".length, page.lastIndexOf("</script>"));
    expect(() => new Function(script)).not.toThrow();
  });
});

describe("reportWriter", () => {
  const folder = mkdtempSync(join(tmpdir(), "dskc-report-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  const files = {
    page: join(folder, "report.html"),
    status: join(folder, "status.json"),
    plots: join(folder, "plots"),
  };

  test("writes page, status and plots, and how the run ended", () => {
    const listen = reportWriter(files);
    for (const event of EVENTS) listen(event);
    expect(JSON.parse(readFileSync(files.status, "utf8"))).toMatchObject({ start: START });
    expect(readFileSync(files.page, "utf8")).not.toContain('"stop":{"event"');
    listen({ event: "stop", reason: "done", step: 101, time: "" });
    expect(JSON.parse(readFileSync(files.status, "utf8"))).toMatchObject({ stop: { reason: "done" } });
    expect(readFileSync(files.page, "utf8")).toContain('"stop":{"event":"stop","reason":"done"');
    expect(readdirSync(files.plots)).toEqual(
      ["gradient", "load", "loss", "lr", "speed", "terms"].map((n) => `${n}.svg`),
    );
    expect(readFileSync(join(files.plots, "loss.svg"), "utf8")).toMatch(
      /^<svg xmlns="http:\/\/www.w3.org\/2000\/svg" .*<\/svg>\n$/,
    );
  });

  test("does not stop a training when the disk refuses", () => {
    const listen = reportWriter({ ...files, page: join(folder, "none", "report.html") });
    expect(() => EVENTS.forEach(listen)).not.toThrow();
  });
});
