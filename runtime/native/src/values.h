// Values of JavaScript, checked: nothing wrong in them may end the process.
#pragma once
#include <napi.h>

#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace dsk::values {

[[noreturn]] inline void fail(const std::string& what) { throw std::runtime_error(what); }

inline constexpr double kLargestInteger = 9007199254740991;

inline int64_t integer(double number, const std::string& what) {
  if (std::trunc(number) != number || std::abs(number) > kLargestInteger) fail(what + ": a whole number is needed");
  return static_cast<int64_t>(number);
}

inline int64_t integer(const Napi::Value& value, const std::string& what) {
  if (!value.IsNumber()) fail(what + ": a number is needed");
  return integer(value.As<Napi::Number>().DoubleValue(), what);
}

inline std::string text(const Napi::Value& value, const std::string& what) {
  if (!value.IsString()) fail(what + ": a string is needed");
  return value.As<Napi::String>().Utf8Value();
}

inline Napi::Object object(const Napi::Value& value, const std::string& what) {
  if (!value.IsObject()) fail(what + ": an object is needed");
  return value.As<Napi::Object>();
}

inline Napi::Array array(const Napi::Value& value, const std::string& what) {
  if (!value.IsArray()) fail(what + ": an array is needed");
  return value.As<Napi::Array>();
}

struct Bytes {
  char* data;
  int64_t size;
};

// Of any typed array, over shared memory as well.
inline Bytes bytes(const Napi::Value& value, const std::string& what) {
  if (!value.IsTypedArray()) fail(what + ": a typed array is needed");
  napi_typedarray_type type;
  size_t length;
  void* data;
  if (napi_get_typedarray_info(value.Env(), value, &type, &length, &data, nullptr, nullptr) != napi_ok) {
    fail(what + ": the typed array cannot be read");
  }
  return {static_cast<char*>(data), static_cast<int64_t>(length * value.As<Napi::TypedArray>().ElementSize())};
}

inline std::vector<int64_t> integers(const Napi::Value& value, const std::string& what) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float64_array) {
    fail(what + ": a Float64Array is needed");
  }
  const Bytes all = bytes(value, what);
  const auto* const numbers = reinterpret_cast<const double*>(all.data);
  std::vector<int64_t> result;
  for (int64_t i = 0; i < all.size / 8; ++i) result.push_back(integer(numbers[i], what));
  return result;
}

template <class Convert>
auto list(const Napi::Value& value, const std::string& what, Convert convert) {
  const Napi::Array all = array(value, what);
  std::vector<decltype(convert(value, what))> result;
  for (uint32_t i = 0; i < all.Length(); ++i) {
    const Napi::HandleScope scope(value.Env());
    result.push_back(convert(all.Get(i), what + "[" + std::to_string(i) + "]"));
  }
  return result;
}

}  // namespace dsk::values
