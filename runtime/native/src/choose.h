// Tokens chosen by logits: what runtime/serve/sampling/choose.ts chooses, to the last bit.
#pragma once
#include <cstdint>
#include <vector>

namespace dsk {

// A token to be chosen by a row of logits (`Choice` of runtime/device/choice.ts).
struct Choice {
  int64_t row;
  double temperature;
  // 0 keeps all.
  int64_t top_k;
  double top_p;
  // The logarithm of min_p; -infinity keeps all.
  double log_min_p;
  double frequency_penalty;
  double presence_penalty;
  double repetition_penalty;
  uint32_t noise[2];
  // -1 for no log-probabilities.
  int64_t alternatives;
  // Tokens that penalties are about and how often each was generated; tokens and what is added to their logits.
  std::vector<int32_t> touched;
  std::vector<double> counts;
  std::vector<int32_t> biased;
  std::vector<double> biases;
};

// The choices of a call, and where the results go: memory of the caller.
struct Choices {
  // The output that has the logits f32[B, V].
  int64_t buffer = -1;
  // Tokens below it can be chosen.
  int64_t known = 0;
  std::vector<Choice> list;
  // By choice: the token, or -1 when the logits are no numbers; with log-probabilities, that of the token, and each alternative with
  // its own behind it.
  double* chosen = nullptr;
};

// Numbers that a choice writes.
inline int64_t numbers_of(const Choice& choice) { return choice.alternatives < 0 ? 1 : 2 + 2 * choice.alternatives; }

// Bytes that a thread needs to choose among so many tokens.
int64_t choosing_bytes(int64_t known);

// Makes all choices with so many threads; thread i has the scratch memory from `scratch + i * stride` on.
void choose(const Choices& choices, const float* logits, int64_t vocabulary, char* scratch, int64_t stride, int threads);

// Throws for choices that a table of logits with so many rows has not.
void check_choices(const Choices& choices, int64_t rows, int64_t vocabulary);

}  // namespace dsk
