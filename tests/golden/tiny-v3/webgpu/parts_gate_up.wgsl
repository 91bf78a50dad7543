// parts_gate_up: 3 kernels in one launch
// of RmsNorm, DeepSeekMoe, SwiGlu
// part_1: rows
//   read h: f32[T, 64]
//   write x: f32[T]
// part_2: gemm
//   read h: f32[T, 64]
//   read weight: f32[64]
//   read gate: f32[64, 8]
//   write x_3: f32[T, 8]
// part_3: gemm
//   read h: f32[T, 64]
//   read weight: f32[64]
//   read gate_2: f32[64, 16]
//   read up: f32[64, 16]
//   write x_5: f32[T, 16]

struct Launch {
  items_1: i32, // what part 1 has to do, one for a workgroup at a time
  items_before_1: i32, // the same of its entry point that runs before
  items_2: i32, // what part 2 has to do, one for a workgroup at a time
  items_before_2: i32, // the same of its entry point that runs before
  items_3: i32, // what part 3 has to do, one for a workgroup at a time
  items_before_3: i32, // the same of its entry point that runs before
  T: i32,
  h: i32, // its first word
  x: i32, // its first word
  weight: i32, // its first word
  gate: i32, // its first word
  x_3: i32, // its first word
  gate_2: i32, // its first word
  up: i32, // its first word
  x_5: i32, // its first word
}
@group(0) @binding(0) var<uniform> launch: Launch;
@group(0) @binding(1) var<storage, read_write> arena: array<u32>;
@group(0) @binding(2) var<storage, read_write> stores: array<u32>;
@group(0) @binding(3) var<storage, read_write> caches: array<u32>;
@group(0) @binding(4) var<storage, read_write> stores_1: array<u32>;
@group(0) @binding(5) var<storage, read_write> stores_2: array<u32>;
@group(0) @binding(6) var<storage, read_write> stores_3: array<u32>;

override h_space: u32 = 0u;
override x_space: u32 = 0u;
override weight_space: u32 = 0u;
override gate_space: u32 = 0u;
override x_3_space: u32 = 0u;
override gate_2_space: u32 = 0u;
override up_space: u32 = 0u;
override x_5_space: u32 = 0u;

var<workgroup> lanes_f32_1: array<f32, 64>;
var<workgroup> folds_f32_1: array<f32, 8>;
var<workgroup> lanes_f32_2: array<f32, 64>;
var<workgroup> folds_f32_2: array<f32, 8>;
var<workgroup> tile_a_2: array<vec4<f32>, 512>;
var<workgroup> tile_b_2: array<vec4<f32>, 512>;
var<workgroup> x_4_of_row_2: array<f32, 64>;
var<workgroup> lanes_f32_3: array<f32, 64>;
var<workgroup> folds_f32_3: array<f32, 8>;
var<workgroup> tile_a_3: array<vec4<f32>, 512>;
var<workgroup> tile_b_3: array<vec4<f32>, 512>;
var<workgroup> x_7_of_row_3: array<f32, 64>;

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

fn load_h(i: i32) -> f32 {
  return bitcast<f32>(word(h_space, launch.h + i));
}

fn store_x(i: i32, x: f32) {
  set_word(x_space, launch.x + i, bitcast<u32>(x));
}

fn load_weight(i: i32) -> f32 {
  return bitcast<f32>(word(weight_space, launch.weight + i));
}

fn load_gate(i: i32) -> f32 {
  return bitcast<f32>(word(gate_space, launch.gate + i));
}

fn store_x_3(i: i32, x: f32) {
  set_word(x_3_space, launch.x_3 + i, bitcast<u32>(x));
}

fn load_gate_2(i: i32) -> f32 {
  return bitcast<f32>(word(gate_2_space, launch.gate_2 + i));
}

fn load_up(i: i32) -> f32 {
  return bitcast<f32>(word(up_space, launch.up + i));
}

fn store_x_5(i: i32, x: f32) {
  set_word(x_5_space, launch.x_5 + i, bitcast<u32>(x));
}

fn sigmoid(x: f32) -> f32 {
  return 1.0 / (1.0 + exp(-x));
}

fn silu(x: f32) -> f32 {
  return x * sigmoid(x);
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

fn run_main_1(group: vec3<u32>, groups: vec3<u32>, index: u32) {
  let lane = i32(index);
  let T = launch.T;
  let item = i32(group.y * groups.x + group.x);
  if (item >= launch.items_1) {
    return;
  }
  let i_T = item;
  {
    var part0 = 0.0;
    for (var i_D = lane; i_D < 64; i_D += 64) {
      part0 = part0 + (load_h(i_T * 64 + i_D) * load_h(i_T * 64 + i_D));
    }
    let total1 = sum_of_workgroup_f32_1(part0, lane);
    if (lane == 0) {
      store_x(i_T, total1);
    }
  }
}

@compute @workgroup_size(64)
fn main_1(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) index: u32) {
  run_main_1(group, groups, index);
}

fn a0_2(batch: i32, m_: i32, k_: i32, x_4: f32) -> f32 {
  let T = launch.T;
  let m = clamp(m_, 0, T - 1);
  let k = k_;
  let i_T = m;
  let i_D = k;
  return ((load_h(i_T * 64 + i_D) * x_4) * load_weight(i_D));
}

fn b0_2(batch: i32, n_: i32, k_: i32) -> f32 {
  let T = launch.T;
  let n = clamp(n_, 0, 8 - 1);
  let k = k_;
  let i_E = n;
  let i_D = k;
  return load_gate(i_D * 8 + i_E);
}

fn x_4_of_2(m_: i32) -> f32 {
  let T = launch.T;
  let m = clamp(m_, 0, T - 1);
  let i_T = m;
  var x_2: f32;
  var x_4: f32;
  {
    var sum0 = 0.0;
    for (var i_D = 0; i_D < 64; i_D++) {
      sum0 = sum0 + (load_h(i_T * 64 + i_D) * load_h(i_T * 64 + i_D));
    }
    x_2 = sum0;
  }
  x_4 = inverseSqrt(((x_2 / 64.0) + 0.000001));
  return x_4;
}

fn finish_2(batch: i32, m: i32, n: i32, product: f32) {
  let T = launch.T;
  if ((m >= 0) & (m < T) & (n < 8)) {
    let i_T = m;
    let i_E = n;
    store_x_3(i_T * 8 + i_E, product);
  }
}

fn sum_of_workgroup_f32_2(x: f32, at: i32) -> f32 {
  let lane = at;
  let first = 0;
  workgroupBarrier();
  lanes_f32_2[at] = x;
  workgroupBarrier();
  if (lane < 8) {
    var all = lanes_f32_2[(first + lane) * 8];
    for (var i = 1; i < 8; i++) {
      all = all + lanes_f32_2[(first + lane) * 8 + i];
    }
    folds_f32_2[first + lane] = all;
  }
  workgroupBarrier();
  var all = folds_f32_2[first];
  for (var i = 1; i < 8; i++) {
    all = all + folds_f32_2[first + i];
  }
  return all;
}

fn run_few_2(group: vec3<u32>, groups: vec3<u32>, index: u32) {
  let lane = i32(index);
  let T = launch.T;
  let item = i32(group.y * groups.x + group.x);
  if (item >= launch.items_2) {
    return;
  }
  let blocks = (8 + 63) / 64;
  let n = item % blocks * 64 + lane;
  let row_blocks = (T + 3) / 4;
  let m = item / blocks % row_blocks * 4;
  let batch = item / blocks / row_blocks;
  let rows = min(4, T - m);
  var x_4_rows: array<f32, 4>;
  let first = m;
  for (var r = 0; r < rows; r++) {
    let m = first + r;
    let i_T = m;
    var x_2: f32;
    var x_4: f32;
    {
      var part1 = 0.0;
      for (var i_D = lane; i_D < 64; i_D += 64) {
        part1 = part1 + (load_h(i_T * 64 + i_D) * load_h(i_T * 64 + i_D));
      }
      x_2 = sum_of_workgroup_f32_2(part1, lane);
    }
    x_4 = inverseSqrt(((x_2 / 64.0) + 0.000001));
    x_4_rows[r] = x_4;
  }
  let i_T = m;
  let own_n = min(n, 8 - 1);
  let i_E = own_n;
  var sum0 = vec4<f32>();
  if (rows > 1) {
    for (var first = 0; first < 64; first += 512) {
      let count = min(512, 64 - first);
      workgroupBarrier();
      for (var i = lane; i < count; i += 64) {
        let k = first + i;
        var x: vec4<f32>;
        for (var e = 0; e < 4; e++) {
          x[e] = a0_2(batch, m + e, k, x_4_rows[e]);
        }
        tile_a_2[i] = x;
      }
      workgroupBarrier();
      for (var j = 0; j < count; j++) {
        let k = first + j;
        let i_D = k;
        sum0 += tile_a_2[j] * (load_gate(i_D * 8 + i_E));
      }
    }
  }
  if (rows == 1) {
    for (var k = 0; k < 64; k++) {
      let i_D = k;
      let b = load_gate(i_D * 8 + i_E);
      let x_4 = x_4_rows[0];
      sum0.x += ((load_h(i_T * 64 + i_D) * x_4) * load_weight(i_D)) * b;
    }
  }
  if (n < 8) {
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
  let first_n = item % ((8 + 63) / 64) * 64;
  let row = item / ((8 + 63) / 64) % ((T + 63) / 64);
  let batch = item / ((8 + 63) / 64) / ((T + 63) / 64);
  let own_m = lane / 8 * 8;
  let own_n = lane % 8 * 8;
  let quad_m = own_m / 4;
  let quad_n = own_n / 4;
  let first_m = row * 64;
  if (lane < 64) {
    x_4_of_row_2[lane] = x_4_of_2(first_m + lane);
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
  for (var first = 0; first < 64; first += 32) {
    workgroupBarrier();
    for (var i = lane; i < 512; i += 64) {
      let k = i % 32;
      let quad = i / 32;
      let at = first + k;
      var x: vec4<f32>;
      for (var e = 0; e < 4; e++) {
        x[e] = a0_2(batch, first_m + quad * 4 + e, at, x_4_of_row_2[quad * 4 + e]);
      }
      tile_a_2[k * 16 + quad] = x;
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

fn a0_3(batch: i32, m_: i32, k_: i32, x_7: f32) -> f32 {
  let T = launch.T;
  let m = clamp(m_, 0, T - 1);
  let k = k_;
  let i_T = m;
  let i_D = k;
  return ((load_h(i_T * 64 + i_D) * x_7) * load_weight(i_D));
}

fn b0_3(batch: i32, n_: i32, k_: i32) -> f32 {
  let T = launch.T;
  let n = clamp(n_, 0, 16 - 1);
  let k = k_;
  let i_Fs = n;
  let i_D = k;
  return load_gate_2(i_D * 16 + i_Fs);
}

fn a1_3(batch: i32, m_: i32, k_: i32, x_7: f32) -> f32 {
  let T = launch.T;
  let m = clamp(m_, 0, T - 1);
  let k = k_;
  let i_T = m;
  let i_D = k;
  return ((load_h(i_T * 64 + i_D) * x_7) * load_weight(i_D));
}

fn b1_3(batch: i32, n_: i32, k_: i32) -> f32 {
  let T = launch.T;
  let n = clamp(n_, 0, 16 - 1);
  let k = k_;
  let i_Fs = n;
  let i_D = k;
  return load_up(i_D * 16 + i_Fs);
}

fn x_7_of_3(m_: i32) -> f32 {
  let T = launch.T;
  let m = clamp(m_, 0, T - 1);
  let i_T = m;
  var x_6: f32;
  var x_7: f32;
  {
    var sum0 = 0.0;
    for (var i_D = 0; i_D < 64; i_D++) {
      sum0 = sum0 + (load_h(i_T * 64 + i_D) * load_h(i_T * 64 + i_D));
    }
    x_6 = sum0;
  }
  x_7 = inverseSqrt(((x_6 / 64.0) + 0.000001));
  return x_7;
}

fn finish_3(batch: i32, m: i32, n: i32, product_2: f32, product_3: f32) {
  let T = launch.T;
  if ((m >= 0) & (m < T) & (n < 16)) {
    let i_T = m;
    let i_Fs = n;
    store_x_5(i_T * 16 + i_Fs, (silu(product_2) * product_3));
  }
}

fn sum_of_workgroup_f32_3(x: f32, at: i32) -> f32 {
  let lane = at;
  let first = 0;
  workgroupBarrier();
  lanes_f32_3[at] = x;
  workgroupBarrier();
  if (lane < 8) {
    var all = lanes_f32_3[(first + lane) * 8];
    for (var i = 1; i < 8; i++) {
      all = all + lanes_f32_3[(first + lane) * 8 + i];
    }
    folds_f32_3[first + lane] = all;
  }
  workgroupBarrier();
  var all = folds_f32_3[first];
  for (var i = 1; i < 8; i++) {
    all = all + folds_f32_3[first + i];
  }
  return all;
}

fn run_few_3(group: vec3<u32>, groups: vec3<u32>, index: u32) {
  let lane = i32(index);
  let T = launch.T;
  let item = i32(group.y * groups.x + group.x);
  if (item >= launch.items_3) {
    return;
  }
  let blocks = (16 + 63) / 64;
  let n = item % blocks * 64 + lane;
  let row_blocks = (T + 3) / 4;
  let m = item / blocks % row_blocks * 4;
  let batch = item / blocks / row_blocks;
  let rows = min(4, T - m);
  var x_7_rows: array<f32, 4>;
  let first = m;
  for (var r = 0; r < rows; r++) {
    let m = first + r;
    let i_T = m;
    var x_6: f32;
    var x_7: f32;
    {
      var part1 = 0.0;
      for (var i_D = lane; i_D < 64; i_D += 64) {
        part1 = part1 + (load_h(i_T * 64 + i_D) * load_h(i_T * 64 + i_D));
      }
      x_6 = sum_of_workgroup_f32_3(part1, lane);
    }
    x_7 = inverseSqrt(((x_6 / 64.0) + 0.000001));
    x_7_rows[r] = x_7;
  }
  let i_T = m;
  let own_n = min(n, 16 - 1);
  let i_Fs = own_n;
  var sum0 = vec4<f32>();
  var sum1 = vec4<f32>();
  if (rows > 1) {
    for (var first = 0; first < 64; first += 512) {
      let count = min(512, 64 - first);
      workgroupBarrier();
      for (var i = lane; i < count; i += 64) {
        let k = first + i;
        var x: vec4<f32>;
        for (var e = 0; e < 4; e++) {
          x[e] = a0_3(batch, m + e, k, x_7_rows[e]);
        }
        tile_a_3[i] = x;
      }
      workgroupBarrier();
      for (var j = 0; j < count; j++) {
        let k = first + j;
        let i_D = k;
        sum0 += tile_a_3[j] * (load_gate_2(i_D * 16 + i_Fs));
        sum1 += tile_a_3[j] * (load_up(i_D * 16 + i_Fs));
      }
    }
  }
  if (rows == 1) {
    for (var k = 0; k < 64; k++) {
      let i_D = k;
      let b0_3 = load_gate_2(i_D * 16 + i_Fs);
      let b1_3 = load_up(i_D * 16 + i_Fs);
      let x_7 = x_7_rows[0];
      let a = ((load_h(i_T * 64 + i_D) * x_7) * load_weight(i_D));
      sum0.x += a * b0_3;
      sum1.x += a * b1_3;
    }
  }
  if (n < 16) {
    for (var r = 0; r < rows; r++) {
      finish_3(batch, m + r, n, sum0[r], sum1[r]);
    }
  }
}

@compute @workgroup_size(64)
fn few_3(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) index: u32) {
  run_few_3(group, groups, index);
}

fn run_tile_3(group: vec3<u32>, groups: vec3<u32>, index: u32) {
  let lane = i32(index);
  let T = launch.T;
  let item = i32(group.y * groups.x + group.x);
  if (item >= launch.items_3) {
    return;
  }
  let first_n = item % ((16 + 63) / 64) * 64;
  let row = item / ((16 + 63) / 64) % ((T + 63) / 64);
  let batch = item / ((16 + 63) / 64) / ((T + 63) / 64);
  let own_m = lane / 8 * 4;
  let own_n = lane % 8 * 8;
  let quad_m = own_m / 4;
  let quad_n = own_n / 4;
  let first_m = row * 64;
  if (lane < 64) {
    x_7_of_row_3[lane] = x_7_of_3(first_m + lane);
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
  for (var first = 0; first < 64; first += 32) {
    workgroupBarrier();
    for (var i = lane; i < 512; i += 128) {
      let k = i % 32;
      let quad = i / 32;
      let at = first + k;
      var x: vec4<f32>;
      for (var e = 0; e < 4; e++) {
        x[e] = a0_3(batch, first_m + quad * 4 + e, at, x_7_of_row_3[quad * 4 + e]);
      }
      tile_a_3[k * 16 + quad] = x;
    }
    for (var i = lane; i < 512; i += 128) {
      let k = i / 16;
      let quad = i % 16;
      let at = first + k;
      tile_b_3[k * 16 + quad] = vec4<f32>(b0_3(batch, first_n + quad * 4 + 0, at), b0_3(batch, first_n + quad * 4 + 1, at), b0_3(batch, first_n + quad * 4 + 2, at), b0_3(batch, first_n + quad * 4 + 3, at));
    }
    workgroupBarrier();
    for (var k = 0; k < 32; k++) {
      let b0_3 = tile_b_3[k * 16 + quad_n];
      let b1_3 = tile_b_3[k * 16 + quad_n + 1];
      let a0_3 = tile_a_3[k * 16 + quad_m];
      p0_0 += a0_3.x * b0_3;
      q0_0 += a0_3.x * b1_3;
      p0_1 += a0_3.y * b0_3;
      q0_1 += a0_3.y * b1_3;
      p0_2 += a0_3.z * b0_3;
      q0_2 += a0_3.z * b1_3;
      p0_3 += a0_3.w * b0_3;
      q0_3 += a0_3.w * b1_3;
    }
  }
  for (var first = 0; first < 64; first += 32) {
    workgroupBarrier();
    for (var i = lane; i < 512; i += 128) {
      let k = i % 32;
      let quad = i / 32;
      let at = first + k;
      var x: vec4<f32>;
      for (var e = 0; e < 4; e++) {
        x[e] = a1_3(batch, first_m + quad * 4 + e, at, x_7_of_row_3[quad * 4 + e]);
      }
      tile_a_3[k * 16 + quad] = x;
    }
    for (var i = lane; i < 512; i += 128) {
      let k = i / 16;
      let quad = i % 16;
      let at = first + k;
      tile_b_3[k * 16 + quad] = vec4<f32>(b1_3(batch, first_n + quad * 4 + 0, at), b1_3(batch, first_n + quad * 4 + 1, at), b1_3(batch, first_n + quad * 4 + 2, at), b1_3(batch, first_n + quad * 4 + 3, at));
    }
    workgroupBarrier();
    for (var k = 0; k < 32; k++) {
      let b0_3 = tile_b_3[k * 16 + quad_n];
      let b1_3 = tile_b_3[k * 16 + quad_n + 1];
      let a0_3 = tile_a_3[k * 16 + quad_m];
      p1_0 += a0_3.x * b0_3;
      q1_0 += a0_3.x * b1_3;
      p1_1 += a0_3.y * b0_3;
      q1_1 += a0_3.y * b1_3;
      p1_2 += a0_3.z * b0_3;
      q1_2 += a0_3.z * b1_3;
      p1_3 += a0_3.w * b0_3;
      q1_3 += a0_3.w * b1_3;
    }
  }
  var sums0 = array(array(p0_0, q0_0), array(p0_1, q0_1), array(p0_2, q0_2), array(p0_3, q0_3));
  var sums1 = array(array(p1_0, q1_0), array(p1_1, q1_1), array(p1_2, q1_2), array(p1_3, q1_3));
  for (var r = 0; r < 4; r++) {
    for (var c = 0; c < 8; c++) {
      finish_3(batch, first_m + own_m + r, first_n + own_n + c, sums0[r][c / 4][c % 4], sums1[r][c / 4][c % 4]);
    }
  }
}

@compute @workgroup_size(128)
fn tile_3(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) index: u32) {
  run_tile_3(group, groups, index);
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
  if (item < launch.items_3) {
    run_few_3(vec3<u32>(u32(item), 0u, 0u), vec3<u32>(u32(launch.items_3), 1u, 1u), index);
    return;
  }
  item -= launch.items_3;
}
