// parts_wq_a_wkv_a: 2 kernels in one launch
// of Mla.query_down, Mla.latent_down
// part_1: gemm
//   read x: f32[T, 64]
//   read wq_a: f32[64, 24]
//   write x_2: f32[T, 24]
// part_2: gemm
//   read x: f32[T, 64]
//   read wkv_a: f32[64, 24]
//   write x_3: f32[T, 24]

struct Launch {
  items_1: i32, // what part 1 has to do, one for a workgroup at a time
  items_before_1: i32, // the same of its entry point that runs before
  items_2: i32, // what part 2 has to do, one for a workgroup at a time
  items_before_2: i32, // the same of its entry point that runs before
  T: i32,
  x: i32, // its first word
  wq_a: i32, // its first word
  x_2: i32, // its first word
  wkv_a: i32, // its first word
  x_3: i32, // its first word
}
@group(0) @binding(0) var<uniform> launch: Launch;
@group(0) @binding(1) var<storage, read_write> arena: array<u32>;
@group(0) @binding(2) var<storage, read_write> stores: array<u32>;
@group(0) @binding(3) var<storage, read_write> caches: array<u32>;
@group(0) @binding(4) var<storage, read_write> stores_1: array<u32>;
@group(0) @binding(5) var<storage, read_write> stores_2: array<u32>;
@group(0) @binding(6) var<storage, read_write> stores_3: array<u32>;

override x_space: u32 = 0u;
override wq_a_space: u32 = 0u;
override x_2_space: u32 = 0u;
override wkv_a_space: u32 = 0u;
override x_3_space: u32 = 0u;

var<workgroup> tile_a_1: array<vec4<f32>, 512>;
var<workgroup> tile_b_1: array<vec4<f32>, 512>;
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

fn load_x(i: i32) -> f32 {
  return bitcast<f32>(word(x_space, launch.x + i));
}

fn load_wq_a(i: i32) -> f32 {
  return bitcast<f32>(word(wq_a_space, launch.wq_a + i));
}

fn store_x_2(i: i32, x: f32) {
  set_word(x_2_space, launch.x_2 + i, bitcast<u32>(x));
}

fn load_wkv_a(i: i32) -> f32 {
  return bitcast<f32>(word(wkv_a_space, launch.wkv_a + i));
}

fn store_x_3(i: i32, x: f32) {
  set_word(x_3_space, launch.x_3 + i, bitcast<u32>(x));
}

fn a0_1(batch: i32, m_: i32, k_: i32) -> f32 {
  let T = launch.T;
  let m = clamp(m_, 0, T - 1);
  let k = k_;
  let i_T = m;
  let i_D = k;
  return load_x(i_T * 64 + i_D);
}

fn b0_1(batch: i32, n_: i32, k_: i32) -> f32 {
  let T = launch.T;
  let n = clamp(n_, 0, 24 - 1);
  let k = k_;
  let i_Q = n;
  let i_D = k;
  return load_wq_a(i_D * 24 + i_Q);
}

fn finish_1(batch: i32, m: i32, n: i32, product: f32) {
  let T = launch.T;
  if ((m >= 0) & (m < T) & (n < 24)) {
    let i_T = m;
    let i_Q = n;
    store_x_2(i_T * 24 + i_Q, product);
  }
}

fn run_few_1(group: vec3<u32>, groups: vec3<u32>, index: u32) {
  let lane = i32(index);
  let T = launch.T;
  let item = i32(group.y * groups.x + group.x);
  if (item >= launch.items_1) {
    return;
  }
  let blocks = (24 + 63) / 64;
  let n = item % blocks * 64 + lane;
  let row_blocks = (T + 3) / 4;
  let m = item / blocks % row_blocks * 4;
  let batch = item / blocks / row_blocks;
  let rows = min(4, T - m);
  let i_T = m;
  let own_n = min(n, 24 - 1);
  let i_Q = own_n;
  var sum0 = vec4<f32>();
  for (var k = 0; k < 64; k++) {
    let i_D = k;
    let b = load_wq_a(i_D * 24 + i_Q);
    if (rows == 1) {
      sum0.x += load_x(i_T * 64 + i_D) * b;
    }
    else {
      sum0 += vec4<f32>(a0_1(batch, m + 0, k), a0_1(batch, m + 1, k), a0_1(batch, m + 2, k), a0_1(batch, m + 3, k)) * b;
    }
  }
  if (n < 24) {
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
  let first_n = item % ((24 + 63) / 64) * 64;
  let row = item / ((24 + 63) / 64) % ((T + 63) / 64);
  let batch = item / ((24 + 63) / 64) / ((T + 63) / 64);
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
  for (var first = 0; first < 64; first += 32) {
    workgroupBarrier();
    for (var i = lane; i < 512; i += 64) {
      let k = i % 32;
      let quad = i / 32;
      let at = first + k;
      tile_a_1[k * 16 + quad] = vec4<f32>(a0_1(batch, first_m + quad * 4 + 0, at), a0_1(batch, first_m + quad * 4 + 1, at), a0_1(batch, first_m + quad * 4 + 2, at), a0_1(batch, first_m + quad * 4 + 3, at));
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

fn a0_2(batch: i32, m_: i32, k_: i32) -> f32 {
  let T = launch.T;
  let m = clamp(m_, 0, T - 1);
  let k = k_;
  let i_T = m;
  let i_D = k;
  return load_x(i_T * 64 + i_D);
}

fn b0_2(batch: i32, n_: i32, k_: i32) -> f32 {
  let T = launch.T;
  let n = clamp(n_, 0, 24 - 1);
  let k = k_;
  let i_C_R = n;
  let i_D = k;
  return load_wkv_a(i_D * 24 + i_C_R);
}

fn finish_2(batch: i32, m: i32, n: i32, product_2: f32) {
  let T = launch.T;
  if ((m >= 0) & (m < T) & (n < 24)) {
    let i_T = m;
    let i_C_R = n;
    store_x_3(i_T * 24 + i_C_R, product_2);
  }
}

fn run_few_2(group: vec3<u32>, groups: vec3<u32>, index: u32) {
  let lane = i32(index);
  let T = launch.T;
  let item = i32(group.y * groups.x + group.x);
  if (item >= launch.items_2) {
    return;
  }
  let blocks = (24 + 63) / 64;
  let n = item % blocks * 64 + lane;
  let row_blocks = (T + 3) / 4;
  let m = item / blocks % row_blocks * 4;
  let batch = item / blocks / row_blocks;
  let rows = min(4, T - m);
  let i_T = m;
  let own_n = min(n, 24 - 1);
  let i_C_R = own_n;
  var sum0 = vec4<f32>();
  for (var k = 0; k < 64; k++) {
    let i_D = k;
    let b = load_wkv_a(i_D * 24 + i_C_R);
    if (rows == 1) {
      sum0.x += load_x(i_T * 64 + i_D) * b;
    }
    else {
      sum0 += vec4<f32>(a0_2(batch, m + 0, k), a0_2(batch, m + 1, k), a0_2(batch, m + 2, k), a0_2(batch, m + 3, k)) * b;
    }
  }
  if (n < 24) {
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
  let first_n = item % ((24 + 63) / 64) * 64;
  let row = item / ((24 + 63) / 64) % ((T + 63) / 64);
  let batch = item / ((24 + 63) / 64) / ((T + 63) / 64);
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
  for (var first = 0; first < 64; first += 32) {
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
    run_few_1(vec3<u32>(u32(item), 0u, 0u), vec3<u32>(u32(launch.items_1), 1u, 1u), index);
    return;
  }
  item -= launch.items_1;
  if (item < launch.items_2) {
    run_few_2(vec3<u32>(u32(item), 0u, 0u), vec3<u32>(u32(launch.items_2), 1u, 1u), index);
    return;
  }
  item -= launch.items_2;
}
