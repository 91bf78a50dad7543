// plane_mla_output: plane
// of Mla, Mla.output
//   read x_2: f32[T, 4, 16]
//   read latent: f32[cache, 16]
//   read slot: i32[S]
//   read x_3: f32[T, 4, 4, 2]
//   read key_pe: f32[cache, 8]
//   read pos: i32[S]
//   read pos_2: i32[T]
//   read seq: i32[T]
//   read seq_2: i32[S]
//   write x_4: f32[T, 4, 16]
//   read span_from: i32[T]
//   read span_to: i32[T]

struct Launch {
  items: i32, // what there is to do, one for a workgroup at a time
  items_before: i32, // the same of the entry point that runs before
  S: i32,
  T: i32,
  x_2: i32, // its first word
  latent: i32, // its first word
  slot: i32, // its first word
  x_3: i32, // its first word
  key_pe: i32, // its first word
  pos: i32, // its first word
  pos_2: i32, // its first word
  seq: i32, // its first word
  seq_2: i32, // its first word
  x_4: i32, // its first word
  span_from: i32, // its first word
  span_to: i32, // its first word
  x: i32, // its first word
}
@group(0) @binding(0) var<uniform> launch: Launch;
@group(0) @binding(1) var<storage, read_write> arena: array<u32>;
@group(0) @binding(2) var<storage, read_write> stores: array<u32>;
@group(0) @binding(3) var<storage, read_write> caches: array<u32>;
@group(0) @binding(4) var<storage, read_write> stores_1: array<u32>;
@group(0) @binding(5) var<storage, read_write> stores_2: array<u32>;
@group(0) @binding(6) var<storage, read_write> stores_3: array<u32>;

override x_2_space: u32 = 0u;
override latent_space: u32 = 0u;
override slot_space: u32 = 0u;
override x_3_space: u32 = 0u;
override key_pe_space: u32 = 0u;
override pos_space: u32 = 0u;
override pos_2_space: u32 = 0u;
override seq_space: u32 = 0u;
override seq_2_space: u32 = 0u;
override x_4_space: u32 = 0u;
override span_from_space: u32 = 0u;
override span_to_space: u32 = 0u;

var<private> own: i32;
var<workgroup> lanes_f32: array<f32, 64>;
var<workgroup> folds_f32: array<f32, 16>;

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

fn load_latent(i: i32) -> f32 {
  return bitcast<f32>(word(latent_space, launch.latent + i));
}

fn load_slot(i: i32) -> i32 {
  return bitcast<i32>(word(slot_space, launch.slot + i));
}

fn load_x_3(i: i32) -> f32 {
  return bitcast<f32>(word(x_3_space, launch.x_3 + i));
}

fn load_key_pe(i: i32) -> f32 {
  return bitcast<f32>(word(key_pe_space, launch.key_pe + i));
}

fn load_pos(i: i32) -> i32 {
  return bitcast<i32>(word(pos_space, launch.pos + i));
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

fn store_x_4(i: i32, x: f32) {
  set_word(x_4_space, launch.x_4 + i, bitcast<u32>(x));
}

fn load_span_from(i: i32) -> i32 {
  return bitcast<i32>(word(span_from_space, launch.span_from + i));
}

fn load_span_to(i: i32) -> i32 {
  return bitcast<i32>(word(span_to_space, launch.span_to + i));
}

fn load_x(i: i32) -> f32 {
  return bitcast<f32>(arena[launch.x + own * launch.S + i]);
}

fn store_x(i: i32, x: f32) {
  arena[launch.x + own * launch.S + i] = bitcast<u32>(x);
}

var<private> infinity_bits: u32 = 0x7f800000u;

fn infinity() -> f32 {
  return bitcast<f32>(infinity_bits);
}

fn is_nan(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

// NaN where an operand is NaN.
fn max_f32(a: f32, b: f32) -> f32 {
  return select(b, a, a > b || is_nan(a));
}

fn max_of_team_f32(x: f32, at: i32) -> f32 {
  let lane = at % 16;
  let first = at / 16 * 4;
  workgroupBarrier();
  lanes_f32[at] = x;
  workgroupBarrier();
  if (lane < 4) {
    var all = lanes_f32[(first + lane) * 4];
    for (var i = 1; i < 4; i++) {
      all = max_f32(all, lanes_f32[(first + lane) * 4 + i]);
    }
    folds_f32[first + lane] = all;
  }
  workgroupBarrier();
  var all = folds_f32[first];
  for (var i = 1; i < 4; i++) {
    all = max_f32(all, folds_f32[first + i]);
  }
  return all;
}

fn sum_of_team_f32(x: f32, at: i32) -> f32 {
  let lane = at % 16;
  let first = at / 16 * 4;
  workgroupBarrier();
  lanes_f32[at] = x;
  workgroupBarrier();
  if (lane < 4) {
    var all = lanes_f32[(first + lane) * 4];
    for (var i = 1; i < 4; i++) {
      all = all + lanes_f32[(first + lane) * 4 + i];
    }
    folds_f32[first + lane] = all;
  }
  workgroupBarrier();
  var all = folds_f32[first];
  for (var i = 1; i < 4; i++) {
    all = all + folds_f32[first + i];
  }
  return all;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) index: u32) {
  let lane = i32(index);
  let S = launch.S;
  let T = launch.T;
  let count = T * 4;
  let team = lane / 16;
  own = i32(group.x) * 4 + team;
  for (var block = i32(group.x); block < launch.items; block += i32(groups.x)) {
    // Teams without a row repeat the last one, as barriers want it, and store nothing.
    let inside = block * 4 + team < count;
    let item = min(block * 4 + team, count - 1);
    let lane = i32(index) % 16;
    let i_H = item % 4;
    let i_T = item / 4;
    let from_column = load_span_from(i_T);
    let to_column = load_span_to(i_T);
    var peak: f32;
    var sum_: f32;
    var inverse: f32;
    for (var i_S = from_column + lane; i_S < to_column; i_S += 16) {
      var sum0 = 0.0;
      {
        for (var i_C = 0; i_C < 16; i_C++) {
          sum0 += load_x_2(i_T * 64 + i_H * 16 + i_C) * load_latent((load_slot(i_S)) * 16 + i_C);
        }
      }
      {
        for (var i_R = 0; i_R < 8; i_R++) {
          sum0 += load_x_3(i_T * 32 + i_H * 8 + i_R) * load_key_pe((load_slot(i_S)) * 8 + i_R);
        }
      }
      store_x(i_S, sum0);
    }
    workgroupBarrier();
    storageBarrier();
    for (var i_S = from_column + lane; i_S < to_column; i_S += 16) {
      store_x(i_S, (load_x(i_S) * 0.20412415));
    }
    workgroupBarrier();
    storageBarrier();
    {
      var part1 = (-infinity());
      for (var i_S = from_column + lane; i_S < to_column; i_S += 16) {
        part1 = max_f32(part1, select(load_x(i_S), (-infinity()), (!((load_pos(i_S) <= load_pos_2(i_T)) & (load_seq(i_T) == load_seq_2(i_S))))));
      }
      peak = max_of_team_f32(part1, i32(index));
    }
    workgroupBarrier();
    storageBarrier();
    for (var i_S = from_column + lane; i_S < to_column; i_S += 16) {
      let v2 = peak;
      store_x(i_S, select(exp((load_x(i_S) - select(v2, 0.0, (v2 == (-infinity()))))), 0.0, (!((load_pos(i_S) <= load_pos_2(i_T)) & (load_seq(i_T) == load_seq_2(i_S))))));
    }
    workgroupBarrier();
    storageBarrier();
    {
      var part3 = 0.0;
      for (var i_S = from_column + lane; i_S < to_column; i_S += 16) {
        part3 = part3 + load_x(i_S);
      }
      sum_ = sum_of_team_f32(part3, i32(index));
    }
    let v4 = sum_;
    inverse = select((1.0 / v4), 0.0, (v4 == 0.0));
    workgroupBarrier();
    storageBarrier();
    for (var i_S = from_column + lane; i_S < to_column; i_S += 16) {
      store_x(i_S, (load_x(i_S) * inverse));
    }
    workgroupBarrier();
    storageBarrier();
    for (var i_C = lane; i_C < 16; i_C += 16) {
      var sum5 = 0.0;
      for (var i_S = from_column; i_S < to_column; i_S++) {
        sum5 += load_x(i_S) * load_latent((load_slot(i_S)) * 16 + i_C);
      }
      if (inside) {
        store_x_4(i_T * 64 + i_H * 16 + i_C, sum5);
      }
    }
    workgroupBarrier();
    storageBarrier();
  }
}
