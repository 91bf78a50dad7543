// gemm_gate_up_2: gemm
// of SwiGlu
//   read chosen: i32[T, 3]
//   read x: f32[T, 64]
//   read gate: f32[8, 64, 16]
//   read up: f32[8, 64, 16]
//   write x_2: f32[T, 3, 16]

struct Launch {
  items: i32, // what there is to do, one for a workgroup at a time
  items_before: i32, // the same of the entry point that runs before
  T: i32,
  chosen: i32, // its first word
  x: i32, // its first word
  gate: i32, // its first word
  up: i32, // its first word
  x_2: i32, // its first word
  order: i32, // its first word
  starts: i32, // its first word
  counts: i32, // its first word
}
@group(0) @binding(0) var<uniform> launch: Launch;
@group(0) @binding(1) var<storage, read_write> arena: array<u32>;
@group(0) @binding(2) var<storage, read_write> stores: array<u32>;
@group(0) @binding(3) var<storage, read_write> caches: array<u32>;
@group(0) @binding(4) var<storage, read_write> stores_1: array<u32>;
@group(0) @binding(5) var<storage, read_write> stores_2: array<u32>;
@group(0) @binding(6) var<storage, read_write> stores_3: array<u32>;

override chosen_space: u32 = 0u;
override x_space: u32 = 0u;
override gate_space: u32 = 0u;
override up_space: u32 = 0u;
override x_2_space: u32 = 0u;

var<workgroup> part_sums: array<i32, 128>;
var<workgroup> tile_a: array<vec4<f32>, 512>;
var<workgroup> tile_b: array<vec4<f32>, 512>;
var<workgroup> found: vec3<i32>;

fn word(space: u32, i: i32) -> u32 {
  var x: u32;
  switch space {
    case 0u: { x = arena[i]; }
    case 1u: { x = stores[i]; }
    case 2u: { x = stores_1[i]; }
    case 3u: { x = stores_2[i]; }
    case 4u: { x = stores_3[i]; }
    default: { x = caches[i]; }
  }
  return x;
}

fn set_word(space: u32, i: i32, x: u32) {
  switch space {
    case 0u: { arena[i] = x; }
    case 1u: { stores[i] = x; }
    case 2u: { stores_1[i] = x; }
    case 3u: { stores_2[i] = x; }
    case 4u: { stores_3[i] = x; }
    default: { caches[i] = x; }
  }
}

fn load_chosen(i: i32) -> i32 {
  return bitcast<i32>(word(chosen_space, launch.chosen + i));
}

fn load_x(i: i32) -> f32 {
  return bitcast<f32>(word(x_space, launch.x + i));
}

fn load_gate(i: i32) -> f32 {
  return bitcast<f32>(word(gate_space, launch.gate + i));
}

fn load_up(i: i32) -> f32 {
  return bitcast<f32>(word(up_space, launch.up + i));
}

fn store_x_2(i: i32, x: f32) {
  set_word(x_2_space, launch.x_2 + i, bitcast<u32>(x));
}

fn load_order(i: i32) -> i32 {
  return bitcast<i32>(arena[launch.order + i]);
}

fn store_order(i: i32, x: i32) {
  arena[launch.order + i] = bitcast<u32>(x);
}

fn load_starts(i: i32) -> i32 {
  return bitcast<i32>(arena[launch.starts + i]);
}

fn store_starts(i: i32, x: i32) {
  arena[launch.starts + i] = bitcast<u32>(x);
}

fn load_counts(i: i32) -> i32 {
  return bitcast<i32>(arena[launch.counts + i]);
}

fn store_counts(i: i32, x: i32) {
  arena[launch.counts + i] = bitcast<u32>(x);
}

fn sigmoid(x: f32) -> f32 {
  return 1.0 / (1.0 + exp(-x));
}

fn silu(x: f32) -> f32 {
  return x * sigmoid(x);
}

fn a0(batch: i32, m_: i32, k_: i32) -> f32 {
  let T = launch.T;
  let m = clamp(m_, 0, T * 3 - 1);
  let k = k_;
  let i_K = m % 3;
  let i_T = m / 3;
  let i_D = k;
  return select(load_x(i_T * 64 + i_D), 0.0, (load_chosen(i_T * 3 + i_K) < 0));
}

fn b0(batch: i32, n_: i32, k_: i32, i_E: i32) -> f32 {
  let T = launch.T;
  let n = clamp(n_, 0, 16 - 1);
  let k = k_;
  let i_F_2 = n;
  let i_D = k;
  return load_gate(i_E * 1024 + i_D * 16 + i_F_2);
}

fn a1(batch: i32, m_: i32, k_: i32) -> f32 {
  let T = launch.T;
  let m = clamp(m_, 0, T * 3 - 1);
  let k = k_;
  let i_K = m % 3;
  let i_T = m / 3;
  let i_D = k;
  return select(load_x(i_T * 64 + i_D), 0.0, (load_chosen(i_T * 3 + i_K) < 0));
}

fn b1(batch: i32, n_: i32, k_: i32, i_E: i32) -> f32 {
  let T = launch.T;
  let n = clamp(n_, 0, 16 - 1);
  let k = k_;
  let i_F_2 = n;
  let i_D = k;
  return load_up(i_E * 1024 + i_D * 16 + i_F_2);
}

fn group_of(m: i32) -> i32 {
  let T = launch.T;
  let i_K = m % 3;
  let i_T = m / 3;
  return load_chosen(i_T * 3 + i_K);
}

fn finish(batch: i32, m: i32, n: i32, product: f32, product_2: f32) {
  let T = launch.T;
  if ((m >= 0) & (m < T * 3) & (n < 16)) {
    let i_K = m % 3;
    let i_T = m / 3;
    let i_F_2 = n;
    store_x_2(i_T * 48 + i_K * 16 + i_F_2, (silu(product) * product_2));
  }
}

fn sorted_group(i: i32) -> i32 {
  let own = group_of(i);
  return select(own, 8, (own < 0) | (own > 8));
}

fn tiles_of(expert: i32) -> i32 {
  return (load_starts(expert + 1) - load_starts(expert) + 63) / 64;
}

@compute @workgroup_size(64)
fn few(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
       @builtin(local_invocation_index) index: u32) {
  let lane = i32(index);
  let T = launch.T;
  let item = i32(group.y * groups.x + group.x);
  if (item >= launch.items) {
    return;
  }
  let blocks = (16 + 63) / 64;
  let n = item % blocks * 64 + lane;
  let m = item / blocks % (T * 3);
  let batch = item / blocks / (T * 3);
  let expert = group_of(m);
  let i_K = m % 3;
  let i_T = m / 3;
  let own_n = min(n, 16 - 1);
  let i_F_2 = own_n;
  let i_E = expert;
  var sum0 = 0.0;
  var sum1 = 0.0;
  if (expert >= 0 && expert < 8) {
    for (var k = 0; k < 64; k++) {
      let i_D = k;
      let a = select(load_x(i_T * 64 + i_D), 0.0, (load_chosen(i_T * 3 + i_K) < 0));
      sum0 += a * load_gate(i_E * 1024 + i_D * 16 + i_F_2);
      sum1 += a * load_up(i_E * 1024 + i_D * 16 + i_F_2);
    }
  }
  if (n < 16) {
    finish(batch, m, n, sum0, sum1);
  }
}

@compute @workgroup_size(128)
fn sort(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) index: u32) {
  let lane = i32(index);
  let T = launch.T;
  // Each thread counts a run of rows of its own.
  let each = (T * 3 + 127) / 128;
  let begin = lane * each;
  let end = min(begin + each, T * 3);
  for (var e = 0; e < 9; e++) {
    store_counts(e * 128 + lane, 0);
  }
  for (var i = begin; i < end; i++) {
    let at = sorted_group(i) * 128 + lane;
    store_counts(at, load_counts(at) + 1);
  }
  storageBarrier();
  // Where each group begins, and in it each thread's rows: a running sum over 9 x 128 counts.
  var sum = 0;
  for (var c = 0; c < 9; c++) {
    sum += load_counts(lane * 9 + c);
  }
  part_sums[lane] = sum;
  workgroupBarrier();
  var at = 0;
  for (var other = 0; other < lane; other++) {
    at += part_sums[other];
  }
  for (var c = lane * 9; c < (lane + 1) * 9; c++) {
    let here = load_counts(c);
    store_counts(c, at);
    if (c % 128 == 0) {
      store_starts(c / 128, at);
    }
    at += here;
  }
  if (lane == 0) {
    store_starts(9, T * 3);
  }
  storageBarrier();
  for (var i = begin; i < end; i++) {
    let next = sorted_group(i) * 128 + lane;
    let place = load_counts(next);
    store_order(place, i);
    store_counts(next, place + 1);
  }
}

@compute @workgroup_size(128)
fn tile(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) index: u32) {
  let lane = i32(index);
  let T = launch.T;
  let item = i32(group.y * groups.x + group.x);
  if (item >= launch.items) {
    return;
  }
  let first_n = item % ((16 + 63) / 64) * 64;
  let row = item / ((16 + 63) / 64) % ((T * 3 + 63) / 64 + 8);
  let batch = item / ((16 + 63) / 64) / ((T * 3 + 63) / 64 + 8);
  let own_m = lane / 8 * 4;
  let own_n = lane % 8 * 8;
  let quad_m = own_m / 4;
  let quad_n = own_n / 4;
  if (lane == 0) {
    var expert = 0;
    var tile = row;
    while (expert < 8 && tile >= tiles_of(expert)) {
      tile -= tiles_of(expert);
      expert++;
    }
    found = vec3<i32>(expert, load_starts(expert) + tile * 64, load_starts(expert + 1));
  }
  // The same for all threads, as barriers want it.
  let here = workgroupUniformLoad(&found);
  let expert = here.x;
  let first_row = here.y;
  let end_row = here.z;
  if (first_row >= end_row) {
    return;
  }
  var p0_0 = vec4<f32>();
  var q0_0 = vec4<f32>();
  var p0_1 = vec4<f32>();
  var q0_1 = vec4<f32>();
  var p0_2 = vec4<f32>();
  var q0_2 = vec4<f32>();
  var p0_3 = vec4<f32>();
  var q0_3 = vec4<f32>();
  var p1_0 = vec4<f32>();
  var q1_0 = vec4<f32>();
  var p1_1 = vec4<f32>();
  var q1_1 = vec4<f32>();
  var p1_2 = vec4<f32>();
  var q1_2 = vec4<f32>();
  var p1_3 = vec4<f32>();
  var q1_3 = vec4<f32>();
  if (expert < 8) {
    for (var first = 0; first < 64; first += 32) {
      workgroupBarrier();
      for (var i = lane; i < 512; i += 128) {
        let k = i % 32;
        let quad = i / 32;
        let at = first + k;
        tile_a[k * 16 + quad] = vec4<f32>(a0(batch, select(-1, load_order(first_row + quad * 4 + 0), first_row + quad * 4 + 0 < end_row), at), a0(batch, select(-1, load_order(first_row + quad * 4 + 1), first_row + quad * 4 + 1 < end_row), at), a0(batch, select(-1, load_order(first_row + quad * 4 + 2), first_row + quad * 4 + 2 < end_row), at), a0(batch, select(-1, load_order(first_row + quad * 4 + 3), first_row + quad * 4 + 3 < end_row), at));
      }
      for (var i = lane; i < 512; i += 128) {
        let k = i / 16;
        let quad = i % 16;
        let at = first + k;
        tile_b[k * 16 + quad] = vec4<f32>(b0(batch, first_n + quad * 4 + 0, at, expert), b0(batch, first_n + quad * 4 + 1, at, expert), b0(batch, first_n + quad * 4 + 2, at, expert), b0(batch, first_n + quad * 4 + 3, at, expert));
      }
      workgroupBarrier();
      for (var k = 0; k < 32; k++) {
        let b0 = tile_b[k * 16 + quad_n];
        let b1 = tile_b[k * 16 + quad_n + 1];
        let a0 = tile_a[k * 16 + quad_m];
        p0_0 += a0.x * b0;
        q0_0 += a0.x * b1;
        p0_1 += a0.y * b0;
        q0_1 += a0.y * b1;
        p0_2 += a0.z * b0;
        q0_2 += a0.z * b1;
        p0_3 += a0.w * b0;
        q0_3 += a0.w * b1;
      }
    }
  }
  if (expert < 8) {
    for (var first = 0; first < 64; first += 32) {
      workgroupBarrier();
      for (var i = lane; i < 512; i += 128) {
        let k = i % 32;
        let quad = i / 32;
        let at = first + k;
        tile_a[k * 16 + quad] = vec4<f32>(a1(batch, select(-1, load_order(first_row + quad * 4 + 0), first_row + quad * 4 + 0 < end_row), at), a1(batch, select(-1, load_order(first_row + quad * 4 + 1), first_row + quad * 4 + 1 < end_row), at), a1(batch, select(-1, load_order(first_row + quad * 4 + 2), first_row + quad * 4 + 2 < end_row), at), a1(batch, select(-1, load_order(first_row + quad * 4 + 3), first_row + quad * 4 + 3 < end_row), at));
      }
      for (var i = lane; i < 512; i += 128) {
        let k = i / 16;
        let quad = i % 16;
        let at = first + k;
        tile_b[k * 16 + quad] = vec4<f32>(b1(batch, first_n + quad * 4 + 0, at, expert), b1(batch, first_n + quad * 4 + 1, at, expert), b1(batch, first_n + quad * 4 + 2, at, expert), b1(batch, first_n + quad * 4 + 3, at, expert));
      }
      workgroupBarrier();
      for (var k = 0; k < 32; k++) {
        let b0 = tile_b[k * 16 + quad_n];
        let b1 = tile_b[k * 16 + quad_n + 1];
        let a0 = tile_a[k * 16 + quad_m];
        p1_0 += a0.x * b0;
        q1_0 += a0.x * b1;
        p1_1 += a0.y * b0;
        q1_1 += a0.y * b1;
        p1_2 += a0.z * b0;
        q1_2 += a0.z * b1;
        p1_3 += a0.w * b0;
        q1_3 += a0.w * b1;
      }
    }
  }
  var sums0 = array(array(p0_0, q0_0), array(p0_1, q0_1), array(p0_2, q0_2), array(p0_3, q0_3));
  var sums1 = array(array(p1_0, q1_0), array(p1_1, q1_1), array(p1_2, q1_2), array(p1_3, q1_3));
  for (var r = 0; r < 4; r++) {
    for (var c = 0; c < 8; c++) {
      finish(batch, select(-1, load_order(first_row + own_m + r), first_row + own_m + r < end_row), first_n + own_n + c, sums0[r][c / 4][c % 4], sums1[r][c / 4][c % 4]);
    }
  }
}
