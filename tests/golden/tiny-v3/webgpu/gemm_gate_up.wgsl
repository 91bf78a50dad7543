// gemm_gate_up: gemm
// of RmsNorm, SwiGlu
//   read h: f32[T, 64]
//   read weight: f32[64]
//   read gate: f32[64, 96]
//   read up: f32[64, 96]
//   write x_3: f32[T, 96]

struct Launch {
  items: i32, // what there is to do, one for a workgroup at a time
  items_before: i32, // the same of the entry point that runs before
  T: i32,
  h: i32, // its first word
  weight: i32, // its first word
  gate: i32, // its first word
  up: i32, // its first word
  x_3: i32, // its first word
}
@group(0) @binding(0) var<uniform> launch: Launch;
@group(0) @binding(1) var<storage, read_write> arena: array<u32>;
@group(0) @binding(2) var<storage, read_write> stores: array<u32>;
@group(0) @binding(3) var<storage, read_write> caches: array<u32>;
@group(0) @binding(4) var<storage, read_write> stores_1: array<u32>;
@group(0) @binding(5) var<storage, read_write> stores_2: array<u32>;
@group(0) @binding(6) var<storage, read_write> stores_3: array<u32>;

override h_space: u32 = 0u;
override weight_space: u32 = 0u;
override gate_space: u32 = 0u;
override up_space: u32 = 0u;
override x_3_space: u32 = 0u;

var<workgroup> lanes_f32: array<f32, 64>;
var<workgroup> folds_f32: array<f32, 8>;
var<workgroup> tile_a: array<vec4<f32>, 512>;
var<workgroup> tile_b: array<vec4<f32>, 512>;
var<workgroup> x_2_of_row: array<f32, 64>;

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

fn load_weight(i: i32) -> f32 {
  return bitcast<f32>(word(weight_space, launch.weight + i));
}

fn load_gate(i: i32) -> f32 {
  return bitcast<f32>(word(gate_space, launch.gate + i));
}

fn load_up(i: i32) -> f32 {
  return bitcast<f32>(word(up_space, launch.up + i));
}

fn store_x_3(i: i32, x: f32) {
  set_word(x_3_space, launch.x_3 + i, bitcast<u32>(x));
}

fn sigmoid(x: f32) -> f32 {
  return 1.0 / (1.0 + exp(-x));
}

fn silu(x: f32) -> f32 {
  return x * sigmoid(x);
}

fn a0(batch: i32, m_: i32, k_: i32, x_2: f32) -> f32 {
  let T = launch.T;
  let m = clamp(m_, 0, T - 1);
  let k = k_;
  let i_T = m;
  let i_D = k;
  return ((load_h(i_T * 64 + i_D) * x_2) * load_weight(i_D));
}

fn b0(batch: i32, n_: i32, k_: i32) -> f32 {
  let T = launch.T;
  let n = clamp(n_, 0, 96 - 1);
  let k = k_;
  let i_F = n;
  let i_D = k;
  return load_gate(i_D * 96 + i_F);
}

fn a1(batch: i32, m_: i32, k_: i32, x_2: f32) -> f32 {
  let T = launch.T;
  let m = clamp(m_, 0, T - 1);
  let k = k_;
  let i_T = m;
  let i_D = k;
  return ((load_h(i_T * 64 + i_D) * x_2) * load_weight(i_D));
}

fn b1(batch: i32, n_: i32, k_: i32) -> f32 {
  let T = launch.T;
  let n = clamp(n_, 0, 96 - 1);
  let k = k_;
  let i_F = n;
  let i_D = k;
  return load_up(i_D * 96 + i_F);
}

fn x_2_of(m_: i32) -> f32 {
  let T = launch.T;
  let m = clamp(m_, 0, T - 1);
  let i_T = m;
  var x: f32;
  var x_2: f32;
  {
    var sum0 = 0.0;
    for (var i_D = 0; i_D < 64; i_D++) {
      sum0 = sum0 + (load_h(i_T * 64 + i_D) * load_h(i_T * 64 + i_D));
    }
    x = sum0;
  }
  x_2 = inverseSqrt(((x / 64.0) + 0.000001));
  return x_2;
}

fn finish(batch: i32, m: i32, n: i32, product: f32, product_2: f32) {
  let T = launch.T;
  if ((m >= 0) & (m < T) & (n < 96)) {
    let i_T = m;
    let i_F = n;
    store_x_3(i_T * 96 + i_F, (silu(product) * product_2));
  }
}

fn sum_of_workgroup_f32(x: f32, at: i32) -> f32 {
  let lane = at;
  let first = 0;
  workgroupBarrier();
  lanes_f32[at] = x;
  workgroupBarrier();
  if (lane < 8) {
    var all = lanes_f32[(first + lane) * 8];
    for (var i = 1; i < 8; i++) {
      all = all + lanes_f32[(first + lane) * 8 + i];
    }
    folds_f32[first + lane] = all;
  }
  workgroupBarrier();
  var all = folds_f32[first];
  for (var i = 1; i < 8; i++) {
    all = all + folds_f32[first + i];
  }
  return all;
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
  let blocks = (96 + 63) / 64;
  let n = item % blocks * 64 + lane;
  let row_blocks = (T + 3) / 4;
  let m = item / blocks % row_blocks * 4;
  let batch = item / blocks / row_blocks;
  let rows = min(4, T - m);
  var x_2_rows: array<f32, 4>;
  let first = m;
  for (var r = 0; r < rows; r++) {
    let m = first + r;
    let i_T = m;
    var x: f32;
    var x_2: f32;
    {
      var part1 = 0.0;
      for (var i_D = lane; i_D < 64; i_D += 64) {
        part1 = part1 + (load_h(i_T * 64 + i_D) * load_h(i_T * 64 + i_D));
      }
      x = sum_of_workgroup_f32(part1, lane);
    }
    x_2 = inverseSqrt(((x / 64.0) + 0.000001));
    x_2_rows[r] = x_2;
  }
  let i_T = m;
  let own_n = min(n, 96 - 1);
  let i_F = own_n;
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
          x[e] = a0(batch, m + e, k, x_2_rows[e]);
        }
        tile_a[i] = x;
      }
      workgroupBarrier();
      for (var j = 0; j < count; j++) {
        let k = first + j;
        let i_D = k;
        sum0 += tile_a[j] * (load_gate(i_D * 96 + i_F));
        sum1 += tile_a[j] * (load_up(i_D * 96 + i_F));
      }
    }
  }
  if (rows == 1) {
    for (var k = 0; k < 64; k++) {
      let i_D = k;
      let b0 = load_gate(i_D * 96 + i_F);
      let b1 = load_up(i_D * 96 + i_F);
      let x_2 = x_2_rows[0];
      let a = ((load_h(i_T * 64 + i_D) * x_2) * load_weight(i_D));
      sum0.x += a * b0;
      sum1.x += a * b1;
    }
  }
  if (n < 96) {
    for (var r = 0; r < rows; r++) {
      finish(batch, m + r, n, sum0[r], sum1[r]);
    }
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
  let first_n = item % ((96 + 63) / 64) * 64;
  let row = item / ((96 + 63) / 64) % ((T + 63) / 64);
  let batch = item / ((96 + 63) / 64) / ((T + 63) / 64);
  let own_m = lane / 8 * 4;
  let own_n = lane % 8 * 8;
  let quad_m = own_m / 4;
  let quad_n = own_n / 4;
  let first_m = row * 64;
  if (lane < 64) {
    x_2_of_row[lane] = x_2_of(first_m + lane);
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
        x[e] = a0(batch, first_m + quad * 4 + e, at, x_2_of_row[quad * 4 + e]);
      }
      tile_a[k * 16 + quad] = x;
    }
    for (var i = lane; i < 512; i += 128) {
      let k = i / 16;
      let quad = i % 16;
      let at = first + k;
      tile_b[k * 16 + quad] = vec4<f32>(b0(batch, first_n + quad * 4 + 0, at), b0(batch, first_n + quad * 4 + 1, at), b0(batch, first_n + quad * 4 + 2, at), b0(batch, first_n + quad * 4 + 3, at));
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
  for (var first = 0; first < 64; first += 32) {
    workgroupBarrier();
    for (var i = lane; i < 512; i += 128) {
      let k = i % 32;
      let quad = i / 32;
      let at = first + k;
      var x: vec4<f32>;
      for (var e = 0; e < 4; e++) {
        x[e] = a1(batch, first_m + quad * 4 + e, at, x_2_of_row[quad * 4 + e]);
      }
      tile_a[k * 16 + quad] = x;
    }
    for (var i = lane; i < 512; i += 128) {
      let k = i / 16;
      let quad = i % 16;
      let at = first + k;
      tile_b[k * 16 + quad] = vec4<f32>(b1(batch, first_n + quad * 4 + 0, at), b1(batch, first_n + quad * 4 + 1, at), b1(batch, first_n + quad * 4 + 2, at), b1(batch, first_n + quad * 4 + 3, at));
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
  var sums0 = array(array(p0_0, q0_0), array(p0_1, q0_1), array(p0_2, q0_2), array(p0_3, q0_3));
  var sums1 = array(array(p1_0, q1_0), array(p1_1, q1_1), array(p1_2, q1_2), array(p1_3, q1_3));
  for (var r = 0; r < 4; r++) {
    for (var c = 0; c < 8; c++) {
      finish(batch, first_m + own_m + r, first_n + own_n + c, sums0[r][c / 4][c % 4], sums1[r][c / 4][c % 4]);
    }
  }
}
