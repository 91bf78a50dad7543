#include "choose.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "elementary.h"
#include "memory.h"
#include "pool.h"

// Every comment of runtime/serve/sampling (choose.ts, cutoff.ts, noise.ts) holds here: these are the same functions.

namespace dsk {
namespace {

// Compiled for several instruction sets; the best one is taken. All give the same bits.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define DSK_CLONES __attribute__((target_clones("default", "avx2", "arch=x86-64-v4")))
#else
#define DSK_CLONES
#endif

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kWords = 4294967296.0;

constexpr int kBinsPerNat = 16;
constexpr int kBins = 32 * kBinsPerNat;

double gumbel(uint32_t word) { return -log_fdlibm(-log_fdlibm((word + 0.5) / kWords)); }

struct Tables {
  double gumbel_max = gumbel(0xffffffff);
  // exp(-distance) where a bin begins.
  std::array<double, kBins> bin_weights;
  // By k: smaller words give noise below k.
  std::array<double, 32> least_words;

  Tables() {
    for (int bin = 0; bin < kBins; ++bin) bin_weights[bin] = exp_fdlibm(-static_cast<double>(bin) / kBinsPerNat);
    for (int k = 0; k < 32; ++k) least_words[k] = std::floor(kWords * exp_fdlibm(-exp_fdlibm(-k)) - 1);
  }
};

const Tables& tables() {
  static const Tables all;
  return all;
}

// `lowbias32` (Wellons, "Prospecting for hash functions", 2018).
uint32_t mix(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x7feb352d;
  x = (x ^ (x >> 15)) * 0x846ca68b;
  return x ^ (x >> 16);
}

struct Cutoff {
  double logit;
  int64_t token;
};

constexpr Cutoff kNone{-kInfinity, std::numeric_limits<int64_t>::max()};

// The logits of a row after penalties and temperature, and what is worked out about them.
class Row {
 public:
  // `order` has room for as many numbers as there are logits.
  Row(double* logits, double* order, int64_t count) : logits_(logits), order_(order), count_(count) {}

  void adjust(const float* raw, const Choice& choice);
  // Whether a token can be chosen.
  bool measure();
  int64_t best() const { return best_; }
  int64_t draw(const Choice& choice);

 private:
  bool kept(int64_t token, const Cutoff& cut) const {
    return logits_[token] > cut.logit || (logits_[token] == cut.logit && token <= cut.token);
  }
  Cutoff cutoff(const Choice& choice);
  Cutoff cut_after(int64_t k);
  Cutoff nucleus(const Cutoff& before, double top_p);

  double* const logits_;
  double* const order_;
  const int64_t count_;
  int64_t best_ = -1;
  double max_ = -kInfinity;
};

DSK_CLONES void Row::adjust(const float* raw, const Choice& choice) {
  for (int64_t i = 0; i < count_; ++i) logits_[i] = raw[i];
  for (size_t i = 0; i < choice.touched.size(); ++i) {
    // A prompt may have tokens that cannot be chosen.
    if (choice.touched[i] >= count_) continue;
    double& logit = logits_[choice.touched[i]];
    logit = logit > 0 ? logit / choice.repetition_penalty : logit * choice.repetition_penalty;
    if (choice.counts[i] > 0) logit -= choice.frequency_penalty * choice.counts[i] + choice.presence_penalty;
  }
  for (size_t i = 0; i < choice.biased.size(); ++i) {
    if (choice.biased[i] < count_) logits_[choice.biased[i]] += choice.biases[i];
  }
  const double temperature = choice.temperature;
  if (temperature > 0 && temperature != 1) {
    for (int64_t i = 0; i < count_; ++i) logits_[i] /= temperature;
  }
}

DSK_CLONES bool Row::measure() {
  // Several maxima side by side, and as many marks of what is no number, which the compiler keeps in vectors.
  constexpr int64_t kLanes = 16;
  double most[kLanes];
  int64_t strange[kLanes] = {};
  std::fill(most, most + kLanes, -kInfinity);
  int64_t i = 0;
  for (; i + kLanes <= count_; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) {
      const double logit = logits_[i + j];
      most[j] = logit > most[j] ? logit : most[j];
      strange[j] |= logit != logit;
    }
  }
  for (; i < count_; ++i) {
    most[0] = std::max(most[0], logits_[i]);
    strange[0] |= logits_[i] != logits_[i];
  }
  max_ = *std::max_element(most, most + kLanes);
  if (std::any_of(strange, strange + kLanes, [](int64_t mark) { return mark != 0; }) || !std::isfinite(max_)) return false;
  best_ = std::find(logits_, logits_ + count_, max_) - logits_;
  return true;
}

int64_t Row::draw(const Choice& choice) {
  const Tables& known = tables();
  const Cutoff cut = cutoff(choice);
  const auto word_of = [&](int64_t token) {
    return mix(mix(static_cast<uint32_t>(token) ^ choice.noise[0]) ^ choice.noise[1]);
  };
  int64_t chosen = best_;
  double highest = max_ + gumbel(word_of(best_));
  for (int64_t token = 0; token < count_; ++token) {
    const double gap = highest - logits_[token];
    if (gap > known.gumbel_max) continue;
    const uint32_t word = word_of(token);
    if ((gap >= 0 && word < known.least_words[static_cast<int>(gap)]) || !kept(token, cut)) continue;
    const double score = logits_[token] + gumbel(word);
    if (score > highest) {
      chosen = token;
      highest = score;
    }
  }
  return chosen;
}

Cutoff Row::cutoff(const Choice& choice) {
  const Cutoff least{max_ + choice.log_min_p, kNone.token};
  const Cutoff kth = choice.top_k > 0 && choice.top_k < count_ ? cut_after(choice.top_k) : kNone;
  const Cutoff before = kth.logit >= least.logit ? kth : least;
  return choice.top_p < 1 ? nucleus(before, choice.top_p) : before;
}

Cutoff Row::cut_after(int64_t k) {
  std::partial_sort_copy(logits_, logits_ + count_, order_, order_ + k, std::greater<double>());
  const double logit = order_[k - 1];
  int64_t equals = k - (std::lower_bound(order_, order_ + k, logit, std::greater<double>()) - order_);
  int64_t token = -1;
  while (equals > 0) equals -= logits_[++token] == logit;
  return {logit, token};
}

Cutoff Row::nucleus(const Cutoff& before, double top_p) {
  const Tables& known = tables();
  const auto weight_in = [&](int bin, double distance) {
    const double x = static_cast<double>(bin) / kBinsPerNat - distance;
    return known.bin_weights[bin] * (1 + x * (1 + x * (1.0 / 2 + x * (1.0 / 6 + x * (1.0 / 24)))));
  };
  // The bin of a token by its distance from the largest logit, `kBins` for one without weight.
  const auto bin_of = [&](int64_t token) {
    const double place = (max_ - logits_[token]) * kBinsPerNat;
    return place < kBins && kept(token, before) ? static_cast<int>(place) : kBins;
  };
  std::array<double, kBins> weights{};
  double total = 0;
  for (int64_t token = 0; token < count_; ++token) {
    const int bin = bin_of(token);
    if (bin == kBins) continue;
    const double weight = weight_in(bin, max_ - logits_[token]);
    weights[bin] += weight;
    total += weight;
  }
  const double wanted = top_p * total;
  int bin = 0;
  double sum = 0;
  while (bin < kBins - 1 && sum + weights[bin] < wanted) sum += weights[bin++];
  // The tokens of one bin, sorted from the likeliest on.
  auto* const ending = reinterpret_cast<int64_t*>(order_);
  int64_t count = 0;
  for (int64_t token = 0; token < count_; ++token) {
    if (bin_of(token) == bin) ending[count++] = token;
  }
  std::sort(ending, ending + count, [&](int64_t a, int64_t b) {
    return logits_[a] > logits_[b] || (logits_[a] == logits_[b] && a < b);
  });
  for (int64_t i = 0; i < count; ++i) {
    sum += weight_in(bin, max_ - logits_[ending[i]]);
    if (sum >= wanted || i == count - 1) return {logits_[ending[i]], ending[i]};
  }
  return before;
}

// The log-probability of a token, and the likeliest tokens with theirs.
void tell(const float* raw, int64_t count, int64_t token, int64_t alternatives, double* told, int32_t* order) {
  float max = -std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < count; ++i) max = raw[i] > max ? raw[i] : max;
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += exp_fdlibm(static_cast<double>(raw[i]) - max);
  const double total = max + log_fdlibm(sum);
  for (int64_t i = 0; i < count; ++i) order[i] = static_cast<int32_t>(i);
  std::partial_sort(order, order + alternatives, order + count, [&](int32_t a, int32_t b) {
    return raw[a] > raw[b] || (raw[a] == raw[b] && a < b);
  });
  *told++ = raw[token] - total;
  for (int64_t i = 0; i < alternatives; ++i) {
    *told++ = order[i];
    *told++ = raw[order[i]] - total;
  }
}

// Makes the choices from `begin` to `end`.
void choose_some(const Choices& choices, const float* logits, int64_t vocabulary, int64_t begin, int64_t end, char* scratch) {
  auto* const adjusted = reinterpret_cast<double*>(scratch);
  auto* const order = reinterpret_cast<double*>(scratch + choosing_bytes(choices.known) / 2);
  double* chosen = choices.chosen;
  for (int64_t i = 0; i < begin; ++i) chosen += numbers_of(choices.list[i]);
  for (int64_t i = begin; i < end; chosen += numbers_of(choices.list[i++])) {
    const Choice& choice = choices.list[i];
    const float* const raw = logits + choice.row * vocabulary;
    Row row(adjusted, order, choices.known);
    row.adjust(raw, choice);
    *chosen = -1;
    if (!row.measure()) continue;
    const int64_t token = choice.temperature == 0 ? row.best() : row.draw(choice);
    *chosen = static_cast<double>(token);
    if (choice.alternatives < 0) continue;
    tell(raw, choices.known, token, choice.alternatives, chosen + 1, reinterpret_cast<int32_t*>(order));
  }
}

}  // namespace

int64_t choosing_bytes(int64_t known) { return 2 * aligned(known * static_cast<int64_t>(sizeof(double))); }

void choose(const Choices& choices, const float* logits, int64_t vocabulary, char* scratch, int64_t stride, int threads) {
  const void* const args[] = {&choices, logits};
  const auto run = [](void* const* arg, const int64_t* size, int64_t begin, int64_t end, char* own) {
    choose_some(*static_cast<const Choices*>(arg[0]), static_cast<const float*>(arg[1]), *size, begin, end, own);
  };
  const auto items = static_cast<int64_t>(choices.list.size());
  Pool::shared().run({run, const_cast<void* const*>(args), &vocabulary, items, scratch, stride}, threads);
}

void check_choices(const Choices& choices, int64_t rows, int64_t vocabulary) {
  const auto fail = [](const std::string& what) { throw std::runtime_error(what); };
  if (choices.known < 1 || choices.known > std::min<int64_t>(vocabulary, INT32_MAX)) {
    fail(std::to_string(choices.known) + " tokens of " + std::to_string(vocabulary) + " can be chosen");
  }
  for (const Choice& choice : choices.list) {
    if (choice.row < 0 || choice.row >= rows) fail("there is no row " + std::to_string(choice.row));
    if (choice.top_k < 0 || choice.alternatives < -1 || choice.alternatives > choices.known) {
      fail("a choice keeps or tells a wrong number of tokens");
    }
  }
}

}  // namespace dsk
