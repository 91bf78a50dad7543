// Choices of tokens as JavaScript gives them.
#pragma once
#include <utility>

#include "choose.h"
#include "values.h"

namespace dsk {

// `NativeChoices` of runtime/native/addon.ts.
inline Choices choices_of(const Napi::Value& wanted, const Napi::Value& chosen) {
  using namespace values;
  const auto numbers = [](const Napi::Value& array, const char* what) {
    if (array.IsTypedArray() && array.As<Napi::TypedArray>().TypedArrayType() == napi_float64_array) return bytes(array, what);
    fail(std::string(what) + ": a Float64Array is needed");
  };
  const Bytes all = numbers(wanted, "wanted");
  const auto* next = reinterpret_cast<const double*>(all.data);
  const double* const end = next + all.size / 8;
  const auto number = [&] { return next < end ? *next++ : (fail("wanted: there are too few numbers"), 0.0); };
  const auto whole = [&] { return integer(number(), "wanted"); };
  const auto word = [&] { return static_cast<uint32_t>(whole()); };
  const auto token = [&] {
    const int64_t one = whole();
    if (one < 0 || one > INT32_MAX) fail("wanted: " + std::to_string(one) + " is no token");
    return static_cast<int32_t>(one);
  };
  Choices result;
  result.buffer = whole();
  result.known = whole();
  int64_t entries = 0;
  while (next < end) {
    Choice choice;
    choice.row = whole();
    choice.temperature = number();
    choice.top_k = whole();
    choice.top_p = number();
    choice.log_min_p = number();
    choice.frequency_penalty = number();
    choice.presence_penalty = number();
    choice.repetition_penalty = number();
    for (uint32_t& noise : choice.noise) noise = word();
    choice.alternatives = whole();
    const int64_t touched = whole();
    const int64_t biased = whole();
    for (int64_t i = 0; i < touched; ++i) choice.touched.push_back(token());
    for (int64_t i = 0; i < touched; ++i) choice.counts.push_back(number());
    for (int64_t i = 0; i < biased; ++i) choice.biased.push_back(token());
    for (int64_t i = 0; i < biased; ++i) choice.biases.push_back(number());
    entries += numbers_of(choice);
    result.list.push_back(std::move(choice));
  }
  const Bytes into = numbers(chosen, "chosen");
  if (into.size / 8 != entries) fail("chosen: the choices write " + std::to_string(entries) + " numbers");
  result.chosen = reinterpret_cast<double*>(into.data);
  return result;
}

}  // namespace dsk
