// parts_wk_b: 2 kernels in one launch
// of RmsNorm, Mla, Rope
// part_1: rows
//   read x_2: f32[T]
//   read x_4: f32[T, 24]
//   read weight: f32[16]
//   write latent: f32[cache, 16]
//   read row_: i32[T]
//   read pos: i32[T]
//   update x_6: f32[T, 4]
//   read x_7: f32[4]
//   update x_8: f32[T, 4]
//   write key_pe: f32[cache, 8]
//   read x_13: f32[T, 4, 24]
//   write x_15: f32[T, 4, 4, 2]
//   read pos_2: i32[S]
//   read seq: i32[T]
//   read seq_2: i32[S]
//   write span_from: i32[T]
//   write span_to: i32[T]
// part_2: gemm
//   read x_13: f32[T, 4, 24]
//   read wk_b: f32[16, 4, 16]
//   write x_16: f32[T, 4, 16]

struct Launch {
  items_1: i32, // what part 1 has to do, one for a workgroup at a time
  items_before_1: i32, // the same of its entry point that runs before
  items_2: i32, // what part 2 has to do, one for a workgroup at a time
  items_before_2: i32, // the same of its entry point that runs before
  S: i32,
  T: i32,
  x_2: i32, // its first word
  x_4: i32, // its first word
  weight: i32, // its first word
  latent: i32, // its first word
  row_: i32, // its first word
  pos: i32, // its first word
  x_6: i32, // its first word
  x_7: i32, // its first word
  x_8: i32, // its first word
  key_pe: i32, // its first word
  x_13: i32, // its first word
  x_15: i32, // its first word
  pos_2: i32, // its first word
  seq: i32, // its first word
  seq_2: i32, // its first word
  span_from: i32, // its first word
  span_to: i32, // its first word
  wk_b: i32, // its first word
  x_16: i32, // its first word
}
@group(0) @binding(0) var<uniform> launch: Launch;
@group(0) @binding(1) var<storage, read_write> arena: array<u32>;
@group(0) @binding(2) var<storage, read_write> stores: array<u32>;
@group(0) @binding(3) var<storage, read_write> caches: array<u32>;
@group(0) @binding(4) var<storage, read_write> stores_1: array<u32>;
@group(0) @binding(5) var<storage, read_write> stores_2: array<u32>;
@group(0) @binding(6) var<storage, read_write> stores_3: array<u32>;

override x_2_space: u32 = 0u;
override x_4_space: u32 = 0u;
override weight_space: u32 = 0u;
override latent_space: u32 = 0u;
override row__space: u32 = 0u;
override pos_space: u32 = 0u;
override x_6_space: u32 = 0u;
override x_7_space: u32 = 0u;
override x_8_space: u32 = 0u;
override key_pe_space: u32 = 0u;
override x_13_space: u32 = 0u;
override x_15_space: u32 = 0u;
override pos_2_space: u32 = 0u;
override seq_space: u32 = 0u;
override seq_2_space: u32 = 0u;
override span_from_space: u32 = 0u;
override span_to_space: u32 = 0u;
override wk_b_space: u32 = 0u;
override x_16_space: u32 = 0u;

var<workgroup> x_3_1: array<f32, 16>;
var<workgroup> x_9_1: array<f32, 4>;
var<workgroup> x_10_1: array<f32, 4>;
var<workgroup> x_11_1: array<f32, 8>;
var<workgroup> x_12_1: array<f32, 16>;
var<workgroup> x_14_1: array<f32, 16>;
var<workgroup> lanes_i32_1: array<i32, 64>;
var<workgroup> folds_i32_1: array<i32, 8>;
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

fn load_x_4(i: i32) -> f32 {
  return bitcast<f32>(word(x_4_space, launch.x_4 + i));
}

fn load_weight(i: i32) -> f32 {
  return bitcast<f32>(word(weight_space, launch.weight + i));
}

fn store_latent(i: i32, x: f32) {
  set_word(latent_space, launch.latent + i, bitcast<u32>(x));
}

fn load_row_(i: i32) -> i32 {
  return bitcast<i32>(word(row__space, launch.row_ + i));
}

fn load_pos(i: i32) -> i32 {
  return bitcast<i32>(word(pos_space, launch.pos + i));
}

fn load_x_6(i: i32) -> f32 {
  return bitcast<f32>(word(x_6_space, launch.x_6 + i));
}

fn store_x_6(i: i32, x: f32) {
  set_word(x_6_space, launch.x_6 + i, bitcast<u32>(x));
}

fn load_x_7(i: i32) -> f32 {
  return bitcast<f32>(word(x_7_space, launch.x_7 + i));
}

fn load_x_8(i: i32) -> f32 {
  return bitcast<f32>(word(x_8_space, launch.x_8 + i));
}

fn store_x_8(i: i32, x: f32) {
  set_word(x_8_space, launch.x_8 + i, bitcast<u32>(x));
}

fn store_key_pe(i: i32, x: f32) {
  set_word(key_pe_space, launch.key_pe + i, bitcast<u32>(x));
}

fn load_x_13(i: i32) -> f32 {
  return bitcast<f32>(word(x_13_space, launch.x_13 + i));
}

fn store_x_15(i: i32, x: f32) {
  set_word(x_15_space, launch.x_15 + i, bitcast<u32>(x));
}

fn load_pos_2(i: i32) -> i32 {
  return bitcast<i32>(word(pos_2_space, launch.pos_2 + i));
}

fn load_seq(i: i32) -> i32 {
  return bitcast<i32>(word(seq_space, launch.seq + i));
}

fn load_seq_2(i: i32) -> i32 {
  return bitcast<i32>(word(seq_2_space, launch.seq_2 + i));
}

fn store_span_from(i: i32, x: i32) {
  set_word(span_from_space, launch.span_from + i, bitcast<u32>(x));
}

fn store_span_to(i: i32, x: i32) {
  set_word(span_to_space, launch.span_to + i, bitcast<u32>(x));
}

fn load_wk_b(i: i32) -> f32 {
  return bitcast<f32>(word(wk_b_space, launch.wk_b + i));
}

fn store_x_16(i: i32, x: f32) {
  set_word(x_16_space, launch.x_16 + i, bitcast<u32>(x));
}

// sin and cos of WGSL are exact to 2^-11 only: quarters of a turn are taken off in three steps (Cody and Waite), the rest is a
// polynomial (Cephes sinf, cosf).
fn quarter_turns(x: f32) -> f32 {
  return floor(x * 0.636619772 + 0.5);
}

fn within_quarter(x: f32, turns: f32) -> f32 {
  return fma(turns, -7.5497899549e-8, fma(turns, -4.8375129699707031e-4, fma(turns, -1.5703125, x)));
}

fn sin_of_quarter(r: f32) -> f32 {
  let z = r * r;
  return fma(fma(fma(-1.9515295891e-4, z, 8.3321608736e-3), z, -1.6666654611e-1) * z, r, r);
}

fn cos_of_quarter(r: f32) -> f32 {
  let z = r * r;
  return fma(fma(fma(2.443315711809948e-5, z, -1.388731625493765e-3), z, 4.166664568298827e-2), z * z, fma(-0.5, z, 1.0));
}

fn exact_sin(x: f32) -> f32 {
  let turns = quarter_turns(x);
  let r = within_quarter(x, turns);
  let quadrant = i32(turns) & 3;
  let size = select(sin_of_quarter(r), cos_of_quarter(r), (quadrant & 1) == 1);
  return select(size, -size, quadrant >= 2);
}

fn exact_cos(x: f32) -> f32 {
  let turns = quarter_turns(x);
  let r = within_quarter(x, turns);
  let quadrant = i32(turns) & 3;
  let size = select(cos_of_quarter(r), sin_of_quarter(r), (quadrant & 1) == 1);
  return select(size, -size, quadrant == 1 || quadrant == 2);
}

fn min_of_workgroup_i32_1(x: i32, at: i32) -> i32 {
  let lane = at;
  let first = 0;
  workgroupBarrier();
  lanes_i32_1[at] = x;
  workgroupBarrier();
  if (lane < 8) {
    var all = lanes_i32_1[(first + lane) * 8];
    for (var i = 1; i < 8; i++) {
      all = min(all, lanes_i32_1[(first + lane) * 8 + i]);
    }
    folds_i32_1[first + lane] = all;
  }
  workgroupBarrier();
  var all = folds_i32_1[first];
  for (var i = 1; i < 8; i++) {
    all = min(all, folds_i32_1[first + i]);
  }
  return all;
}

fn max_of_workgroup_i32_1(x: i32, at: i32) -> i32 {
  let lane = at;
  let first = 0;
  workgroupBarrier();
  lanes_i32_1[at] = x;
  workgroupBarrier();
  if (lane < 8) {
    var all = lanes_i32_1[(first + lane) * 8];
    for (var i = 1; i < 8; i++) {
      all = max(all, lanes_i32_1[(first + lane) * 8 + i]);
    }
    folds_i32_1[first + lane] = all;
  }
  workgroupBarrier();
  var all = folds_i32_1[first];
  for (var i = 1; i < 8; i++) {
    all = max(all, folds_i32_1[first + i]);
  }
  return all;
}

fn run_main_1(group: vec3<u32>, groups: vec3<u32>, index: u32) {
  let lane = i32(index);
  let S = launch.S;
  let T = launch.T;
  let item = i32(group.y * groups.x + group.x);
  if (item >= launch.items_1) {
    return;
  }
  let i_T = item;
  var x: f32;
  var x_5: f32;
  x = inverseSqrt(((load_x_2(i_T) / 16.0) + 0.000001));
  for (var i_C = lane; i_C < 16; i_C += 64) {
    x_3_1[i_C] = ((load_x_4(i_T * 24 + i_C) * x) * load_weight(i_C));
  }
  workgroupBarrier();
  storageBarrier();
  for (var i_C = lane; i_C < 16; i_C += 64) {
    store_latent((load_row_(i_T)) * 16 + i_C, x_3_1[i_C]);
  }
  x_5 = f32(load_pos(i_T));
  for (var i_P = lane; i_P < 4; i_P += 64) {
    store_x_6(i_T * 4 + i_P, exact_cos((x_5 * load_x_7(i_P))));
  }
  for (var i_P = lane; i_P < 4; i_P += 64) {
    store_x_8(i_T * 4 + i_P, exact_sin((x_5 * load_x_7(i_P))));
  }
  workgroupBarrier();
  storageBarrier();
  for (var i_P = lane; i_P < 4; i_P += 64) {
    let v0 = (i_P * 2);
    x_9_1[i_P] = ((load_x_4(i_T * 24 + (v0 + 16)) * load_x_6(i_T * 4 + i_P)) - (load_x_4(i_T * 24 + (v0 + 17)) * load_x_8(i_T * 4 + i_P)));
  }
  for (var i_P = lane; i_P < 4; i_P += 64) {
    let v1 = (i_P * 2);
    x_10_1[i_P] = ((load_x_4(i_T * 24 + (v1 + 16)) * load_x_8(i_T * 4 + i_P)) + (load_x_4(i_T * 24 + (v1 + 17)) * load_x_6(i_T * 4 + i_P)));
  }
  workgroupBarrier();
  storageBarrier();
  for (var i2 = lane; i2 < 4 * 2; i2 += 64) {
    let i_pair = i2 % 2;
    let i_P = i2 / 2;
    x_11_1[i_P * 2 + i_pair] = select(x_10_1[i_P], x_9_1[i_P], (i_pair < 1));
  }
  workgroupBarrier();
  storageBarrier();
  for (var i_R = lane; i_R < 8; i_R += 64) {
    store_key_pe((load_row_(i_T)) * 8 + i_R, x_11_1[i_R]);
  }
  for (var i3 = lane; i3 < 4 * 4; i3 += 64) {
    let i_P = i3 % 4;
    let i_H = i3 / 4;
    let v4 = (i_P * 2);
    x_12_1[i_H * 4 + i_P] = ((load_x_13(i_T * 96 + i_H * 24 + (v4 + 16)) * load_x_6(i_T * 4 + i_P)) - (load_x_13(i_T * 96 + i_H * 24 + (v4 + 17)) * load_x_8(i_T * 4 + i_P)));
  }
  for (var i5 = lane; i5 < 4 * 4; i5 += 64) {
    let i_P = i5 % 4;
    let i_H = i5 / 4;
    let v6 = (i_P * 2);
    x_14_1[i_H * 4 + i_P] = ((load_x_13(i_T * 96 + i_H * 24 + (v6 + 16)) * load_x_8(i_T * 4 + i_P)) + (load_x_13(i_T * 96 + i_H * 24 + (v6 + 17)) * load_x_6(i_T * 4 + i_P)));
  }
  workgroupBarrier();
  storageBarrier();
  for (var i7 = lane; i7 < 4 * 4 * 2; i7 += 64) {
    let i_pair = i7 % 2;
    let i_P = (i7 / 2) % 4;
    let i_H = (i7 / 2) / 4;
    store_x_15(i_T * 32 + i_H * 8 + i_P * 2 + i_pair, select(x_14_1[i_H * 4 + i_P], x_12_1[i_H * 4 + i_P], (i_pair < 1)));
  }
  {
    var part8 = 2147483647;
    for (var i_S = lane; i_S < S; i_S += 64) {
      part8 = min(part8, select(2147483647, i_S, ((load_pos_2(i_S) <= load_pos(i_T)) & (load_seq(i_T) == load_seq_2(i_S)))));
    }
    let total9 = min_of_workgroup_i32_1(part8, lane);
    if (lane == 0) {
      store_span_from(i_T, total9);
    }
  }
  {
    var part10 = i32(-2147483648);
    for (var i_S = lane; i_S < S; i_S += 64) {
      part10 = max(part10, select(0, (i_S + 1), ((load_pos_2(i_S) <= load_pos(i_T)) & (load_seq(i_T) == load_seq_2(i_S)))));
    }
    let total11 = max_of_workgroup_i32_1(part10, lane);
    if (lane == 0) {
      store_span_to(i_T, total11);
    }
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
  let i_H = batch;
  let i_T = m;
  let i_N = k;
  return select(0.0, load_x_13(i_T * 96 + i_H * 24 + i_N), k == k_);
}

fn b0_2(batch: i32, n_: i32, k_: i32) -> f32 {
  let T = launch.T;
  let n = clamp(n_, 0, 16 - 1);
  let k = clamp(k_, 0, 16 - 1);
  let i_H = batch;
  let i_C = n;
  let i_N = k;
  return select(0.0, load_wk_b(i_C * 64 + i_H * 16 + i_N), k == k_);
}

fn finish_2(batch: i32, m: i32, n: i32, product: f32) {
  let T = launch.T;
  if ((m >= 0) & (m < T) & (n < 16)) {
    let i_H = batch;
    let i_T = m;
    let i_C = n;
    store_x_16(i_T * 64 + i_H * 16 + i_C, product);
  }
}

fn run_few_2(group: vec3<u32>, groups: vec3<u32>, index: u32) {
  let lane = i32(index);
  let T = launch.T;
  let item = i32(group.y * groups.x + group.x);
  if (item >= launch.items_2) {
    return;
  }
  let blocks = (16 + 63) / 64;
  let n = item % blocks * 64 + lane;
  let row_blocks = (T + 3) / 4;
  let m = item / blocks % row_blocks * 4;
  let batch = item / blocks / row_blocks;
  let rows = min(4, T - m);
  let i_H = batch;
  let i_T = m;
  let own_n = min(n, 16 - 1);
  let i_C = own_n;
  var sum0 = vec4<f32>();
  for (var k = 0; k < 16; k++) {
    let i_N = k;
    let b = load_wk_b(i_C * 64 + i_H * 16 + i_N);
    if (rows == 1) {
      sum0.x += load_x_13(i_T * 96 + i_H * 24 + i_N) * b;
    }
    else {
      sum0 += vec4<f32>(a0_2(batch, m + 0, k), a0_2(batch, m + 1, k), a0_2(batch, m + 2, k), a0_2(batch, m + 3, k)) * b;
    }
  }
  if (n < 16) {
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
  let first_n = item % ((16 + 63) / 64) * 64;
  let row = item / ((16 + 63) / 64) % ((T + 63) / 64);
  let batch = item / ((16 + 63) / 64) / ((T + 63) / 64);
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
      let k = i % 32;
      let quad = i / 32;
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
