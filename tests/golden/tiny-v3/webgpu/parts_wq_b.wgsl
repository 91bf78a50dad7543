// parts_wq_b: 3 kernels in one launch
// of RmsNorm, Mla, Rope.frequency
// part_1: gemm
//   read x_2: f32[T, 24]
//   read weight: f32[24]
//   read wq_b: f32[24, 4, 24]
//   write x_4: f32[T, 4, 24]
// part_2: rows
//   read x_5: f32[T, 24]
//   write x_6: f32[T]
// part_3: rows
//   write x_7: f32[4]

struct Launch {
  items_1: i32, // what part 1 has to do, one for a workgroup at a time
  items_before_1: i32, // the same of its entry point that runs before
  items_2: i32, // what part 2 has to do, one for a workgroup at a time
  items_before_2: i32, // the same of its entry point that runs before
  items_3: i32, // what part 3 has to do, one for a workgroup at a time
  items_before_3: i32, // the same of its entry point that runs before
  T: i32,
  x_2: i32, // its first word
  weight: i32, // its first word
  wq_b: i32, // its first word
  x_4: i32, // its first word
  x_5: i32, // its first word
  x_6: i32, // its first word
  x_7: i32, // its first word
}
@group(0) @binding(0) var<uniform> launch: Launch;
@group(0) @binding(1) var<storage, read_write> arena: array<u32>;
@group(0) @binding(2) var<storage, read_write> stores: array<u32>;
@group(0) @binding(3) var<storage, read_write> caches: array<u32>;
@group(0) @binding(4) var<storage, read_write> stores_1: array<u32>;
@group(0) @binding(5) var<storage, read_write> stores_2: array<u32>;
@group(0) @binding(6) var<storage, read_write> stores_3: array<u32>;

override x_2_space: u32 = 0u;
override weight_space: u32 = 0u;
override wq_b_space: u32 = 0u;
override x_4_space: u32 = 0u;
override x_5_space: u32 = 0u;
override x_6_space: u32 = 0u;
override x_7_space: u32 = 0u;

var<workgroup> lanes_f32_1: array<f32, 64>;
var<workgroup> folds_f32_1: array<f32, 8>;
var<workgroup> tile_a_1: array<vec4<f32>, 512>;
var<workgroup> tile_b_1: array<vec4<f32>, 512>;
var<workgroup> x_3_of_row_1: array<f32, 64>;

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

fn load_x_2(i: i32) -> f32 {
  return bitcast<f32>(word(x_2_space, launch.x_2 + i));
}

fn load_weight(i: i32) -> f32 {
  return bitcast<f32>(word(weight_space, launch.weight + i));
}

fn load_wq_b(i: i32) -> f32 {
  return bitcast<f32>(word(wq_b_space, launch.wq_b + i));
}

fn store_x_4(i: i32, x: f32) {
  set_word(x_4_space, launch.x_4 + i, bitcast<u32>(x));
}

fn load_x_5(i: i32) -> f32 {
  return bitcast<f32>(word(x_5_space, launch.x_5 + i));
}

fn store_x_6(i: i32, x: f32) {
  set_word(x_6_space, launch.x_6 + i, bitcast<u32>(x));
}

fn store_x_7(i: i32, x: f32) {
  set_word(x_7_space, launch.x_7 + i, bitcast<u32>(x));
}

var<private> infinity_bits: u32 = 0x7f800000u;

var<private> nan_bits: u32 = 0x7fc00000u;

fn infinity() -> f32 {
  return bitcast<f32>(infinity_bits);
}

fn nan() -> f32 {
  return bitcast<f32>(nan_bits);
}

// pow of WGSL knows no negative bases.
fn pow_f32(x: f32, y: f32) -> f32 {
  if (y == 0.0) {
    return 1.0;
  }
  if (x == 0.0) {
    return select(0.0, infinity(), y < 0.0);
  }
  let size = exp2(y * log2(abs(x)));
  if (x > 0.0) {
    return size;
  }
  if (floor(y) != y) {
    return nan();
  }
  return select(size, -size, floor(0.5 * y) * 2.0 != y);
}

fn a0_1(batch: i32, m_: i32, k_: i32, x_3: f32) -> f32 {
  let T = launch.T;
  let m = clamp(m_, 0, T - 1);
  let k = clamp(k_, 0, 24 - 1);
  let i_T = m;
  let i_Q = k;
  return select(0.0, ((load_x_2(i_T * 24 + i_Q) * x_3) * load_weight(i_Q)), k == k_);
}

fn b0_1(batch: i32, n_: i32, k_: i32) -> f32 {
  let T = launch.T;
  let n = clamp(n_, 0, 4 * 24 - 1);
  let k = clamp(k_, 0, 24 - 1);
  let i_N_R = n % 24;
  let i_H = n / 24;
  let i_Q = k;
  return select(0.0, load_wq_b(i_Q * 96 + i_H * 24 + i_N_R), k == k_);
}

fn x_3_of_1(m_: i32) -> f32 {
  let T = launch.T;
  let m = clamp(m_, 0, T - 1);
  let i_T = m;
  var x: f32;
  var x_3: f32;
  {
    var sum0 = 0.0;
    for (var i_Q = 0; i_Q < 24; i_Q++) {
      sum0 = sum0 + (load_x_2(i_T * 24 + i_Q) * load_x_2(i_T * 24 + i_Q));
    }
    x = sum0;
  }
  x_3 = inverseSqrt(((x / 24.0) + 0.000001));
  return x_3;
}

fn finish_1(batch: i32, m: i32, n: i32, product: f32) {
  let T = launch.T;
  if ((m >= 0) & (m < T) & (n < 4 * 24)) {
    let i_T = m;
    let i_N_R = n % 24;
    let i_H = n / 24;
    store_x_4(i_T * 96 + i_H * 24 + i_N_R, product);
  }
}

fn sum_of_workgroup_f32_1(x: f32, at: i32) -> f32 {
  let lane = at;
  let first = 0;
  workgroupBarrier();
  lanes_f32_1[at] = x;
  workgroupBarrier();
  if (lane < 8) {
    var all = lanes_f32_1[(first + lane) * 8];
    for (var i = 1; i < 8; i++) {
      all = all + lanes_f32_1[(first + lane) * 8 + i];
    }
    folds_f32_1[first + lane] = all;
  }
  workgroupBarrier();
  var all = folds_f32_1[first];
  for (var i = 1; i < 8; i++) {
    all = all + folds_f32_1[first + i];
  }
  return all;
}

fn run_few_1(group: vec3<u32>, groups: vec3<u32>, index: u32) {
  let lane = i32(index);
  let T = launch.T;
  let item = i32(group.y * groups.x + group.x);
  if (item >= launch.items_1) {
    return;
  }
  let blocks = (4 * 24 + 63) / 64;
  let n = item % blocks * 64 + lane;
  let row_blocks = (T + 3) / 4;
  let m = item / blocks % row_blocks * 4;
  let batch = item / blocks / row_blocks;
  let rows = min(4, T - m);
  var x_3_rows: array<f32, 4>;
  let first = m;
  for (var r = 0; r < rows; r++) {
    let m = first + r;
    let i_T = m;
    var x: f32;
    var x_3: f32;
    {
      var part1 = 0.0;
      for (var i_Q = lane; i_Q < 24; i_Q += 64) {
        part1 = part1 + (load_x_2(i_T * 24 + i_Q) * load_x_2(i_T * 24 + i_Q));
      }
      x = sum_of_workgroup_f32_1(part1, lane);
    }
    x_3 = inverseSqrt(((x / 24.0) + 0.000001));
    x_3_rows[r] = x_3;
  }
  let i_T = m;
  let own_n = min(n, 4 * 24 - 1);
  let i_N_R = own_n % 24;
  let i_H = own_n / 24;
  var sum0 = vec4<f32>();
  if (rows > 1) {
    for (var first = 0; first < 24; first += 512) {
      let count = min(512, 24 - first);
      workgroupBarrier();
      for (var i = lane; i < count; i += 64) {
        let k = first + i;
        var x: vec4<f32>;
        for (var e = 0; e < 4; e++) {
          x[e] = a0_1(batch, m + e, k, x_3_rows[e]);
        }
        tile_a_1[i] = x;
      }
      workgroupBarrier();
      for (var j = 0; j < count; j++) {
        let k = first + j;
        let i_Q = k;
        sum0 += tile_a_1[j] * (load_wq_b(i_Q * 96 + i_H * 24 + i_N_R));
      }
    }
  }
  if (rows == 1) {
    for (var k = 0; k < 24; k++) {
      let i_Q = k;
      let b = load_wq_b(i_Q * 96 + i_H * 24 + i_N_R);
      let x_3 = x_3_rows[0];
      sum0.x += ((load_x_2(i_T * 24 + i_Q) * x_3) * load_weight(i_Q)) * b;
    }
  }
  if (n < 4 * 24) {
    for (var r = 0; r < rows; r++) {
      finish_1(batch, m + r, n, sum0[r]);
    }
  }
}

@compute @workgroup_size(64)
fn few_1(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) index: u32) {
  run_few_1(group, groups, index);
}

fn run_tile_1(group: vec3<u32>, groups: vec3<u32>, index: u32) {
  let lane = i32(index);
  let T = launch.T;
  let item = i32(group.y * groups.x + group.x);
  if (item >= launch.items_1) {
    return;
  }
  let first_n = item % ((4 * 24 + 63) / 64) * 64;
  let row = item / ((4 * 24 + 63) / 64) % ((T + 63) / 64);
  let batch = item / ((4 * 24 + 63) / 64) / ((T + 63) / 64);
  let own_m = lane / 8 * 8;
  let own_n = lane % 8 * 8;
  let quad_m = own_m / 4;
  let quad_n = own_n / 4;
  let first_m = row * 64;
  if (lane < 64) {
    x_3_of_row_1[lane] = x_3_of_1(first_m + lane);
  }
  var p0_0 = vec4<f32>();
  var q0_0 = vec4<f32>();
  var p0_1 = vec4<f32>();
  var q0_1 = vec4<f32>();
  var p0_2 = vec4<f32>();
  var q0_2 = vec4<f32>();
  var p0_3 = vec4<f32>();
  var q0_3 = vec4<f32>();
  var p0_4 = vec4<f32>();
  var q0_4 = vec4<f32>();
  var p0_5 = vec4<f32>();
  var q0_5 = vec4<f32>();
  var p0_6 = vec4<f32>();
  var q0_6 = vec4<f32>();
  var p0_7 = vec4<f32>();
  var q0_7 = vec4<f32>();
  for (var first = 0; first < 24; first += 32) {
    workgroupBarrier();
    for (var i = lane; i < 512; i += 64) {
      let k = i % 32;
      let quad = i / 32;
      let at = first + k;
      var x: vec4<f32>;
      for (var e = 0; e < 4; e++) {
        x[e] = a0_1(batch, first_m + quad * 4 + e, at, x_3_of_row_1[quad * 4 + e]);
      }
      tile_a_1[k * 16 + quad] = x;
    }
    for (var i = lane; i < 512; i += 64) {
      let k = i / 16;
      let quad = i % 16;
      let at = first + k;
      tile_b_1[k * 16 + quad] = vec4<f32>(b0_1(batch, first_n + quad * 4 + 0, at), b0_1(batch, first_n + quad * 4 + 1, at), b0_1(batch, first_n + quad * 4 + 2, at), b0_1(batch, first_n + quad * 4 + 3, at));
    }
    workgroupBarrier();
    for (var k = 0; k < 32; k++) {
      let b0_1 = tile_b_1[k * 16 + quad_n];
      let b1 = tile_b_1[k * 16 + quad_n + 1];
      let a0_1 = tile_a_1[k * 16 + quad_m];
      p0_0 += a0_1.x * b0_1;
      q0_0 += a0_1.x * b1;
      p0_1 += a0_1.y * b0_1;
      q0_1 += a0_1.y * b1;
      p0_2 += a0_1.z * b0_1;
      q0_2 += a0_1.z * b1;
      p0_3 += a0_1.w * b0_1;
      q0_3 += a0_1.w * b1;
      let a1 = tile_a_1[k * 16 + quad_m + 1];
      p0_4 += a1.x * b0_1;
      q0_4 += a1.x * b1;
      p0_5 += a1.y * b0_1;
      q0_5 += a1.y * b1;
      p0_6 += a1.z * b0_1;
      q0_6 += a1.z * b1;
      p0_7 += a1.w * b0_1;
      q0_7 += a1.w * b1;
    }
  }
  var sums0 = array(array(p0_0, q0_0), array(p0_1, q0_1), array(p0_2, q0_2), array(p0_3, q0_3), array(p0_4, q0_4), array(p0_5, q0_5), array(p0_6, q0_6), array(p0_7, q0_7));
  for (var r = 0; r < 8; r++) {
    for (var c = 0; c < 8; c++) {
      finish_1(batch, first_m + own_m + r, first_n + own_n + c, sums0[r][c / 4][c % 4]);
    }
  }
}

@compute @workgroup_size(64)
fn tile_1(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) index: u32) {
  run_tile_1(group, groups, index);
}

fn run_main_2(group: vec3<u32>, groups: vec3<u32>, index: u32) {
  let lane = i32(index);
  let T = launch.T;
  let item = i32(group.y * groups.x + group.x) * 64 + lane;
  if (item >= T) {
    return;
  }
  let i_T = item;
  var sum0 = 0.0;
  for (var i_C = 0; i_C < 16; i_C++) {
    sum0 = sum0 + (load_x_5(i_T * 24 + i_C) * load_x_5(i_T * 24 + i_C));
  }
  store_x_6(i_T, sum0);
}

@compute @workgroup_size(64)
fn main_2(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) index: u32) {
  run_main_2(group, groups, index);
}

fn run_main_3(group: vec3<u32>, groups: vec3<u32>, index: u32) {
  let lane = i32(index);
  let item = i32(group.y * groups.x + group.x) * 64 + lane;
  if (item >= 1) {
    return;
  }
  for (var i_P = 0; i_P < 4; i_P += 1) {
    store_x_7(i_P, pow_f32(10000.0, (f32(i_P) / (-4.0))));
  }
}

@compute @workgroup_size(64)
fn main_3(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) index: u32) {
  run_main_3(group, groups, index);
}

@compute @workgroup_size(64)
fn all_parts(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_index) index: u32) {
  var item = i32(group.y * groups.x + group.x);
  if (item < launch.items_1) {
    run_few_1(vec3<u32>(u32(item), 0u, 0u), vec3<u32>(u32(launch.items_1), 1u, 1u), index);
    return;
  }
  item -= launch.items_1;
  if (item < launch.items_2) {
    run_main_2(vec3<u32>(u32(item), 0u, 0u), vec3<u32>(u32(launch.items_2), 1u, 1u), index);
    return;
  }
  item -= launch.items_2;
  if (item < launch.items_3) {
    run_main_3(vec3<u32>(u32(item), 0u, 0u), vec3<u32>(u32(launch.items_3), 1u, 1u), index);
    return;
  }
  item -= launch.items_3;
}
