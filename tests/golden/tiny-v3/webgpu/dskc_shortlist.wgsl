// Shortlists of logits, a workgroup for each: runtime/program/shortlist.ts says what is asked for and what is told.
const THREADS = 64;
const BINS = 256;
const EACH = THREADS / 16; // threads for the sum in front of a lifted token
const ASKED = 9; // words
const HEAD = 8;

struct Launch {
  items: i32,
  items_before: i32,
  ITEMS: i32,
  V: i32,
  KNOWN: i32,
  LOGITS: i32, // first words
  ASKS: i32,
  KEYS: i32,
  SCORES: i32,
}
@group(0) @binding(0) var<uniform> launch: Launch;
@group(0) @binding(1) var<storage, read_write> arena: array<u32>;

var<workgroup> asked: array<i32, ASKED>;
var<workgroup> keys: array<u32, THREADS>;
var<workgroup> tokens: array<i32, THREADS>;
var<workgroup> sums: array<vec2<f32>, THREADS>;
var<workgroup> bins: array<atomic<u32>, BINS>;
var<workgroup> bin: vec2<u32>;
var<workgroup> taken: atomic<u32>;

const MINUS_INFINITY = 0x007fffffu;

// Larger floats are larger numbers; NaN, whatever its sign, is the largest. No float is 0.
fn key_of(bits: u32) -> u32 {
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return 0xffffffffu;
  }
  // 0 and -0 are equal.
  let own = select(bits, 0u, bits == 0x80000000u);
  return select(own | 0x80000000u, ~own, (own & 0x80000000u) != 0u);
}

fn value_of(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key & 0x7fffffffu, key >= 0x80000000u));
}

fn mix(word: u32) -> u32 {
  let a = (word ^ (word >> 16u)) * 0x7feb352du;
  let b = (a ^ (a >> 15u)) * 0x846ca68bu;
  return b ^ (b >> 16u);
}

// -ln(-ln u), u = (word + 1/2) / 2^32; near 1 by the series of 2 artanh(v / (2 - v)) = -ln(1 - v).
fn gumbel(word: u32) -> f32 {
  if (word < 0x80000000u) {
    return -log(-log((f32(word) + 0.5) * 0x1p-32f));
  }
  let v = (f32(~word) + 0.5) * 0x1p-32f;
  let z = v / (2.0 - v);
  let s = z * z;
  return -log(2.0 * z * (1.0 + s * (1.0 / 3.0 + s * (0.2 + s * (1.0 / 7.0 + s * (1.0 / 9.0 + s / 11.0))))));
}

// The key with `rank` keys in front of it, 0 if there are not so many.
fn key_at(first: i32, rank: u32, lane: i32) -> u32 {
  var left = rank + 1u;
  var prefix = 0u;
  var mask = 0u;
  for (var shift = 24u; shift < 32u; shift -= 8u) {
    for (var i = lane; i < BINS; i += THREADS) {
      atomicStore(&bins[i], 0u);
    }
    workgroupBarrier();
    for (var i = lane; i < launch.KNOWN; i += THREADS) {
      let key = arena[first + i];
      if ((key & mask) == prefix) {
        atomicAdd(&bins[(key >> shift) & 255u], 1u);
      }
    }
    workgroupBarrier();
    if (lane == 0) {
      var at = 255u;
      var before = 0u;
      for (; at > 0u; at -= 1u) {
        let own = atomicLoad(&bins[at]);
        if (before + own >= left) {
          break;
        }
        before += own;
      }
      bin = vec2(at, before);
    }
    let found = workgroupUniformLoad(&bin);
    prefix |= found.x << shift;
    mask |= 255u << shift;
    left -= found.y;
  }
  return prefix;
}

// Tokens with keys above `least`, in any order: their number, and then so many words for each, token and logit first.
fn gather(first: i32, least: u32, logits: i32, count: i32, list: i32, words: i32, lane: i32) {
  if (lane == 0) {
    atomicStore(&taken, 0u);
  }
  workgroupBarrier();
  for (var i = lane; i < launch.KNOWN; i += THREADS) {
    if (arena[first + i] > least) {
      let at = list + words * i32(atomicAdd(&taken, 1u));
      arena[at] = u32(i);
      arena[at + 1] = arena[logits + i];
    }
  }
  workgroupBarrier();
  if (lane == 0) {
    arena[count] = atomicLoad(&taken);
    arena[count + 1] = least;
  }
  storageBarrier();
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) index: u32) {
  let lane = i32(index);
  let item = i32(group.y * groups.x + group.x);
  if (item >= launch.items) {
    return;
  }
  if (lane < ASKED) {
    asked[lane] = bitcast<i32>(arena[launch.ASKS + item * ASKED + lane]);
  }
  let ask = workgroupUniformLoad(&asked);
  let logits = launch.LOGITS + ask[0] * launch.V;
  let inverse = bitcast<f32>(ask[1]);
  let named = ask[6];
  let answer = ask[8];
  let listed = answer + HEAD;
  let lifted = listed + 2 * ask[4];
  let first = launch.KEYS + item * launch.V;
  let scores = launch.SCORES + item * launch.V;

  // Named tokens are told and then left out: their key is 0.
  for (var i = lane; i < launch.KNOWN; i += THREADS) {
    arena[first + i] = key_of(arena[logits + i]);
  }
  storageBarrier();
  for (var i = lane; i < ask[7]; i += THREADS) {
    let token = i32(arena[named + i]);
    arena[lifted + 3 * ask[5] + i] = arena[logits + token];
    arena[first + token] = 0u;
  }
  storageBarrier();

  // The likeliest token, the lowest of equals.
  var best = 0u;
  var token = -1;
  for (var i = lane; i < launch.KNOWN; i += THREADS) {
    let key = arena[first + i];
    if (key > best) {
      best = key;
      token = i;
    }
  }
  keys[lane] = best;
  tokens[lane] = token;
  for (var step = THREADS / 2; step > 0; step /= 2) {
    workgroupBarrier();
    if (lane < step) {
      let other = lane + step;
      if (keys[other] > keys[lane] || (keys[other] == keys[lane] && tokens[other] < tokens[lane])) {
        keys[lane] = keys[other];
        tokens[lane] = tokens[other];
      }
    }
  }
  workgroupBarrier();
  best = keys[0];
  if (lane == 0) {
    arena[answer] = bitcast<u32>(tokens[0]);
    arena[answer + 1] = best;
  }
  let largest = value_of(best);

  if (ask[4] > 0) {
    gather(first, key_at(first, u32(ask[4]), lane), logits, answer + 2, listed, 2, lane);
  }
  if (ask[5] > 0) {
    for (var i = lane; i < launch.KNOWN; i += THREADS) {
      let key = arena[first + i];
      let word = mix(mix(u32(i) ^ bitcast<u32>(ask[2])) ^ bitcast<u32>(ask[3]));
      let score = max((value_of(key) - largest) * inverse, -1e4) + gumbel(word);
      arena[scores + i] = select(0u, key_of(bitcast<u32>(score)), key > MINUS_INFINITY);
    }
    storageBarrier();
    gather(scores, key_at(scores, u32(ask[5]), lane), logits, answer + 4, lifted, 3, lane);
  }
  if (ask[4] == 0) {
    return;
  }
  // Sums of exp((logit - largest) / temperature) and exp(logit - largest).
  var sum = vec2(0.0, 0.0);
  for (var i = lane; i < launch.KNOWN; i += THREADS) {
    let key = arena[first + i];
    let distance = value_of(key) - largest;
    let weights = select(vec2(0.0, 0.0), exp(max(vec2(distance * inverse, distance), vec2(-1e4, -1e4))), key > MINUS_INFINITY);
    sum += weights;
    if (ask[5] > 0) {
      arena[scores + i] = bitcast<u32>(weights.x);
    }
  }
  sums[lane] = sum;
  for (var step = THREADS / 2; step > 0; step /= 2) {
    workgroupBarrier();
    if (lane < step) {
      sums[lane] += sums[lane + step];
    }
  }
  if (lane == 0) {
    arena[answer + 6] = bitcast<u32>(sums[0].x);
    arena[answer + 7] = bitcast<u32>(sums[0].y);
  }
  if (ask[5] == 0) {
    return;
  }
  // For each lifted token the weights of those in front of it.
  storageBarrier();
  workgroupBarrier();
  let at = lifted + 3 * (lane / EACH);
  let own = i32(arena[at]);
  let isOne = lane / EACH < i32(atomicLoad(&taken));
  var ahead = 0.0;
  if (isOne) {
    let mine = arena[first + own];
    for (var i = lane % EACH; i < launch.KNOWN; i += EACH) {
      let key = arena[first + i];
      if (key > mine || (key == mine && i < own)) {
        ahead += bitcast<f32>(arena[scores + i]);
      }
    }
  }
  sums[lane] = vec2(ahead, 0.0);
  workgroupBarrier();
  if (isOne && lane % EACH == 0) {
    for (var i = 1; i < EACH; i += 1) {
      ahead += sums[lane + i].x;
    }
    arena[at + 2] = bitcast<u32>(ahead);
  }
}
