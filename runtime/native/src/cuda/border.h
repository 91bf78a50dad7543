// The border of CUDA to JavaScript (runtime/native/cuda.ts).
#pragma once
#include <napi.h>

namespace dsk::cuda {

void define(Napi::Env env, Napi::Object exports);

}  // namespace dsk::cuda
