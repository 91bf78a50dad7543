/** Which experts tokens go to, from scores: DeepSeek-V3 section 2.1.2, Eq. 12-16. */
import { type Case, F32_TOLERANCE, programOf } from "./case.ts";

interface Shape {
  readonly tokens: number;
  readonly experts: number;
  readonly groups: number;
  readonly kept: number;
  readonly slots: number;
}

/** Groups are ranked by their two best experts; the bias steers the choice, and is no part of the weights. */
const BODY = `
  %0 score: f32[T, E] = program.input {name = "score"}
  %1 bias: f32[E] = program.input {name = "bias"}
  %2 affinity: f32[T, E] = math.sigmoid %0
  %3: f32[T, E] = math.add %2, %1
  %4: f32[T, G, E/G] = tensor.split_dim %3 {dim = "E", into = ["G", "E/G"]}
  %5: i32[T, G, best] = tensor.top_k %4 {dim = "E/G", to = "best"}
  %6: f32[T, G, best] = tensor.gather %4, %5 {dim = "E/G"}
  %7: f32[T, G] = tensor.reduce %6 {kind = "sum"}
  %8: i32[T, keep] = tensor.top_k %7 {dim = "G", to = "keep"}
  %9: f32 = tensor.constant {value = 1}
  %10: f32[T, G] = tensor.scatter_add %9, %8 {dim = "G"}
  %11: f32 = tensor.constant {value = 0}
  %12: bool[T, G] = math.gt %10, %11
  %13: f32 = tensor.constant {value = -inf}
  %14: f32[T, G, E/G] = math.select %12, %4, %13
  %15: f32[T, E] = tensor.merge_dims %14 {dims = ["G", "E/G"], to = "E"}
  %16 chosen: i32[T, K] = tensor.top_k %15 {dim = "E", to = "K"}
  program.output %16 {name = "chosen"}
  %17: f32[T, K] = tensor.gather %2, %16 {dim = "E"}
  %18: f32[T] = tensor.reduce %17 {kind = "sum"}
  %19: f32 = tensor.constant {value = 1e-20}
  %20: f32[T] = math.add %18, %19
  %21: f32[T, K] = math.div %17, %20
  %22: f32 = tensor.constant {value = 2.5}
  %23 weight: f32[T, K] = math.mul %21, %22
  program.output %23 {name = "weight"}`;

function router({ tokens, experts, groups, kept, slots }: Shape): Case {
  const dims = { T: "?", E: experts, G: groups, "E/G": experts / groups, best: 2, keep: kept, K: slots } as const;
  return {
    name: `router/${tokens}x${experts}x${slots}`,
    program: programOf("score", dims, BODY),
    sizes: { T: tokens },
    flops: 0,
    bytes: tokens * (4 * experts + 8 * slots),
    limit: "memory",
    deviations: { bias: 0.1 },
    peer: { op: "router", groups, kept, slots },
    // Where two scores are equal but for the last bit, others choose another expert: few do, and means show more.
    tolerance: { ...F32_TOLERANCE, mean: 2e-2, worst: 10 },
  };
}

export function routerCases(tiny: boolean): Case[] {
  const shapes = tiny
    ? [{ tokens: 9, experts: 16, groups: 4, kept: 2, slots: 3 }]
    : [{ tokens: 8192, experts: 256, groups: 8, kept: 4, slots: 8 }];
  return shapes.map(router);
}
