// After e_exp.c and e_log.c of fdlibm 5.3 (http://www.netlib.org/fdlibm), whose comments explain the method:
//
// Copyright (C) 1993 by Sun Microsystems, Inc. All rights reserved.
//
// Developed at SunSoft, a Sun Microsystems, Inc. business.
// Permission to use, copy, modify, and distribute this software is freely granted, provided that this notice is preserved.
#include "elementary.h"

#include <bit>
#include <cstdint>
#include <limits>

// A product and a sum that are fused to one operation round once instead of twice: the addon is built without that.

namespace dsk {
namespace {

constexpr double kLn2High = 6.93147180369123816490e-01;
constexpr double kLn2Low = 1.90821492927058770002e-10;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

int32_t high_word(double x) { return static_cast<int32_t>(std::bit_cast<uint64_t>(x) >> 32); }

uint32_t low_word(double x) { return static_cast<uint32_t>(std::bit_cast<uint64_t>(x)); }

double of_words(int32_t high, uint32_t low) {
  return std::bit_cast<double>(static_cast<uint64_t>(static_cast<uint32_t>(high)) << 32 | low);
}

}  // namespace

double exp_fdlibm(double x) {
  constexpr double kInvLn2 = 1.44269504088896338700e+00;
  constexpr double P1 = 1.66666666666666019037e-01, P2 = -2.77777777770155933842e-03, P3 = 6.61375632143793436117e-05,
                   P4 = -1.65339022054652515390e-06, P5 = 4.13813679705723846039e-08;
  constexpr double kTwoM1000 = 9.33263618503218878990e-302, kTwo1023 = 8.988465674311579539e307;
  const bool negative = high_word(x) < 0;
  const int32_t hx = high_word(x) & 0x7fffffff;
  if (hx >= 0x40862e42) {
    if (hx >= 0x7ff00000) {
      if (((hx & 0xfffff) | low_word(x)) != 0) return x + x;
      return negative ? 0.0 : x;
    }
    if (x > 7.09782712893383973096e+02) return kInfinity;
    if (x < -7.45133219101941108420e+02) return 0;
  }
  double high = 0, low = 0;
  int32_t k = 0;
  if (hx > 0x3fd62e42) {
    if (hx < 0x3ff0a2b2) {
      // V8 returns e itself, where the method misses the last bit.
      if (x == 1.0) return 2.718281828459045;
      high = x - (negative ? -kLn2High : kLn2High);
      low = negative ? -kLn2Low : kLn2Low;
      k = negative ? -1 : 1;
    } else {
      k = static_cast<int32_t>(kInvLn2 * x + (negative ? -0.5 : 0.5));
      high = x - k * kLn2High;
      low = k * kLn2Low;
    }
    x = high - low;
  } else if (hx < 0x3e300000) {
    return 1.0 + x;
  }
  const double t = x * x;
  const double c = x - t * (P1 + t * (P2 + t * (P3 + t * (P4 + t * P5))));
  if (k == 0) return 1.0 - ((x * c) / (c - 2.0) - x);
  const double y = 1.0 - ((low - (x * c) / (2.0 - c)) - high);
  if (k == 1024) return y * 2.0 * kTwo1023;
  if (k >= -1021) return y * of_words(0x3ff00000 + k * (1 << 20), 0);
  return y * of_words(0x3ff00000 + (k + 1000) * (1 << 20), 0) * kTwoM1000;
}

double log_fdlibm(double x) {
  constexpr double kTwo54 = 1.80143985094819840000e+16;
  constexpr double Lg1 = 6.666666666666735130e-01, Lg2 = 3.999999999940941908e-01, Lg3 = 2.857142874366239149e-01,
                   Lg4 = 2.222219843214978396e-01, Lg5 = 1.818357216161805012e-01, Lg6 = 1.531383769920937332e-01,
                   Lg7 = 1.479819860511658591e-01;
  int32_t hx = high_word(x);
  int32_t k = 0;
  if (hx < 0x00100000) {
    if (((hx & 0x7fffffff) | low_word(x)) == 0) return -kInfinity;
    if (hx < 0) return std::numeric_limits<double>::quiet_NaN();
    k -= 54;
    x *= kTwo54;
    hx = high_word(x);
  }
  if (hx >= 0x7ff00000) return x + x;
  k += (hx >> 20) - 1023;
  hx &= 0x000fffff;
  const int32_t up = (hx + 0x95f64) & 0x100000;
  x = of_words(hx | (up ^ 0x3ff00000), low_word(x));
  k += up >> 20;
  const double f = x - 1.0;
  const double dk = k;
  if ((0x000fffff & (2 + hx)) < 3) {
    if (f == 0) return k == 0 ? 0.0 : dk * kLn2High + dk * kLn2Low;
    const double R = f * f * (0.5 - 0.33333333333333333 * f);
    return k == 0 ? f - R : dk * kLn2High - ((R - dk * kLn2Low) - f);
  }
  const double s = f / (2.0 + f);
  const double z = s * s;
  const double w = z * z;
  const double t1 = w * (Lg2 + w * (Lg4 + w * Lg6));
  const double t2 = z * (Lg1 + w * (Lg3 + w * (Lg5 + w * Lg7)));
  const double R = t2 + t1;
  if (((hx - 0x6147a) | (0x6b851 - hx)) > 0) {
    const double half = 0.5 * f * f;
    return k == 0 ? f - (half - s * (half + R)) : dk * kLn2High - ((half - (s * (half + R) + dk * kLn2Low)) - f);
  }
  return k == 0 ? f - s * (f - R) : dk * kLn2High - ((s * (f - R) - dk * kLn2Low) - f);
}

}  // namespace dsk
