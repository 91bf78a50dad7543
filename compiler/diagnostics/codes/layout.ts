import { error } from "./entry.ts";

/** Area 3: layout and memory. */
export const LAYOUT = {
  DSK3001: error(
    "axes-mismatch",
    (p: { axes: string; product: number; gpus: number }) => `${p.axes} is ${p.product}, the mesh has ${p.gpus} GPUs`,
  ),
  DSK3002: error("second-rest", () => `only one axis can be the rest`),
  DSK3003: error("unknown-axis", (p: { name: string }) => `the layout has no axis \`${p.name}\``),
  DSK3004: error(
    "route-too-wide",
    (p: { route: string; of: string }) => `${p.route} are more than the experts lie on: ${p.of}`,
  ),
  DSK3005: error(
    "experts-do-not-divide",
    (p: { experts: number; ep: number }) => `${p.experts} experts do not divide over ep = ${p.ep}`,
  ),
  DSK3006: error(
    "too-many-stages",
    (p: { stages: number; layers: number }) => `${p.stages} pipeline stages for ${p.layers} layers`,
  ),
  DSK3007: error(
    "pipeline-needs",
    (p: { pipeline: string; needs: string; found: string }) => `${p.pipeline} needs ${p.needs}; ${p.found}`,
  ),
  DSK3008: error(
    "batch-does-not-divide",
    (p: { batch: number; over: string; by: number }) =>
      `a batch of ${p.batch} sequences does not divide over ${p.over} = ${p.by}`,
  ),
  DSK3009: error("uneven-mesh", (p: { what: string }) => `a mesh is nodes times GPUs: ${p.what}`),
};
