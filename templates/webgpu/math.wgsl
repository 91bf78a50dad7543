// Functions that kernels share; a kernel's file has those that it calls. WGSL leaves infinities, NaN and the precision of some
// functions open: these keep them.

var<private> infinity_bits: u32 = 0x7f800000u;
var<private> nan_bits: u32 = 0x7fc00000u;

fn infinity() -> f32 {
  return bitcast<f32>(infinity_bits);
}

fn nan() -> f32 {
  return bitcast<f32>(nan_bits);
}

fn is_nan(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

// NaN where an operand is NaN.
fn max_f32(a: f32, b: f32) -> f32 {
  return select(b, a, a > b || is_nan(a));
}

fn min_f32(a: f32, b: f32) -> f32 {
  return select(b, a, a < b || is_nan(a));
}

fn sign_f32(x: f32) -> f32 {
  return select(0.0, 1.0, x > 0.0) - select(0.0, 1.0, x < 0.0);
}

fn sigmoid(x: f32) -> f32 {
  return 1.0 / (1.0 + exp(-x));
}

fn silu(x: f32) -> f32 {
  return x * sigmoid(x);
}

// Near 0 the quotient would cancel: an odd polynomial (Cephes tanhf).
fn tanh_f32(x: f32) -> f32 {
  let z = x * x;
  let p = fma(fma(fma(fma(-5.70498872745e-3, z, 2.06390887954e-2), z, -5.37397155531e-2), z, 1.33314422036e-1), z, -3.33332819422e-1);
  let size = abs(x);
  let large = 1.0 - 2.0 / (exp(2.0 * size) + 1.0);
  return select(select(large, -large, x < 0.0), fma(p * z, x, x), size < 0.625);
}

// log1p by log(1 + t) * t / ((1 + t) - 1), which keeps the digits that 1 + t loses.
fn softplus(x: f32) -> f32 {
  let tail = exp(-abs(x));
  let sum = 1.0 + tail;
  let kept = sum - 1.0;
  return max_f32(x, 0.0) + select(log(sum) * (tail / kept), tail, kept == 0.0);
}

// erfc by its Chebyshev fit (Numerical Recipes, erfcc): a relative error below 1.2e-7.
fn erfc(x: f32) -> f32 {
  let t = 1.0 / (1.0 + 0.5 * abs(x));
  var p = 0.17087277;
  p = fma(p, t, -0.82215223);
  p = fma(p, t, 1.48851587);
  p = fma(p, t, -1.13520398);
  p = fma(p, t, 0.27886807);
  p = fma(p, t, -0.18628806);
  p = fma(p, t, 0.09678418);
  p = fma(p, t, 0.37409196);
  p = fma(p, t, 1.00002368);
  p = fma(p, t, -1.26551223);
  let y = t * exp(p - x * x);
  return select(y, 2.0 - y, x < 0.0);
}

fn normal_cdf(x: f32) -> f32 {
  return 0.5 * erfc(-0.70710678 * x);
}

fn gelu(x: f32) -> f32 {
  return x * normal_cdf(x);
}

// pow of WGSL knows no negative bases.
fn pow_f32(x: f32, y: f32) -> f32 {
  if (y == 0.0) {
    return 1.0;
  }
  if (x == 0.0) {
    return select(0.0, infinity(), y < 0.0);
  }
  let size = exp2(y * log2(abs(x)));
  if (x > 0.0) {
    return size;
  }
  if (floor(y) != y) {
    return nan();
  }
  return select(size, -size, floor(0.5 * y) * 2.0 != y);
}

// sin and cos of WGSL are exact to 2^-11 only: quarters of a turn are taken off in three steps (Cody and Waite), the rest is a
// polynomial (Cephes sinf, cosf).
fn quarter_turns(x: f32) -> f32 {
  return floor(x * 0.636619772 + 0.5);
}

fn within_quarter(x: f32, turns: f32) -> f32 {
  return fma(turns, -7.5497899549e-8, fma(turns, -4.8375129699707031e-4, fma(turns, -1.5703125, x)));
}

fn sin_of_quarter(r: f32) -> f32 {
  let z = r * r;
  return fma(fma(fma(-1.9515295891e-4, z, 8.3321608736e-3), z, -1.6666654611e-1) * z, r, r);
}

fn cos_of_quarter(r: f32) -> f32 {
  let z = r * r;
  return fma(fma(fma(2.443315711809948e-5, z, -1.388731625493765e-3), z, 4.166664568298827e-2), z * z, fma(-0.5, z, 1.0));
}

fn exact_sin(x: f32) -> f32 {
  let turns = quarter_turns(x);
  let r = within_quarter(x, turns);
  let quadrant = i32(turns) & 3;
  let size = select(sin_of_quarter(r), cos_of_quarter(r), (quadrant & 1) == 1);
  return select(size, -size, quadrant >= 2);
}

fn exact_cos(x: f32) -> f32 {
  let turns = quarter_turns(x);
  let r = within_quarter(x, turns);
  let quadrant = i32(turns) & 3;
  let size = select(cos_of_quarter(r), sin_of_quarter(r), (quadrant & 1) == 1);
  return select(size, -size, quadrant == 1 || quadrant == 2);
}

// Elements of which a word has several, the first one in its lowest bits.
fn i4_of(word: u32, i: i32) -> i32 {
  return extractBits(bitcast<i32>(word), u32(i & 7) * 4u, 4u);
}

fn i8_of(word: u32, i: i32) -> i32 {
  return extractBits(bitcast<i32>(word), u32(i & 3) * 8u, 8u);
}

fn bf16_of(word: u32, i: i32) -> f32 {
  return bitcast<f32>(select(word << 16u, word & 0xffff0000u, (i & 1) == 1));
}

fn f16_of(word: u32, i: i32) -> f32 {
  return unpack2x16float(word)[i & 1];
}

// Rounding to small floats, to nearest, ties to even.
fn round_bf16(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  return bitcast<f32>(select((bits + 0x7fffu + ((bits >> 16u) & 1u)) & 0xffff0000u, (bits & 0xffff0000u) | 0x400000u, is_nan(x)));
}

fn round_f16(x: f32) -> f32 {
  let size = abs(x);
  if (is_nan(x)) {
    return x;
  }
  if (size >= 65520.0) {
    return select(infinity(), -infinity(), x < 0.0);
  }
  // Where the lowest digit that is kept lies: fractions have 10 bits, 2^-24 is the smallest number.
  let exponent = max(i32((bitcast<u32>(size) >> 23u) & 255u) - 127, -14);
  let unit = ldexp(1.0, exponent - 10);
  return round(x / unit) * unit;
}

fn round_f8e4m3(x: f32) -> f32 {
  if (is_nan(x)) {
    return x;
  }
  let size = min(abs(x), 448.0);
  let exponent = max(i32((bitcast<u32>(size) >> 23u) & 255u) - 127, -6);
  let unit = ldexp(1.0, exponent - 3);
  let rounded = min(round(size / unit) * unit, 448.0);
  return select(rounded, -rounded, (bitcast<u32>(x) >> 31u) == 1u);
}

// Whether element i with value x comes before element j with value y: larger first, the lower index first among equals, NaN last.
fn before_f32(x: f32, i: i32, y: f32, j: i32) -> bool {
  if (is_nan(x) || is_nan(y)) {
    return select(is_nan(y), i < j, is_nan(x) == is_nan(y));
  }
  return select(x > y, i < j, x == y);
}

fn before_i32(x: i32, i: i32, y: i32, j: i32) -> bool {
  return select(x > y, i < j, x == y);
}

// Philox 4x32-10 (Salmon et al., SC 2011).
fn high_product(a: u32, b: u32) -> u32 {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let middle = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let other = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
  return (a >> 16u) * (b >> 16u) + (middle >> 16u) + (other >> 16u);
}

fn philox(element: i32, stream: u32, seed: i32, step: i32) -> vec4<u32> {
  var c = vec4<u32>(bitcast<u32>(element), 0u, bitcast<u32>(step), 0u);
  var k = vec2<u32>(bitcast<u32>(seed), stream);
  for (var round = 0; round < 10; round++) {
    let a = 0xd2511f53u * c.x;
    let b = 0xcd9e8d57u * c.z;
    c = vec4<u32>(high_product(0xcd9e8d57u, c.z) ^ c.y ^ k.x, b, high_product(0xd2511f53u, c.x) ^ c.w ^ k.y, a);
    k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
  }
  return c;
}

fn random_uniform(element: i32, stream: u32, seed: i32, step: i32) -> f32 {
  return f32(philox(element, stream, seed, step).x >> 8u) * 5.9604644775390625e-8;
}

fn random_normal(element: i32, stream: u32, seed: i32, step: i32) -> f32 {
  let c = philox(element, stream, seed, step);
  let x = (f32(c.x >> 8u) + 1.0) * 5.9604644775390625e-8;
  let y = f32(c.y >> 8u) * 5.9604644775390625e-8;
  return sqrt(-2.0 * log(x)) * exact_cos(6.2831853 * y);
}
