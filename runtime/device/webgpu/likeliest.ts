/** The likeliest token of each row of logits, so that logits need not leave the device for greedy answers. */
import type { SimtKernel } from "../../program/grids.ts";

const THREADS = 64;

/** Logits f32[ROWS, V] from the word LOGITS on; one word for each row from CHOSEN on. */
export const LIKELIEST: SimtKernel = {
  name: "dskc_likeliest",
  args: [],
  writes: [],
  extents: ["ROWS", "V", "KNOWN", "LOGITS", "CHOSEN"],
  scratch: [],
  entries: [{ name: "main", workgroupSize: THREADS, workgroups: [{ of: ["ROWS"] }] }],
};

/** The lowest of equal tokens below KNOWN; -1 where a logit is NaN, or none is finite, as runtime/serve/sampling/choose.ts. */
export const LIKELIEST_WGSL = `
struct Launch {
  items: i32,
  items_before: i32,
  ROWS: i32,
  V: i32,
  KNOWN: i32,
  LOGITS: i32, // first words
  CHOSEN: i32,
}
@group(0) @binding(0) var<uniform> launch: Launch;
@group(0) @binding(1) var<storage, read_write> arena: array<u32>;

var<workgroup> bests: array<u32, ${THREADS}>;
var<workgroup> tokens: array<i32, ${THREADS}>;

// Larger floats are larger numbers; NaN, whatever its sign, is the largest.
fn key_of(bits: u32) -> u32 {
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return 0xffffffffu;
  }
  // 0 and -0 are equal.
  let own = select(bits, 0u, bits == 0x80000000u);
  return select(own | 0x80000000u, ~own, (own & 0x80000000u) != 0u);
}

const MINUS_INFINITY = 0x007fffffu;
const INFINITY = 0xff800000u;

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) index: u32) {
  let lane = i32(index);
  let row = i32(group.y * groups.x + group.x);
  if (row >= launch.items) {
    return;
  }
  var best = 0u;
  var token = -1;
  for (var i = lane; i < launch.KNOWN; i += ${THREADS}) {
    let key = key_of(arena[launch.LOGITS + row * launch.V + i]);
    if (key > best) {
      best = key;
      token = i;
    }
  }
  bests[lane] = best;
  tokens[lane] = token;
  for (var step = ${THREADS / 2}; step > 0; step /= 2) {
    workgroupBarrier();
    if (lane < step) {
      let other = lane + step;
      if (bests[other] > bests[lane] || (bests[other] == bests[lane] && tokens[other] < tokens[lane])) {
        bests[lane] = bests[other];
        tokens[lane] = tokens[other];
      }
    }
  }
  if (lane == 0) {
    let finite = bests[0] > MINUS_INFINITY && bests[0] < INFINITY;
    arena[launch.CHOSEN + row] = bitcast<u32>(select(-1, tokens[0], finite));
  }
}
`;
