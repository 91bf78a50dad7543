// rows_rms_norm_2: rows
// of DeepSeekMoe, Decoder, RmsNorm
//   read x_2: f32[T]
//   read picked: f32[T, 3]
//   read chosen: i32[T, 3]
//   read x_4: f32[T, 3, 64]
//   update x_5: f32[T, 64]
//   read h: f32[T, 64]
//   read x_6: f32[T, 64]
//   write x_9: f32[T, 64]
//   read weight_2: f32[64]

struct Launch {
  items: i32, // what there is to do, one for a workgroup at a time
  items_before: i32, // the same of the entry point that runs before
  T: i32,
  x_2: i32, // its first word
  picked: i32, // its first word
  chosen: i32, // its first word
  x_4: i32, // its first word
  x_5: i32, // its first word
  h: i32, // its first word
  x_6: i32, // its first word
  x_9: i32, // its first word
  weight_2: i32, // its first word
}
@group(0) @binding(0) var<uniform> launch: Launch;
@group(0) @binding(1) var<storage, read_write> arena: array<u32>;
@group(0) @binding(2) var<storage, read_write> stores: array<u32>;
@group(0) @binding(3) var<storage, read_write> caches: array<u32>;
@group(0) @binding(4) var<storage, read_write> stores_1: array<u32>;
@group(0) @binding(5) var<storage, read_write> stores_2: array<u32>;
@group(0) @binding(6) var<storage, read_write> stores_3: array<u32>;

override x_2_space: u32 = 0u;
override picked_space: u32 = 0u;
override chosen_space: u32 = 0u;
override x_4_space: u32 = 0u;
override x_5_space: u32 = 0u;
override h_space: u32 = 0u;
override x_6_space: u32 = 0u;
override x_9_space: u32 = 0u;
override weight_2_space: u32 = 0u;

var<workgroup> weight: array<f32, 3>;
var<workgroup> x_3: array<f32, 64>;
var<workgroup> lanes_f32: array<f32, 64>;
var<workgroup> folds_f32: array<f32, 8>;

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

fn load_picked(i: i32) -> f32 {
  return bitcast<f32>(word(picked_space, launch.picked + i));
}

fn load_chosen(i: i32) -> i32 {
  return bitcast<i32>(word(chosen_space, launch.chosen + i));
}

fn load_x_4(i: i32) -> f32 {
  return bitcast<f32>(word(x_4_space, launch.x_4 + i));
}

fn load_x_5(i: i32) -> f32 {
  return bitcast<f32>(word(x_5_space, launch.x_5 + i));
}

fn store_x_5(i: i32, x: f32) {
  set_word(x_5_space, launch.x_5 + i, bitcast<u32>(x));
}

fn load_h(i: i32) -> f32 {
  return bitcast<f32>(word(h_space, launch.h + i));
}

fn load_x_6(i: i32) -> f32 {
  return bitcast<f32>(word(x_6_space, launch.x_6 + i));
}

fn store_x_9(i: i32, x: f32) {
  set_word(x_9_space, launch.x_9 + i, bitcast<u32>(x));
}

fn load_weight_2(i: i32) -> f32 {
  return bitcast<f32>(word(weight_2_space, launch.weight_2 + i));
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
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) index: u32) {
  let lane = i32(index);
  let T = launch.T;
  let item = i32(group.y * groups.x + group.x);
  if (item >= launch.items) {
    return;
  }
  let i_T = item;
  var x: f32;
  var x_7: f32;
  var x_8: f32;
  x = (load_x_2(i_T) + 1e-20);
  for (var i_K = lane; i_K < 3; i_K += 64) {
    weight[i_K] = ((load_picked(i_T * 3 + i_K) / x) * 2.5);
  }
  workgroupBarrier();
  storageBarrier();
  for (var i_D = lane; i_D < 64; i_D += 64) {
    var sum0 = 0.0;
    for (var i_K = 0; i_K < 3; i_K++) {
      sum0 = sum0 + select((load_x_4(i_T * 192 + i_K * 64 + i_D) * weight[i_K]), 0.0, (load_chosen(i_T * 3 + i_K) < 0));
    }
    x_3[i_D] = sum0;
  }
  workgroupBarrier();
  storageBarrier();
  for (var i_D = lane; i_D < 64; i_D += 64) {
    store_x_5(i_T * 64 + i_D, (load_h(i_T * 64 + i_D) + (load_x_6(i_T * 64 + i_D) + x_3[i_D])));
  }
  workgroupBarrier();
  storageBarrier();
  {
    var part1 = 0.0;
    for (var i_D = lane; i_D < 64; i_D += 64) {
      part1 = part1 + (load_x_5(i_T * 64 + i_D) * load_x_5(i_T * 64 + i_D));
    }
    x_7 = sum_of_workgroup_f32(part1, lane);
  }
  x_8 = inverseSqrt(((x_7 / 64.0) + 0.000001));
  for (var i_D = lane; i_D < 64; i_D += 64) {
    store_x_9(i_T * 64 + i_D, ((load_x_5(i_T * 64 + i_D) * x_8) * load_weight_2(i_D)));
  }
}
