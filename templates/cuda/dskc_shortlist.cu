// Shortlists of logits, a block for each: runtime/program/shortlist.ts says what is asked for and what is told.
#include "dsk.cuh"

constexpr int THREADS = 1024, BINS = 256;
constexpr int EACH = THREADS / 16;  // threads for the sum in front of a lifted token
constexpr int ASKED = 9, HEAD = 8;  // words
constexpr unsigned MINUS_INFINITY = 0x007fffffu;

// Larger floats are larger numbers; NaN, whatever its sign, is the largest. No float is 0.
DSK_INLINE unsigned key_of(unsigned bits) {
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0xffffffffu;
  const unsigned own = bits == 0x80000000u ? 0u : bits;  // 0 and -0 are equal
  return (own & 0x80000000u) != 0 ? ~own : own | 0x80000000u;
}

DSK_INLINE float value_of(unsigned key) { return bits_float(key >= 0x80000000u ? key & 0x7fffffffu : ~key); }

DSK_INLINE unsigned mix(unsigned word) {
  const unsigned a = (word ^ word >> 16) * 0x7feb352du, b = (a ^ a >> 15) * 0x846ca68bu;
  return b ^ b >> 16;
}

// -ln(-ln u), u = (word + 1/2) / 2^32; near 1 by the series of 2 artanh(v / (2 - v)) = -ln(1 - v).
DSK_INLINE float gumbel(unsigned word) {
  constexpr float unit = 2.3283064365386963e-10f;
  if (word < 0x80000000u) return -logf(-logf((float(word) + 0.5f) * unit));
  const float v = (float(~word) + 0.5f) * unit, z = v / (2.0f - v), s = z * z;
  return -logf(2.0f * z * (1.0f + s * (1.0f / 3.0f + s * (0.2f + s * (1.0f / 7.0f + s * (1.0f / 9.0f + s / 11.0f))))));
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
dskc_shortlist_main(int items, int items_before, int ITEMS, int V, int KNOWN, int LOGITS, int ASKS, int KEYS, int SCORES,
                    const unsigned* __restrict__ all_logits, unsigned* words) {
  __shared__ unsigned keys[THREADS];
  __shared__ int tokens[THREADS];
  __shared__ float sums[THREADS], raw_sums[THREADS];
  __shared__ unsigned bins[BINS], bin[2], taken;
  const int lane = threadIdx.x, item = blockIdx.x;
  const unsigned* const asked = words + ASKS + item * ASKED;
  const unsigned* const logits = all_logits + LOGITS + (long long)(int)asked[0] * V;
  const float inverse = bits_float(asked[1]);
  const int likeliest = asked[4], wanted = asked[5], names = asked[7];
  const unsigned* const named = words + asked[6];
  unsigned* const answer = words + asked[8];
  unsigned* const listed = answer + HEAD;
  unsigned* const lifted = listed + 2 * likeliest;
  unsigned* const own_keys = words + KEYS + (long long)item * V;
  unsigned* const scores = words + SCORES + (long long)item * V;

  // The key with `rank` keys in front of it, 0 if there are not so many.
  const auto key_at = [&](const unsigned* of, unsigned rank) {
    unsigned left = rank + 1, prefix = 0, mask = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
      if (lane < BINS) bins[lane] = 0;
      __syncthreads();
      for (int i = lane; i < KNOWN; i += THREADS)
        if ((of[i] & mask) == prefix) atomicAdd(&bins[of[i] >> shift & 255u], 1u);
      __syncthreads();
      if (lane == 0) {
        unsigned at = 255, before = 0;
        for (; at > 0 && before + bins[at] < left; at--) before += bins[at];
        bin[0] = at, bin[1] = before;
      }
      __syncthreads();
      prefix |= bin[0] << shift;
      mask |= 255u << shift;
      left -= bin[1];
      __syncthreads();
    }
    return prefix;
  };

  // Tokens with keys above `least`, in any order: their number, and then so many words for each, token and logit first.
  const auto gather = [&](const unsigned* of, unsigned least, unsigned* count, unsigned* list, int each) {
    if (lane == 0) taken = 0;
    __syncthreads();
    for (int i = lane; i < KNOWN; i += THREADS) {
      if (of[i] <= least) continue;
      unsigned* const at = list + each * atomicAdd(&taken, 1u);
      at[0] = i;
      at[1] = logits[i];
    }
    __syncthreads();
    if (lane == 0) count[0] = taken, count[1] = least;
  };

  // Named tokens are told and then left out: their key is 0.
  for (int i = lane; i < KNOWN; i += THREADS) own_keys[i] = key_of(logits[i]);
  __syncthreads();
  for (int i = lane; i < names; i += THREADS) {
    lifted[3 * wanted + i] = logits[named[i]];
    own_keys[named[i]] = 0;
  }
  __syncthreads();

  // The likeliest token, the lowest of equals.
  unsigned best = 0;
  int token = -1;
  for (int i = lane; i < KNOWN; i += THREADS) {
    if (own_keys[i] > best) best = own_keys[i], token = i;
  }
  keys[lane] = best;
  tokens[lane] = token;
  for (int step = THREADS / 2; step > 0; step /= 2) {
    __syncthreads();
    if (lane >= step) continue;
    const int other = lane + step;
    if (keys[other] > keys[lane] || (keys[other] == keys[lane] && tokens[other] < tokens[lane])) {
      keys[lane] = keys[other];
      tokens[lane] = tokens[other];
    }
  }
  __syncthreads();
  best = keys[0];
  if (lane == 0) answer[0] = tokens[0], answer[1] = best;
  const float largest = value_of(best);

  if (likeliest > 0) gather(own_keys, key_at(own_keys, likeliest), answer + 2, listed, 2);
  if (wanted > 0) {
    for (int i = lane; i < KNOWN; i += THREADS) {
      const unsigned key = own_keys[i], word = mix(mix(i ^ asked[2]) ^ asked[3]);
      const float score = fmaxf((value_of(key) - largest) * inverse, -1e4f) + gumbel(word);
      scores[i] = key > MINUS_INFINITY ? key_of(float_bits(score)) : 0;
    }
    __syncthreads();
    gather(scores, key_at(scores, wanted), answer + 4, lifted, 3);
  }
  if (likeliest == 0) return;
  // Sums of exp((logit - largest) / temperature) and exp(logit - largest).
  __syncthreads();
  float sum = 0.0f, raw_sum = 0.0f;
  for (int i = lane; i < KNOWN; i += THREADS) {
    const float distance = value_of(own_keys[i]) - largest;
    const bool counts = own_keys[i] > MINUS_INFINITY;
    const float weight = counts ? expf(fmaxf(distance * inverse, -1e4f)) : 0.0f;
    sum += weight;
    raw_sum += counts ? expf(fmaxf(distance, -1e4f)) : 0.0f;
    if (wanted > 0) scores[i] = float_bits(weight);
  }
  sums[lane] = sum, raw_sums[lane] = raw_sum;
  for (int step = THREADS / 2; step > 0; step /= 2) {
    __syncthreads();
    if (lane < step) sums[lane] += sums[lane + step], raw_sums[lane] += raw_sums[lane + step];
  }
  if (lane == 0) answer[6] = float_bits(sums[0]), answer[7] = float_bits(raw_sums[0]);
  if (wanted == 0) return;
  // For each lifted token the weights of those in front of it.
  __syncthreads();
  unsigned* const at = lifted + 3 * (lane / EACH);
  const bool is_one = lane / EACH < (int)taken;
  float ahead = 0.0f;
  if (is_one) {
    const int own = at[0];
    for (int i = lane % EACH; i < KNOWN; i += EACH) {
      const unsigned key = own_keys[i], mine = own_keys[own];
      if (key > mine || (key == mine && i < own)) ahead += bits_float(scores[i]);
    }
  }
  sums[lane] = ahead;
  __syncthreads();
  if (!is_one || lane % EACH != 0) return;
  for (int i = 1; i < EACH; i++) ahead += sums[lane + i];
  at[2] = float_bits(ahead);
}
