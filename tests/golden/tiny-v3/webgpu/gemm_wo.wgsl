// gemm_wo: gemm
// of Mla.output, Decoder
//   read x: f32[T, 4, 16]
//   read wo: f32[4, 16, 64]
//   read x_2: f32[T, 64]
//   write h: f32[T, 64]

struct Launch {
  items: i32, // what there is to do, one for a workgroup at a time
  items_before: i32, // the same of the entry point that runs before
  T: i32,
  x: i32, // its first word
  wo: i32, // its first word
  x_2: i32, // its first word
  h: i32, // its first word
}
@group(0) @binding(0) var<uniform> launch: Launch;
@group(0) @binding(1) var<storage, read_write> arena: array<u32>;
@group(0) @binding(2) var<storage, read_write> stores: array<u32>;
@group(0) @binding(3) var<storage, read_write> caches: array<u32>;
@group(0) @binding(4) var<storage, read_write> stores_1: array<u32>;
@group(0) @binding(5) var<storage, read_write> stores_2: array<u32>;
@group(0) @binding(6) var<storage, read_write> stores_3: array<u32>;

override x_space: u32 = 0u;
override wo_space: u32 = 0u;
override x_2_space: u32 = 0u;
override h_space: u32 = 0u;

var<workgroup> tile_a: array<vec4<f32>, 512>;
var<workgroup> tile_b: array<vec4<f32>, 512>;

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

fn load_wo(i: i32) -> f32 {
  return bitcast<f32>(word(wo_space, launch.wo + i));
}

fn load_x_2(i: i32) -> f32 {
  return bitcast<f32>(word(x_2_space, launch.x_2 + i));
}

fn store_h(i: i32, x: f32) {
  set_word(h_space, launch.h + i, bitcast<u32>(x));
}

fn a0(batch: i32, m_: i32, k_: i32) -> f32 {
  let T = launch.T;
  let m = clamp(m_, 0, T - 1);
  let k = k_;
  let i_T = m;
  let i_Vh = k % 16;
  let i_H = k / 16;
  return load_x(i_T * 64 + i_H * 16 + i_Vh);
}

fn b0(batch: i32, n_: i32, k_: i32) -> f32 {
  let T = launch.T;
  let n = n_;
  let k = k_;
  let i_D = n;
  let i_Vh = k % 16;
  let i_H = k / 16;
  return load_wo(i_H * 1024 + i_Vh * 64 + i_D);
}

fn finish(batch: i32, m: i32, n: i32, product: f32) {
  let T = launch.T;
  if ((m >= 0) & (m < T)) {
    let i_T = m;
    let i_D = n;
    store_h(i_T * 64 + i_D, (load_x_2(i_T * 64 + i_D) + product));
  }
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
  for (var k = 0; k < 4 * 16; k++) {
    let i_Vh = k % 16;
    let i_H = k / 16;
    let b = load_wo(i_H * 1024 + i_Vh * 64 + i_D);
    if (rows == 1) {
      sum0.x += load_x(i_T * 64 + i_H * 16 + i_Vh) * b;
    }
    else {
      sum0 += vec4<f32>(a0(batch, m + 0, k), a0(batch, m + 1, k), a0(batch, m + 2, k), a0(batch, m + 3, k)) * b;
    }
  }
  if (n < 64) {
    for (var r = 0; r < rows; r++) {
      finish(batch, m + r, n, sum0[r]);
    }
  }
}

@compute @workgroup_size(64)
fn tile(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) index: u32) {
  let lane = i32(index);
  let T = launch.T;
  let item = i32(group.y * groups.x + group.x);
  if (item >= launch.items) {
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
  for (var first = 0; first < 4 * 16; first += 32) {
    workgroupBarrier();
    for (var i = lane; i < 512; i += 64) {
      let k = i % 32;
      let quad = i / 32;
      let at = first + k;
      tile_a[k * 16 + quad] = vec4<f32>(a0(batch, first_m + quad * 4 + 0, at), a0(batch, first_m + quad * 4 + 1, at), a0(batch, first_m + quad * 4 + 2, at), a0(batch, first_m + quad * 4 + 3, at));
    }
    for (var i = lane; i < 512; i += 64) {
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
      let a1 = tile_a[k * 16 + quad_m + 1];
      p0_4 += a1.x * b0;
      q0_4 += a1.x * b1;
      p0_5 += a1.y * b0;
      q0_5 += a1.y * b1;
      p0_6 += a1.z * b0;
      q0_6 += a1.z * b1;
      p0_7 += a1.w * b0;
      q0_7 += a1.w * b1;
    }
  }
  var sums0 = array(array(p0_0, q0_0), array(p0_1, q0_1), array(p0_2, q0_2), array(p0_3, q0_3), array(p0_4, q0_4), array(p0_5, q0_5), array(p0_6, q0_6), array(p0_7, q0_7));
  for (var r = 0; r < 8; r++) {
    for (var c = 0; c < 8; c++) {
      finish(batch, first_m + own_m + r, first_n + own_n + c, sums0[r][c / 4][c % 4]);
    }
  }
}
