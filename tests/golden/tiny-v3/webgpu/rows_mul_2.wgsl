// rows_mul_2: rows
//   read h: f32[T, 64]
//   write x_3: f32[T, 64]
//   read weight: f32[64]

struct Launch {
  items: i32, // what there is to do, one for a workgroup at a time
  items_before: i32, // the same of the entry point that runs before
  T: i32,
  h: i32, // its first word
  x_3: i32, // its first word
  weight: i32, // its first word
}
@group(0) @binding(0) var<uniform> launch: Launch;
@group(0) @binding(1) var<storage, read_write> arena: array<u32>;
@group(0) @binding(2) var<storage, read_write> stores: array<u32>;
@group(0) @binding(3) var<storage, read_write> caches: array<u32>;
@group(0) @binding(4) var<storage, read_write> stores_1: array<u32>;
@group(0) @binding(5) var<storage, read_write> stores_2: array<u32>;
@group(0) @binding(6) var<storage, read_write> stores_3: array<u32>;

override h_space: u32 = 0u;
override x_3_space: u32 = 0u;
override weight_space: u32 = 0u;

var<workgroup> lanes_f32: array<f32, 64>;

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

fn store_x_3(i: i32, x: f32) {
  set_word(x_3_space, launch.x_3 + i, bitcast<u32>(x));
}

fn load_weight(i: i32) -> f32 {
  return bitcast<f32>(word(weight_space, launch.weight + i));
}

fn sum_of_workgroup_f32(x: f32, lane: i32) -> f32 {
  workgroupBarrier();
  lanes_f32[lane] = x;
  for (var step = 32; step > 0; step /= 2) {
    workgroupBarrier();
    if (lane < step) {
      lanes_f32[lane] = lanes_f32[lane] + lanes_f32[lane + step];
    }
  }
  workgroupBarrier();
  return lanes_f32[0];
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
  var x_2: f32;
  {
    var part0 = 0.0;
    for (var i_D = lane; i_D < 64; i_D += 64) {
      part0 = part0 + (load_h(i_T * 64 + i_D) * load_h(i_T * 64 + i_D));
    }
    x = sum_of_workgroup_f32(part0, lane);
  }
  x_2 = inverseSqrt(((x / 64.0) + 0.000001));
  for (var i_D = lane; i_D < 64; i_D += 64) {
    store_x_3(i_T * 64 + i_D, ((load_h(i_T * 64 + i_D) * x_2) * load_weight(i_D)));
  }
}
