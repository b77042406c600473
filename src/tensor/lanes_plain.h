// Registers of four floats in plain C++ (the compiler's vector types), under the names that the
// kernels written once for any width use (dense_body.inc, conv_body.inc): what runs where no better
// instructions are known. PLAIN_WIDTH may be defined wider, for tests.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "tensor/dtype.h"
#include "tensor/ops_exp.h"

#ifndef PLAIN_WIDTH
#define PLAIN_WIDTH 4
#endif
#define KERNEL
#define INLINE __attribute__((always_inline)) inline

namespace tensor {
namespace {

inline constexpr int vector_width = PLAIN_WIDTH;
using Vf = float __attribute__((vector_size(4 * PLAIN_WIDTH)));
using Vi = int32_t __attribute__((vector_size(4 * PLAIN_WIDTH)));
struct Half {
  uint16_t bits;
};
struct Brain {
  uint16_t bits;
};

template <class T>
INLINE Vf load_lanes(const T* p, float (*widen)(uint16_t)) {
  Vf v;
  for (int i = 0; i < vector_width; ++i) v[i] = widen(p[i].bits);
  return v;
}
INLINE Vf load(const float* p) {
  Vf v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
INLINE Vf load(const Half* p) { return load_lanes(p, f16_to_f32); }
INLINE Vf load(const Brain* p) { return load_lanes(p, bf16_to_f32); }
INLINE void store(float* p, Vf v) { std::memcpy(p, &v, sizeof v); }
INLINE Vf zero() { return Vf{}; }
INLINE Vf splat(float x) { return x - Vf{}; }
INLINE Vf broadcast(const float* p) { return splat(*p); }
INLINE Vf fma(Vf a, Vf b, Vf c) { return a * b + c; }
INLINE Vf mul(Vf a, Vf b) { return a * b; }
INLINE Vf div(Vf a, Vf b) { return a / b; }
INLINE Vf add(Vf a, Vf b) { return a + b; }
INLINE Vf sub(Vf a, Vf b) { return a - b; }
// The second one where either is a NaN, as the processor has it.
INLINE Vf max(Vf a, Vf b) { return a > b ? a : b; }
INLINE Vf min(Vf a, Vf b) { return a < b ? a : b; }
INLINE Vf magnitude(Vf a) { return a < zero() ? zero() - a : a; }

INLINE float max_lanes(Vf v) {
  float largest = v[0];
  for (int i = 1; i < vector_width; ++i) largest = v[i] > largest ? v[i] : largest;
  return largest;
}
INLINE float sum_lanes(Vf v) {
  float sum = v[0];
  for (int i = 1; i < vector_width; ++i) sum += v[i];
  return sum;
}

INLINE Vf exp(Vf x) {
  using namespace exp_parts;
  x = max(x, splat(lowest));
  const Vf n = (x * splat(log2_e) + splat(round_magic)) - splat(round_magic);
  const Vf f = (x - n * splat(ln2_high)) - n * splat(ln2_low);
  Vf p = splat(c7);
  p = p * f + splat(c6);
  p = p * f + splat(c5);
  p = p * f + splat(c4);
  p = p * f + splat(c3);
  p = p * f + splat(c2);
  p = p * (f * f) + f + splat(1.0f);
  Vi bits;
  std::memcpy(&bits, &p, sizeof bits);
  bits += __builtin_convertvector(n, Vi) << 23;
  std::memcpy(&p, &bits, sizeof p);
  return p;
}

// Whole numbers: dwords, or twice as many words in their halves.
INLINE Vi load_words(const int16_t* p) {
  Vi v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
INLINE Vi broadcast_pair(const int16_t* p) {
  int32_t pair;
  std::memcpy(&pair, p, 4);
  return pair - Vi{};
}
INLINE Vi zero_words() { return Vi{}; }
INLINE Vi add_pairs(Vi sum, Vi a, Vi b) {
  for (int i = 0; i < vector_width; ++i) {
    sum[i] += int16_t(a[i]) * int16_t(b[i]) + (a[i] >> 16) * (b[i] >> 16);
  }
  return sum;
}
INLINE Vf to_float(Vi v) { return __builtin_convertvector(v, Vf); }
INLINE void store_words(int16_t* p, Vf v) {
  for (int i = 0; i < vector_width; ++i) {
    p[i] = static_cast<int16_t>((v[i] + exp_parts::round_magic) - exp_parts::round_magic);
  }
}

struct Vd {
  double lanes[vector_width];
};
INLINE Vd load(const double* p) {
  Vd v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
INLINE void store(double* p, const Vd& v) { std::memcpy(p, &v, sizeof v); }
INLINE Vd to_double(Vf v) {
  Vd wide;
  for (int i = 0; i < vector_width; ++i) wide.lanes[i] = v[i];
  return wide;
}
INLINE Vd add(Vd a, const Vd& b) {
  for (int i = 0; i < vector_width; ++i) a.lanes[i] += b.lanes[i];
  return a;
}
INLINE Vd fma(const Vd& a, const Vd& b, Vd c) {
  for (int i = 0; i < vector_width; ++i) c.lanes[i] += a.lanes[i] * b.lanes[i];
  return c;
}

}  // namespace
}  // namespace tensor
