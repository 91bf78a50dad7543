// rows_embedding_transposed: rows
// of Embedding.transposed
//   write x: f32[B, 64]
//   read rows: i32[B]
//   read hidden: f32[T, 64]

struct Launch {
  items: i32, // what there is to do, one for a workgroup at a time
  items_before: i32, // the same of the entry point that runs before
  B: i32,
  T: i32,
  x: i32, // its first word
  rows: i32, // its first word
  hidden: i32, // its first word
}
@group(0) @binding(0) var<uniform> launch: Launch;
@group(0) @binding(1) var<storage, read_write> arena: array<u32>;
@group(0) @binding(2) var<storage, read_write> stores: array<u32>;
@group(0) @binding(3) var<storage, read_write> caches: array<u32>;
@group(0) @binding(4) var<storage, read_write> stores_1: array<u32>;
@group(0) @binding(5) var<storage, read_write> stores_2: array<u32>;
@group(0) @binding(6) var<storage, read_write> stores_3: array<u32>;

override x_space: u32 = 0u;
override rows_space: u32 = 0u;
override hidden_space: u32 = 0u;

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

fn store_x(i: i32, x: f32) {
  set_word(x_space, launch.x + i, bitcast<u32>(x));
}

fn load_rows(i: i32) -> i32 {
  return bitcast<i32>(word(rows_space, launch.rows + i));
}

fn load_hidden(i: i32) -> f32 {
  return bitcast<f32>(word(hidden_space, launch.hidden + i));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) index: u32) {
  let lane = i32(index);
  let B = launch.B;
  let T = launch.T;
  let item = i32(group.y * groups.x + group.x);
  if (item >= launch.items) {
    return;
  }
  let i_B = item;
  for (var i_D = lane; i_D < 64; i_D += 64) {
    let v0 = load_rows(i_B);
    store_x(i_B * 64 + i_D, select(load_hidden((min(max(v0, 0), (T - 1))) * 64 + i_D), 0.0, (v0 < 0)));
  }
}
