import type { StartEvent, StopEvent } from "../events.ts";
import { drawChart } from "./chart.ts";
import { chartsOf, type Curves } from "./charts.ts";

/** `status.json` of a run. */
export interface RunStatus {
  readonly start: StartEvent;
  /** Undefined while the run trains. */
  readonly stop?: StopEvent;
  /** When this was written. */
  readonly updated: string;
}

/**
 * The page of a run: one file with its data inside, so that it opens without a server. While the run trains it reads
 * `metrics.jsonl` and `status.json` beside it again and again; opened as a file it cannot, and loads itself again.
 */
export function pageOf(status: RunStatus, curves: Curves): string {
  const title = `${status.start.name} · ${status.start.model}`.replaceAll("<", "&lt;");
  const { steps, validations } = curves;
  const data = JSON.stringify({ status, curves: { steps, validations } }, short).replaceAll("<", "\\u003c");
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>${title}</title>
<style>${STYLE}</style>
</head>
<body>
<header>
  <div><h1 id="name"></h1><p id="what"></p></div>
  <span id="state"></span>
</header>
<div class="bar"><div id="done"></div></div>
<section id="numbers"></section>
<p id="message" hidden></p>
<main id="charts"></main>
<footer id="updated"></footer>
<div id="tip" hidden></div>
<script type="application/json" id="data">${data}</script>
<script>
const drawChart = ${drawChart.toString()};
const chartsOf = ${chartsOf.toString()};
${SCRIPT}
</script>
</body>
</html>
`;
}

/** Five digits are enough for curves. */
function short(_key: string, value: unknown): unknown {
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value;
}

const STYLE = `
:root { color-scheme: light dark; --text: #1c2430; --muted: #667085; --grid: #e8ebf0; --card: #ffffff; --page: #f4f6f9; --line: #dde2ea; --blue: #2f6fed; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6eaf0; --muted: #98a2b3; --grid: #2a313c; --card: #171c24; --page: #0f1319; --line: #2a313c; --blue: #5b8ff5; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 24px; max-width: 1280px; background: var(--page); color: var(--text); font: 15px/1.45 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
header { display: flex; justify-content: space-between; align-items: flex-start; gap: 16px; }
h1 { margin: 0; font-size: 24px; }
#what { margin: 2px 0 0; color: var(--muted); }
#state { padding: 4px 12px; border-radius: 999px; font-weight: 600; font-size: 13px; color: #fff; background: var(--blue); white-space: nowrap; }
#state.done { background: #2b9a66; }
#state.failed { background: #d6336c; }
#state.interrupted, #state.silent { background: #b7791f; }
.bar { height: 6px; margin: 16px 0; border-radius: 3px; background: var(--line); overflow: hidden; }
#done { height: 100%; width: 0; background: var(--blue); }
#numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 12px; margin-bottom: 16px; }
#numbers div { padding: 10px 14px; background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
#numbers b { display: block; font-size: 21px; font-variant-numeric: tabular-nums; }
#numbers span { color: var(--muted); font-size: 12.5px; }
#message { padding: 10px 14px; border: 1px solid #d6336c; border-radius: 10px; }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(480px, 100%), 1fr)); gap: 16px; }
figure { margin: 0; padding: 10px; background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
figure svg { display: block; width: 100%; height: auto; }
footer { margin-top: 14px; color: var(--muted); font-size: 12.5px; }
#tip { position: fixed; pointer-events: none; padding: 6px 10px; background: var(--card); border: 1px solid var(--line); border-radius: 8px; font-size: 12.5px; box-shadow: 0 4px 14px #0003; white-space: pre; font-variant-numeric: tabular-nums; }
`;

const SCRIPT = `
const byId = (id) => document.getElementById(id);
const { status: first, curves } = JSON.parse(byId("data").textContent);
let status = first;
let { steps, validations } = curves;
const whole = (x) => Math.round(x).toLocaleString("en-US");
const three = (x) => x >= 1e4 ? (x / 1000 ** Math.floor(Math.log10(x) / 3)).toPrecision(3) + " " + ["", "k", "M", "G", "T"][Math.floor(Math.log10(x) / 3)] : whole(x);
const duration = (s) => s < 60 ? Math.round(s) + " s" : s < 3600 ? Math.floor(s / 60) + ":" + String(Math.floor(s % 60)).padStart(2, "0") + " min" : Math.floor(s / 3600) + ":" + String(Math.floor(s % 3600 / 60)).padStart(2, "0") + " h";

function show() {
  const { start, stop, updated } = status;
  const last = steps.at(-1);
  byId("name").textContent = start.name;
  byId("what").textContent = start.model + ", " + three(start.params) + " parameters, on " + start.device + " · " + start.run;
  const silent = !stop && Date.now() - Date.parse(updated) > 120000 + 5000 * (last ? last.seconds : 0);
  const state = stop ? stop.reason : silent ? "silent" : "training";
  byId("state").textContent = { silent: "no news", done: "done", failed: "failed", interrupted: "interrupted", training: "training" }[state];
  byId("state").className = state;
  byId("message").hidden = !(stop && stop.message);
  byId("message").textContent = stop && stop.message ? stop.message : "";
  byId("updated").textContent = "as of " + new Date(updated).toLocaleString();
  byId("done").style.width = (last ? 100 * last.progress : 0) + "%";
  byId("numbers").replaceChildren(...numbers(last, stop).map(([name, value, note = ""]) => {
    const box = document.createElement("div");
    const [label, number, more] = ["span", "b", "span"].map((tag) => document.createElement(tag));
    label.textContent = name;
    number.textContent = value;
    more.textContent = note;
    box.append(label, number, more);
    return box;
  }));
  charts();
}

function numbers(last, stop) {
  if (!last) return [["step", "0"]];
  const recent = steps.slice(-20);
  const mean = (of) => recent.reduce((sum, event) => sum + of(event), 0) / recent.length;
  const checked = validations.at(-1);
  const rest = last.progress > 0 ? (1 - last.progress) * last.tokens / last.progress / mean((event) => event.tokens_per_second) : NaN;
  const { clock, value } = status.start.stop;
  return [
    ["step", whole(last.step), clock === "steps" ? "of " + whole(value) : (100 * last.progress).toFixed(1) + " %"],
    ["tokens", three(last.tokens), last.epochs.toFixed(2) + " epochs"],
    ["training loss", mean((event) => event.losses.next_token ?? event.loss).toFixed(3), "next token"],
    ...(checked ? [["validation loss", checked.loss.toFixed(3), "from " + validations[0].loss.toFixed(3)]] : []),
    ["tokens/s", three(mean((event) => event.tokens_per_second)), mean((event) => event.seconds).toPrecision(3) + " s a step"],
    ...(last.load_violation ? [["load violation", mean((event) => event.load_violation.mean).toFixed(2), "mean of " + Object.keys(last.load_violation.layers).length + " layers"]] : []),
    ...(stop ? [] : [["time left", Number.isFinite(rest) ? duration(rest) : "-", "to " + new Date(Date.now() + 1000 * rest).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })]]),
  ];
}

const THEME = { text: "var(--text)", muted: "var(--muted)", grid: "var(--grid)", background: "none" };
let drawn = [];

function charts() {
  drawn = chartsOf({ steps, validations });
  byId("charts").replaceChildren(...drawn.map((chart, i) => {
    const figure = document.createElement("figure");
    figure.innerHTML = drawChart(chart, THEME, 600, i < 2 ? 320 : 240);
    figure.onmousemove = (event) => hover(event, figure.firstChild, chart);
    figure.onmouseleave = () => { byId("tip").hidden = true; figure.querySelector(".cursor")?.remove(); };
    return figure;
  }));
}

function hover(event, svg, chart) {
  const { left, right, top, bottom, x0, x1 } = Object.fromEntries(Object.entries(svg.dataset).map(([key, value]) => [key, Number(value)]));
  const box = svg.getBoundingClientRect();
  const px = (event.clientX - box.left) * 600 / box.width;
  svg.querySelector(".cursor")?.remove();
  if (px < left || px > right) { byId("tip").hidden = true; return; }
  const x = x0 + (px - left) / (right - left) * (x1 - x0);
  const nearest = (points) => points.reduce((best, point) => Math.abs(point[0] - x) < Math.abs(best[0] - x) ? point : best);
  const lines = chart.lines.filter((line) => !line.faint && line.points.length > 0);
  svg.insertAdjacentHTML("beforeend", '<path class="cursor" d="M' + px + " " + top + "V" + bottom + '" stroke="var(--muted)" stroke-dasharray="3 3"/>');
  byId("tip").textContent = [three(x) + " tokens", ...lines.map((line) => line.name + "  " + Number(nearest(line.points)[1].toPrecision(4)))].join("\\n");
  byId("tip").hidden = false;
  const room = event.clientX + 200 > innerWidth ? -20 - byId("tip").offsetWidth : 16;
  byId("tip").style.left = event.clientX + room + "px";
  byId("tip").style.top = event.clientY + 12 + "px";
}

let read = 0;
let half = "";

/** Reads what was appended since the last time; all of it at first, or when the file became shorter: a run was resumed. */
async function more() {
  const answer = await fetch("metrics.jsonl", { cache: "no-store", headers: read > 0 ? { Range: "bytes=" + read + "-" } : {} });
  if (answer.status === 416) { read = 0; return; }
  if (!answer.ok) throw new Error(answer.statusText);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  if (answer.status !== 206) { read = 0; half = ""; steps = []; validations = []; }
  read += bytes.length;
  const lines = (half + new TextDecoder().decode(bytes)).split("\\n");
  half = lines.pop();
  for (const line of lines) {
    const event = JSON.parse(line);
    if (event.event === "step") steps.push(event);
    else validations.push(event);
  }
}

async function follow() {
  try {
    status = await (await fetch("status.json", { cache: "no-store" })).json();
    await more();
    show();
  } catch { /* The server is away for now. */ }
  if (!status.stop) setTimeout(follow, 3000);
}

show();
if (location.protocol.startsWith("http")) follow();
else if (!status.stop) setTimeout(() => location.reload(), 10000);
`;
