// parts_down: 2 kernels in one launch
// of RmsNorm, DeepSeekMoe, SwiGlu
// part_1: rows
//   read x_2: f32[T]
//   write x_3: f32[T, 64]
//   read h: f32[T, 64]
//   read weight: f32[64]
//   read x_4: f32[T, 8]
//   read bias: f32[8]
//   update chosen: i32[T, 3]
//   update picked: f32[T, 3]
//   write x_12: f32[T]
// part_2: gemm
//   read x_13: f32[T, 16]
//   read down: f32[16, 64]
//   write x_14: f32[T, 64]

struct Launch {
  items_1: i32, // what part 1 has to do, one for a workgroup at a time
  items_before_1: i32, // the same of its entry point that runs before
  items_2: i32, // what part 2 has to do, one for a workgroup at a time
  items_before_2: i32, // the same of its entry point that runs before
  T: i32,
  x_2: i32, // its first word
  x_3: i32, // its first word
  h: i32, // its first word
  weight: i32, // its first word
  x_4: i32, // its first word
  bias: i32, // its first word
  chosen: i32, // its first word
  picked: i32, // its first word
  x_12: i32, // its first word
  x_13: i32, // its first word
  down: i32, // its first word
  x_14: i32, // its first word
}
@group(0) @binding(0) var<uniform> launch: Launch;
@group(0) @binding(1) var<storage, read_write> arena: array<u32>;
@group(0) @binding(2) var<storage, read_write> stores: array<u32>;
@group(0) @binding(3) var<storage, read_write> caches: array<u32>;
@group(0) @binding(4) var<storage, read_write> stores_1: array<u32>;
@group(0) @binding(5) var<storage, read_write> stores_2: array<u32>;
@group(0) @binding(6) var<storage, read_write> stores_3: array<u32>;

override x_2_space: u32 = 0u;
override x_3_space: u32 = 0u;
override h_space: u32 = 0u;
override weight_space: u32 = 0u;
override x_4_space: u32 = 0u;
override bias_space: u32 = 0u;
override chosen_space: u32 = 0u;
override picked_space: u32 = 0u;
override x_12_space: u32 = 0u;
override x_13_space: u32 = 0u;
override down_space: u32 = 0u;
override x_14_space: u32 = 0u;

var<workgroup> affinity_1: array<f32, 8>;
var<workgroup> x_5_1: array<f32, 8>;
var<workgroup> x_6_1: array<i32, 8>;
var<workgroup> x_7_1: array<f32, 4>;
var<workgroup> x_8_1: array<i32, 2>;
var<workgroup> x_9_1: array<f32, 4>;
var<workgroup> x_10_1: array<bool, 4>;
var<workgroup> x_11_1: array<f32, 8>;
var<workgroup> values0_1: array<f32, 2>;
var<workgroup> values3_1: array<f32, 4>;
var<workgroup> values5_1: array<f32, 8>;
var<workgroup> tile_a_2: array<vec4<f32>, 512>;
var<workgroup> tile_b_2: array<vec4<f32>, 512>;

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

fn store_x_3(i: i32, x: f32) {
  set_word(x_3_space, launch.x_3 + i, bitcast<u32>(x));
}

fn load_h(i: i32) -> f32 {
  return bitcast<f32>(word(h_space, launch.h + i));
}

fn load_weight(i: i32) -> f32 {
  return bitcast<f32>(word(weight_space, launch.weight + i));
}

fn load_x_4(i: i32) -> f32 {
  return bitcast<f32>(word(x_4_space, launch.x_4 + i));
}

fn load_bias(i: i32) -> f32 {
  return bitcast<f32>(word(bias_space, launch.bias + i));
}

fn load_chosen(i: i32) -> i32 {
  return bitcast<i32>(word(chosen_space, launch.chosen + i));
}

fn store_chosen(i: i32, x: i32) {
  set_word(chosen_space, launch.chosen + i, bitcast<u32>(x));
}

fn load_picked(i: i32) -> f32 {
  return bitcast<f32>(word(picked_space, launch.picked + i));
}

fn store_picked(i: i32, x: f32) {
  set_word(picked_space, launch.picked + i, bitcast<u32>(x));
}

fn store_x_12(i: i32, x: f32) {
  set_word(x_12_space, launch.x_12 + i, bitcast<u32>(x));
}

fn load_x_13(i: i32) -> f32 {
  return bitcast<f32>(word(x_13_space, launch.x_13 + i));
}

fn load_down(i: i32) -> f32 {
  return bitcast<f32>(word(down_space, launch.down + i));
}

fn store_x_14(i: i32, x: f32) {
  set_word(x_14_space, launch.x_14 + i, bitcast<u32>(x));
}

var<private> infinity_bits: u32 = 0x7f800000u;

fn infinity() -> f32 {
  return bitcast<f32>(infinity_bits);
}

fn is_nan(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn sigmoid(x: f32) -> f32 {
  return 1.0 / (1.0 + exp(-x));
}

// Whether element i with value x comes before element j with value y: larger first, the lower index first among equals, NaN last.
fn before_f32(x: f32, i: i32, y: f32, j: i32) -> bool {
  if (is_nan(x) || is_nan(y)) {
    return select(is_nan(y), i < j, is_nan(x) == is_nan(y));
  }
  return select(x > y, i < j, x == y);
}

fn run_main_1(group: vec3<u32>, groups: vec3<u32>, index: u32) {
  let lane = i32(index);
  let T = launch.T;
  let item = i32(group.y * groups.x + group.x);
  if (item >= launch.items_1) {
    return;
  }
  let i_T = item;
  var x: f32;
  x = inverseSqrt(((load_x_2(i_T) / 64.0) + 0.000001));
  for (var i_D = lane; i_D < 64; i_D += 64) {
    store_x_3(i_T * 64 + i_D, ((load_h(i_T * 64 + i_D) * x) * load_weight(i_D)));
  }
  for (var i_E = lane; i_E < 8; i_E += 64) {
    affinity_1[i_E] = sigmoid(load_x_4(i_T * 8 + i_E));
  }
  workgroupBarrier();
  storageBarrier();
  for (var i_E = lane; i_E < 8; i_E += 64) {
    x_5_1[i_E] = (affinity_1[i_E] + load_bias(i_E));
  }
  workgroupBarrier();
  storageBarrier();
  for (var i_G = 0; i_G < 4; i_G++) {
    workgroupBarrier();
    storageBarrier();
    for (var i_E_G = lane; i_E_G < 2; i_E_G += 64) {
      values0_1[i_E_G] = x_5_1[((i_G * 2) + i_E_G)];
    }
    workgroupBarrier();
    storageBarrier();
    for (var i_E_G = lane; i_E_G < 2; i_E_G += 64) {
      var i_best = 0;
      for (var i_E_G_other = 0; i_E_G_other < 2; i_E_G_other++) {
        i_best += select(0, 1, i_E_G_other != i_E_G && before_f32(values0_1[i_E_G_other], i_E_G_other, values0_1[i_E_G], i_E_G));
      }
      if (i_best < 2) {
        x_6_1[i_G * 2 + i_best] = i_E_G;
      }
    }
  }
  workgroupBarrier();
  storageBarrier();
  for (var i_G = lane; i_G < 4; i_G += 64) {
    var sum1 = 0.0;
    for (var i_best = 0; i_best < 2; i_best++) {
      let v2 = x_6_1[i_G * 2 + i_best];
      sum1 = sum1 + select(x_5_1[((i_G * 2) + min(max(v2, 0), 1))], 0.0, (v2 < 0));
    }
    x_7_1[i_G] = sum1;
  }
  workgroupBarrier();
  storageBarrier();
  workgroupBarrier();
  storageBarrier();
  for (var i_G = lane; i_G < 4; i_G += 64) {
    values3_1[i_G] = x_7_1[i_G];
  }
  workgroupBarrier();
  storageBarrier();
  for (var i_G = lane; i_G < 4; i_G += 64) {
    var i_keep = 0;
    for (var i_G_other = 0; i_G_other < 4; i_G_other++) {
      i_keep += select(0, 1, i_G_other != i_G && before_f32(values3_1[i_G_other], i_G_other, values3_1[i_G], i_G));
    }
    if (i_keep < 2) {
      x_8_1[i_keep] = i_G;
    }
  }
  for (var i_G = lane; i_G < 4; i_G += 64) {
    x_9_1[i_G] = 0.0;
  }
  workgroupBarrier();
  storageBarrier();
  if (lane == 0) {
    for (var i_keep = 0; i_keep < 2; i_keep++) {
      if ((x_8_1[i_keep] >= 0)) {
        x_9_1[x_8_1[i_keep]] = x_9_1[x_8_1[i_keep]] + 1.0;
      }
    }
  }
  workgroupBarrier();
  storageBarrier();
  for (var i_G = lane; i_G < 4; i_G += 64) {
    x_10_1[i_G] = (x_9_1[i_G] > 0.0);
  }
  workgroupBarrier();
  storageBarrier();
  for (var i4 = lane; i4 < 4 * 2; i4 += 64) {
    let i_E_G = i4 % 2;
    let i_G = i4 / 2;
    x_11_1[i_G * 2 + i_E_G] = select((-infinity()), x_5_1[((i_G * 2) + i_E_G)], x_10_1[i_G]);
  }
  workgroupBarrier();
  storageBarrier();
  workgroupBarrier();
  storageBarrier();
  for (var i_E = lane; i_E < 8; i_E += 64) {
    values5_1[i_E] = x_11_1[i_E];
  }
  workgroupBarrier();
  storageBarrier();
  for (var i_E = lane; i_E < 8; i_E += 64) {
    var i_K = 0;
    for (var i_E_other = 0; i_E_other < 8; i_E_other++) {
      i_K += select(0, 1, i_E_other != i_E && before_f32(values5_1[i_E_other], i_E_other, values5_1[i_E], i_E));
    }
    if (i_K < 3) {
      store_chosen(i_T * 3 + i_K, i_E);
    }
  }
  workgroupBarrier();
  storageBarrier();
  for (var i_K = lane; i_K < 3; i_K += 64) {
    let v6 = load_chosen(i_T * 3 + i_K);
    store_picked(i_T * 3 + i_K, select(affinity_1[min(max(v6, 0), 7)], 0.0, (v6 < 0)));
  }
  workgroupBarrier();
  storageBarrier();
  if (lane == 0) {
    var sum7 = 0.0;
    for (var i_K = 0; i_K < 3; i_K++) {
      sum7 = sum7 + load_picked(i_T * 3 + i_K);
    }
    store_x_12(i_T, sum7);
  }
}

@compute @workgroup_size(64)
fn main_1(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) index: u32) {
  run_main_1(group, groups, index);
}

fn a0_2(batch: i32, m_: i32, k_: i32) -> f32 {
  let T = launch.T;
  let m = clamp(m_, 0, T - 1);
  let k = clamp(k_, 0, 16 - 1);
  let i_T = m;
  let i_Fs = k;
  return select(0.0, load_x_13(i_T * 16 + i_Fs), k == k_);
}

fn b0_2(batch: i32, n_: i32, k_: i32) -> f32 {
  let T = launch.T;
  let n = n_;
  let k = clamp(k_, 0, 16 - 1);
  let i_D = n;
  let i_Fs = k;
  return select(0.0, load_down(i_Fs * 64 + i_D), k == k_);
}

fn finish_2(batch: i32, m: i32, n: i32, product: f32) {
  let T = launch.T;
  if ((m >= 0) & (m < T)) {
    let i_T = m;
    let i_D = n;
    store_x_14(i_T * 64 + i_D, product);
  }
}

fn run_few_2(group: vec3<u32>, groups: vec3<u32>, index: u32) {
  let lane = i32(index);
  let T = launch.T;
  let item = i32(group.y * groups.x + group.x);
  if (item >= launch.items_2) {
    return;
  }
  let blocks = (64 + 63) / 64;
  let n = item % blocks * 64 + lane;
  let row_blocks = (T + 3) / 4;
  let m = item / blocks % row_blocks * 4;
  let batch = item / blocks / row_blocks;
  let rows = min(4, T - m);
  let i_T = m;
  let own_n = min(n, 64 - 1);
  let i_D = own_n;
  var sum0 = vec4<f32>();
  for (var k = 0; k < 16; k++) {
    let i_Fs = k;
    let b = load_down(i_Fs * 64 + i_D);
    if (rows == 1) {
      sum0.x += load_x_13(i_T * 16 + i_Fs) * b;
    }
    else {
      sum0 += vec4<f32>(a0_2(batch, m + 0, k), a0_2(batch, m + 1, k), a0_2(batch, m + 2, k), a0_2(batch, m + 3, k)) * b;
    }
  }
  if (n < 64) {
    for (var r = 0; r < rows; r++) {
      finish_2(batch, m + r, n, sum0[r]);
    }
  }
}

@compute @workgroup_size(64)
fn few_2(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) index: u32) {
  run_few_2(group, groups, index);
}

fn run_tile_2(group: vec3<u32>, groups: vec3<u32>, index: u32) {
  let lane = i32(index);
  let T = launch.T;
  let item = i32(group.y * groups.x + group.x);
  if (item >= launch.items_2) {
    return;
  }
  let first_n = item % ((64 + 63) / 64) * 64;
  let row = item / ((64 + 63) / 64) % ((T + 63) / 64);
  let batch = item / ((64 + 63) / 64) / ((T + 63) / 64);
  let own_m = lane / 8 * 8;
  let own_n = lane % 8 * 8;
  let quad_m = own_m / 4;
  let quad_n = own_n / 4;
  let first_m = row * 64;
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
  for (var first = 0; first < 16; first += 32) {
    workgroupBarrier();
    for (var i = lane; i < 512; i += 64) {
      let k = i % 32;
      let quad = i / 32;
      let at = first + k;
      tile_a_2[k * 16 + quad] = vec4<f32>(a0_2(batch, first_m + quad * 4 + 0, at), a0_2(batch, first_m + quad * 4 + 1, at), a0_2(batch, first_m + quad * 4 + 2, at), a0_2(batch, first_m + quad * 4 + 3, at));
    }
    for (var i = lane; i < 512; i += 64) {
      let k = i / 16;
      let quad = i % 16;
      let at = first + k;
      tile_b_2[k * 16 + quad] = vec4<f32>(b0_2(batch, first_n + quad * 4 + 0, at), b0_2(batch, first_n + quad * 4 + 1, at), b0_2(batch, first_n + quad * 4 + 2, at), b0_2(batch, first_n + quad * 4 + 3, at));
    }
    workgroupBarrier();
    for (var k = 0; k < 32; k++) {
      let b0_2 = tile_b_2[k * 16 + quad_n];
      let b1 = tile_b_2[k * 16 + quad_n + 1];
      let a0_2 = tile_a_2[k * 16 + quad_m];
      p0_0 += a0_2.x * b0_2;
      q0_0 += a0_2.x * b1;
      p0_1 += a0_2.y * b0_2;
      q0_1 += a0_2.y * b1;
      p0_2 += a0_2.z * b0_2;
      q0_2 += a0_2.z * b1;
      p0_3 += a0_2.w * b0_2;
      q0_3 += a0_2.w * b1;
      let a1 = tile_a_2[k * 16 + quad_m + 1];
      p0_4 += a1.x * b0_2;
      q0_4 += a1.x * b1;
      p0_5 += a1.y * b0_2;
      q0_5 += a1.y * b1;
      p0_6 += a1.z * b0_2;
      q0_6 += a1.z * b1;
      p0_7 += a1.w * b0_2;
      q0_7 += a1.w * b1;
    }
  }
  var sums0 = array(array(p0_0, q0_0), array(p0_1, q0_1), array(p0_2, q0_2), array(p0_3, q0_3), array(p0_4, q0_4), array(p0_5, q0_5), array(p0_6, q0_6), array(p0_7, q0_7));
  for (var r = 0; r < 8; r++) {
    for (var c = 0; c < 8; c++) {
      finish_2(batch, first_m + own_m + r, first_n + own_n + c, sums0[r][c / 4][c % 4]);
    }
  }
}

@compute @workgroup_size(64)
fn tile_2(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) index: u32) {
  run_tile_2(group, groups, index);
}

@compute @workgroup_size(64)
fn all_parts(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_index) index: u32) {
  var item = i32(group.y * groups.x + group.x);
  if (item < launch.items_1) {
    run_main_1(vec3<u32>(u32(item), 0u, 0u), vec3<u32>(u32(launch.items_1), 1u, 1u), index);
    return;
  }
  item -= launch.items_1;
  if (item < launch.items_2) {
    run_few_2(vec3<u32>(u32(item), 0u, 0u), vec3<u32>(u32(launch.items_2), 1u, 1u), index);
    return;
  }
  item -= launch.items_2;
}
