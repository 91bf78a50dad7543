// rows_rms_norm: rows
// of Embedding, RmsNorm
//   update x: f32[T, 64]
//   read tokens_: i32[T]
//   read weight: f32[160, 64]
//   write x_4: f32[T, 64]
//   read weight_2: f32[64]

struct Launch {
  items: i32, // what there is to do, one for a workgroup at a time
  items_before: i32, // the same of the entry point that runs before
  T: i32,
  x: i32, // its first word
  tokens_: i32, // its first word
  weight: i32, // its first word
  x_4: i32, // its first word
  weight_2: i32, // its first word
}
@group(0) @binding(0) var<uniform> launch: Launch;
@group(0) @binding(1) var<storage, read_write> arena: array<u32>;
@group(0) @binding(2) var<storage, read_write> stores: array<u32>;
@group(0) @binding(3) var<storage, read_write> caches: array<u32>;
@group(0) @binding(4) var<storage, read_write> stores_1: array<u32>;
@group(0) @binding(5) var<storage, read_write> stores_2: array<u32>;
@group(0) @binding(6) var<storage, read_write> stores_3: array<u32>;

override x_space: u32 = 0u;
override tokens__space: u32 = 0u;
override weight_space: u32 = 0u;
override x_4_space: u32 = 0u;
override weight_2_space: u32 = 0u;

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

fn load_x(i: i32) -> f32 {
  return bitcast<f32>(word(x_space, launch.x + i));
}

fn store_x(i: i32, x: f32) {
  set_word(x_space, launch.x + i, bitcast<u32>(x));
}

fn load_tokens_(i: i32) -> i32 {
  return bitcast<i32>(word(tokens__space, launch.tokens_ + i));
}

fn load_weight(i: i32) -> f32 {
  return bitcast<f32>(word(weight_space, launch.weight + i));
}

fn store_x_4(i: i32, x: f32) {
  set_word(x_4_space, launch.x_4 + i, bitcast<u32>(x));
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
  var x_2: f32;
  var x_3: f32;
  for (var i_D = lane; i_D < 64; i_D += 64) {
    let v0 = load_tokens_(i_T);
    store_x(i_T * 64 + i_D, select(load_weight((min(max(v0, 0), 159)) * 64 + i_D), 0.0, (v0 < 0)));
  }
  workgroupBarrier();
  storageBarrier();
  {
    var part1 = 0.0;
    for (var i_D = lane; i_D < 64; i_D += 64) {
      part1 = part1 + (load_x(i_T * 64 + i_D) * load_x(i_T * 64 + i_D));
    }
    x_2 = sum_of_workgroup_f32(part1, lane);
  }
  x_3 = inverseSqrt(((x_2 / 64.0) + 0.000001));
  for (var i_D = lane; i_D < 64; i_D += 64) {
    store_x_4(i_T * 64 + i_D, ((load_x(i_T * 64 + i_D) * x_3) * load_weight_2(i_D)));
  }
}
