// What the processor can do.
#pragma once

namespace dsk {

// The best variant of kernels (runtime/program/variants.ts) that runs here; empty when none does.
const char* isa();

}  // namespace dsk
