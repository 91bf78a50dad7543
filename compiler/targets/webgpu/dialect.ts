/** WGSL: what all kernels are printed with. */
import { widened } from "../../kernel-ir/expr.ts";
import type { Reduction, ScalarType } from "../../kernel-ir/types.ts";
import { Names } from "../scalars.ts";
import type { Dialect, Team } from "../simt/dialect.ts";
import type { Frame } from "../simt/frame.ts";
import { TILES } from "./tiles.ts";
import { folded, rounded, valueType, WGSL } from "./wgsl.ts";

export const WGSL_DIALECT: Dialect = {
  language: () => WGSL,
  names: (stores) => new Names(stores),
  threads: { row: () => 64, serial: 256, few: 64, plane: 64, planeRow: 16 },
  // The rest of the 32 KiB is for reductions and tiles.
  sharedWords: () => 6144,

  type: valueType,
  wide: (dtype) => (dtype === "f64" ? "f32" : widened(dtype)),
  fold: (reduction, dtype, a, b) => folded(reduction, valueType(dtype), a, b),
  together,
  select: (condition, yes, no) => `select(${no}, ${yes}, ${condition})`,
  before: (dtype, x, i, y, j) => `before_${valueType(dtype)}(${x}, ${i}, ${y}, ${j})`,
  count: (name, condition) => `${name} += select(0, 1, ${condition});`,

  variable: (name, dtype, value) =>
    value === undefined ? `var ${name}: ${valueType(dtype)};` : `var ${name} = ${value};`,
  array: (name, dtype, size) => `var ${name}: array<${valueType(dtype)}, ${size}>;`,
  shared,
  loop: (i, from, to, step) =>
    `for (var ${i} = ${from}; ${i} < ${to}; ${i}${step === undefined ? "++" : ` += ${step}`})`,
  longLoop: (i, from, to, step) => WGSL_DIALECT.loop(i, from, to, step),
  loopDown: (i, size) => `for (var ${i} = ${size} - 1; ${i} >= 0; ${i}--)`,
  barrier: (memory) => [
    ...(memory === "stored" ? [] : ["workgroupBarrier();"]),
    ...(memory === "shared" ? [] : ["storageBarrier();"]),
  ],
  teamBarrier: () => WGSL_DIALECT.barrier("both"),
  store: (store, offset, value) =>
    "access" in store
      ? `store_${store.name}(${offset}, ${value});`
      : `${store.name}[${offset}] = ${rounded(store.dtype, value)};`,
  uniform,

  thread: "i32(index)",
  group: "i32(group.x)",
  groups: "i32(groups.x)",
  item: "i32(group.y * groups.x + group.x)",
  given: (name) => `launch.${name}`,
  opening: (extents) => extents.map((extent) => `let ${extent} = launch.${extent};`),
  noItem: (item) => `${item} >= launch.items`,
  own: (index) => [`own = ${index};`],

  tiles: TILES,
};

function shared(name: string, dtype: ScalarType, size: number): string {
  return `var<workgroup> ${name}: array<${valueType(dtype)}, ${size}>;`;
}

/** Barriers must stand where all threads come by, which bounds that were read from memory do not show: one thread's are all threads'. */
function uniform(frame: Frame, name: string, local: string, compute: () => readonly string[]): readonly string[] {
  const { lines } = frame;
  lines.block("if (lane == 0)", () => {
    const values = compute();
    frame.share(name, `var<workgroup> ${name}: vec${values.length}<i32>;`);
    lines.add(`${name} = vec${values.length}<i32>(${values.join(", ")});`);
  });
  lines.add("// The same for all threads, as barriers want it.", `let ${local} = workgroupUniformLoad(&${name});`);
  return ["x", "y", "z"].map((part) => `${local}.${part}`);
}

/** The call of a function that folds the values of all threads. */
function together(frame: Frame, reduction: Reduction, dtype: ScalarType, value: string, team: Team): string {
  const { threads, group } = team;
  const type = valueType(dtype);
  const teams = group > threads;
  const name = `${reduction}_of_${teams ? "team" : "workgroup"}_${type}`;
  // In two steps, with few barriers: threads fold runs, then each folds what they found.
  const run = 2 ** Math.ceil(Math.log2(threads) / 2);
  const runs = threads / run;
  const lanes = frame.shared(`lanes_${type}`, dtype, group);
  const folds = frame.shared(`folds_${type}`, dtype, group / run);
  const fold = (term: string): string => folded(reduction, type, "all", term);
  const [lane, firstRun] = teams ? [`at % ${threads}`, `at / ${threads} * ${runs}`] : ["at", "0"];
  frame.once(
    name,
    `fn ${name}(x: ${type}, at: i32) -> ${type} {
  let lane = ${lane};
  let first = ${firstRun};
  workgroupBarrier();
  ${lanes}[at] = x;
  workgroupBarrier();
  if (lane < ${runs}) {
    var all = ${lanes}[(first + lane) * ${run}];
    for (var i = 1; i < ${run}; i++) {
      all = ${fold(`${lanes}[(first + lane) * ${run} + i]`)};
    }
    ${folds}[first + lane] = all;
  }
  workgroupBarrier();
  var all = ${folds}[first];
  for (var i = 1; i < ${runs}; i++) {
    all = ${fold(`${folds}[first + i]`)};
  }
  return all;
}`,
  );
  return `${name}(${value}, ${teams ? "i32(index)" : "lane"})`;
}
