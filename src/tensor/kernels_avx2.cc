// AVX2 kernels. A half of 16 rows is two registers of 8 rows; four columns pass at once, so that
// eight sums of 16-bit lanes stay in registers.
//
// u8 x s8 products of 4- to 6-bit codes are summed in 16-bit lanes over a whole block. That fits:
//   Q4_0 16 products a lane, |code - 8| <= 8:     16 *  8 * 127 = 16256 (start -8 * sum of q)
//   Q5_0                     |code - 16| <= 16:   16 * 16 * 127 = 32512 (start -16 * sum of q)
//   Q4_1, Q4_K               code <= 15:          16 * 15 * 127 = 30480
//   Q6_K  8 products a lane, |code - 32| <= 32:    8 * 32 * 127 = 32512 (start -32 * sum of q)
//   Q5_1, Q5_K               code <= 31: two sums of 8 products, 8 * 31 * 127 = 31496
// Sums wrap, so only the final value has to fit; a pair of products never saturates (2 * 63 * 127).
// Q8_0 goes through 16-bit products instead: two per 32-bit lane.
#include <algorithm>
#include <cstring>
#include <immintrin.h>
#include <type_traits>

#include "tensor/kernels.h"
#include "tensor/kernels_generic.h"

#define AVX2_FN __attribute__((target("avx2,fma,f16c")))
#define AVX2_INLINE __attribute__((target("avx2,fma,f16c"), always_inline)) static inline

namespace tensor {
namespace {

// 4 KiB ahead of every line read: nearer is too late, farther gains nothing (docs/kernels.md). It
// may run past the matrix: the arena has slack.
constexpr int prefetch_bytes = 4096;
AVX2_INLINE void prefetch_line(const uint8_t* line) {
  _mm_prefetch(reinterpret_cast<const char*>(line + prefetch_bytes), _MM_HINT_T0);
}

constexpr int line_bytes = 64;
constexpr int column_tile = 4;
// From this many columns on, codes that take work to unpack are unpacked once for all columns.
constexpr int unpack_columns_min = 5;

// What is known of a dtype at compile time.
template <Dtype D>
struct Type {
  static constexpr bool fifth =
      D == Dtype::q5_0 || D == Dtype::q5_1 || D == Dtype::q5_k;  // has fifth bits
  static constexpr int nibbles_at = fifth ? fifth_bits_bytes : 0;
  static constexpr bool minima = D == Dtype::q4_1 || D == Dtype::q5_1;
  static constexpr bool integer_minima = D == Dtype::q4_k || D == Dtype::q5_k;
  static constexpr bool super = integer_minima || D == Dtype::q6_k;  // group of 256
  static constexpr bool two_sums = D == Dtype::q5_1 || D == Dtype::q5_k;
  static constexpr bool bytes = D == Dtype::q8_0;
  static constexpr int quads = D == Dtype::q6_k ? 4 : 8;  // of a block
  static constexpr int blocks = 64 / quads;               // of a superblock
  // Blocks of a superblock that stand together in one unit, superblocks of a unit.
  static constexpr int run = super ? blocks : minima ? 1 : 2;
  static constexpr int body_bytes = bytes ? 512 : fifth ? 320 : 256;  // of a block, not Q6_K
  static constexpr int unit_superblocks = D == Dtype::q6_k ? 2 : 1;
};

// The blocks of one superblock that follow each other in the stream of a half.
struct Run {
  int64_t g;       // superblock
  int first, end;  // blocks
};

// One superblock of one half, made ready once for all columns.
struct alignas(64) HalfScratch {
  float scale[16][half_rows];     // of each block: d, or the integer scale of the K types
  float minimum[8][half_rows];    // m of Q4_1 and Q5_1
  float d[half_rows];             // of the K types
  float dmin[half_rows];          // of Q4_K and Q5_K
  int16_t minima[4][32];          // pairs of integer minima (blocks 2p, 2p + 1) of each row
  uint8_t codes[64][line_bytes];  // unpacked quads
};

AVX2_INLINE __m256i load(const void* p) {
  return _mm256_load_si256(static_cast<const __m256i*>(p));
}
AVX2_INLINE void store(void* p, __m256i v) { _mm256_store_si256(static_cast<__m256i*>(p), v); }
AVX2_INLINE __m256 half_to_float(const uint8_t* p) {
  return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(p)));
}
AVX2_INLINE __m256i broadcast(const void* p) {
  int32_t dword;
  std::memcpy(&dword, p, 4);
  return _mm256_set1_epi32(dword);
}

// Where block b of superblock g stands; 32-wide types keep two blocks or one in a unit.
template <Dtype D>
AVX2_INLINE const uint8_t* unit_of(const HalfView& half, int64_t g, int b) {
  if (D == Dtype::q4_1 || D == Dtype::q5_1) return half.unit(g * 8 + b);
  if (D == Dtype::q6_k) return half.unit(g / 2);
  if (Type<D>::super) return half.unit(g);
  return half.unit(g * 4 + b / 2);
}
template <Dtype D>
AVX2_INLINE const uint8_t* body_of(const HalfView& half, int64_t g, int b) {
  const uint8_t* unit = unit_of<D>(half, g, b);
  switch (D) {
    case Dtype::q4_0:
      return unit + 64 + b % 2 * 256;
    case Dtype::q5_0:
      return unit + 64 + b % 2 * 320;
    case Dtype::q8_0:
      return unit + 64 + b % 2 * 512;
    case Dtype::q4_k:
      return unit + k_scale_bytes + b * 256;
    case Dtype::q5_k:
      return unit + k_scale_bytes + b * 320;
    case Dtype::q6_k:
      return unit + 64 + g % 2 * 3328 + k_scale_bytes +
             b / 4 * q6_k_group_bytes;  // the group of 64
    default:
      return unit + 64;
  }
}

// Codes of quad q of a block (both registers of 8 rows), q a constant after unrolling; `part` is
// the block's place in the group of 64 of Q6_K.
template <Dtype D>
AVX2_INLINE __m256i codes_of(const uint8_t* body, int q, int part, int rows8) {
  const __m256i low_mask = _mm256_set1_epi8(15);
  const int at = 32 * rows8;
  if constexpr (D == Dtype::q6_k) {
    const __m256i line = load(body + line_bytes * q6_k_low_line(part % 2 * 4 + q) + at);
    const __m256i low = _mm256_and_si256(part < 2 ? line : _mm256_srli_epi16(line, 4), low_mask);
    const __m256i crumbs = load(body + line_bytes * q6_k_high_line(q) + at);
    const __m256i shifted = part == 0   ? _mm256_slli_epi16(crumbs, 4)
                            : part == 1 ? _mm256_slli_epi16(crumbs, 2)
                            : part == 2 ? crumbs
                                        : _mm256_srli_epi16(crumbs, 2);
    return _mm256_or_si256(low, _mm256_and_si256(shifted, _mm256_set1_epi8(0x30)));
  }
  const __m256i line = load(body + Type<D>::nibbles_at + line_bytes * (q % 4) + at);
  const __m256i low = _mm256_and_si256(q < 4 ? line : _mm256_srli_epi16(line, 4), low_mask);
  if constexpr (!Type<D>::fifth) return low;
  const __m256i bits = load(body + at);
  const __m256i shifted = q < 4 ? _mm256_slli_epi16(bits, 4 - q) : _mm256_srli_epi16(bits, q - 4);
  return _mm256_or_si256(low, _mm256_and_si256(shifted, _mm256_set1_epi8(16)));
}

template <Dtype D>
AVX2_INLINE void prefetch_block(const uint8_t* body, int q, int part) {
  if constexpr (D == Dtype::q6_k) {
    if (part < 2) prefetch_line(body + line_bytes * q6_k_low_line(part * 4 + q));
    if (part == 0) prefetch_line(body + line_bytes * q6_k_high_line(q));
  } else if constexpr (D == Dtype::q8_0) {
    prefetch_line(body + line_bytes * q);
  } else {
    if (Type<D>::fifth && q == 0) prefetch_line(body);
    if (q < 4) prefetch_line(body + Type<D>::nibbles_at + line_bytes * q);
  }
}

// The scale lines of Q4_K and Q5_K: low six bits of three lines and a fourth made of the top bits.
AVX2_FN void unpack_k_scales(const uint8_t* lines, HalfScratch& scratch) {
  alignas(64) uint8_t scales[2 * line_bytes];
  const __m256i six = _mm256_set1_epi8(63);
  for (int i = 0; i < 4; ++i) {
    prefetch_line(lines + line_bytes * i);
    store(scales + 32 * i, _mm256_and_si256(load(lines + 32 * i), six));
  }
  for (int p = 0; p < 2; ++p) {
    const __m256i a = load(lines + 32 * p);
    const __m256i b = load(lines + line_bytes + 32 * p);
    const __m256i c = load(lines + 2 * line_bytes + 32 * p);
    __m256i high = _mm256_and_si256(_mm256_srli_epi16(a, 6), _mm256_set1_epi8(3));
    high = _mm256_or_si256(high, _mm256_and_si256(_mm256_srli_epi16(b, 4), _mm256_set1_epi8(12)));
    high = _mm256_or_si256(high, _mm256_and_si256(_mm256_srli_epi16(c, 2), _mm256_set1_epi8(48)));
    const __m256i low = _mm256_and_si256(c, six);
    store(scratch.minima[p], _mm256_cvtepu8_epi16(_mm256_castsi256_si128(low)));
    store(scratch.minima[p] + 16, _mm256_cvtepu8_epi16(_mm256_extracti128_si256(low, 1)));
    store(scratch.minima[p + 2], _mm256_cvtepu8_epi16(_mm256_castsi256_si128(high)));
    store(scratch.minima[p + 2] + 16, _mm256_cvtepu8_epi16(_mm256_extracti128_si256(high, 1)));
  }
  for (int i = 0; i < 16; ++i) {
    const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(scales + 8 * i));
    _mm256_store_ps(scratch.scale[0] + 8 * i, _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(eight)));
  }
  for (int i = 0; i < 2; ++i) {
    _mm256_store_ps(scratch.d + 8 * i, half_to_float(lines + 192 + 16 * i));
    _mm256_store_ps(scratch.dmin + 8 * i, half_to_float(lines + 224 + 16 * i));
  }
}

template <Dtype D>
AVX2_FN void unpack_scales(const HalfView& half, const Run& run, HalfScratch& scratch) {
  const int64_t g = run.g;
  if constexpr (Type<D>::integer_minima) {
    unpack_k_scales(half.unit(g), scratch);
  } else if constexpr (D == Dtype::q6_k) {
    const uint8_t* unit = half.unit(g / 2);
    const uint8_t* scales = unit + 64 + g % 2 * 3328;
    prefetch_line(unit);
    for (int i = 0; i < 4; ++i) prefetch_line(scales + line_bytes * i);
    for (int i = 0; i < 32; ++i) {
      const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(scales + 8 * i));
      _mm256_store_ps(scratch.scale[0] + 8 * i, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight)));
    }
    for (int i = 0; i < 2; ++i) {
      _mm256_store_ps(scratch.d + 8 * i, half_to_float(unit + 32 * (g % 2) + 16 * i));
    }
  } else {
    for (int b = run.first; b < run.end; ++b) {
      const uint8_t* unit = unit_of<D>(half, g, b);
      if (Type<D>::minima || b % 2 == 0) prefetch_line(unit);
      const uint8_t* d = Type<D>::minima ? unit : unit + 32 * (b % 2);
      for (int i = 0; i < 2; ++i) {
        _mm256_store_ps(scratch.scale[b] + 8 * i, half_to_float(d + 16 * i));
        if (Type<D>::minima) {
          _mm256_store_ps(scratch.minimum[b] + 8 * i, half_to_float(unit + 32 + 16 * i));
        }
      }
    }
  }
}

// Bytes need no unpacking, but their lines are asked for in the order of the stream, too.
template <Dtype D>
AVX2_FN void unpack_codes(const HalfView& half, const Run& run, HalfScratch& scratch) {
  for (int b = run.first; b < run.end; ++b) {
    const uint8_t* body = body_of<D>(half, run.g, b);
    const int part = b % 4;
    uint8_t(*codes)[line_bytes] = scratch.codes + b * Type<D>::quads;
#pragma GCC unroll 8
    for (int q = 0; q < Type<D>::quads; ++q) {
      prefetch_block<D>(body, q, part);
      if constexpr (Type<D>::bytes) continue;
      store(codes[q], codes_of<D>(body, q, part, 0));
      store(codes[q] + 32, codes_of<D>(body, q, part, 1));
    }
  }
}

// The activations of one superblock, from the tile's first column on.
struct Columns {
  const int8_t* q;           // a column is 256 further
  const int16_t* wide;       // likewise
  const int32_t* start;      // a column is one superblock's blocks further
  const float* scale;        // 8 further, or 1
  const float* scaled_sum;   // 8 further
  const int32_t* pair_sums;  // 4 further
};

template <Dtype D>
AVX2_INLINE Columns columns_at(const QuantRows& x, int64_t at) {
  if constexpr (Type<D>::super) {
    const QuantRows::Group256& form = x.group256;
    return {form.q + at * superblock_k,
            nullptr,
            D == Dtype::q6_k ? form.start_32 + at * 16 : nullptr,
            form.scale + at,
            nullptr,
            Type<D>::integer_minima ? form.pair_sums + at * 4 : nullptr};
  } else {
    const QuantRows::Group32& form = x.group32;
    const int32_t* start = D == Dtype::q4_0   ? form.start_8
                           : D == Dtype::q5_0 ? form.start_16
                           : D == Dtype::q8_0 ? form.start_128
                                              : nullptr;
    return {form.q + at * superblock_k,
            Type<D>::bytes ? form.wide + at * superblock_k : nullptr,
            start != nullptr ? start + at * 8 : nullptr,
            form.scale + at * 8,
            Type<D>::minima ? form.scaled_sum + at * 8 : nullptr,
            nullptr};
  }
}

// 32-bit sums of one block: s[8 rows][column].
template <Dtype D, int NT, bool unpacked, bool prefetch>
AVX2_INLINE void block_sums(const uint8_t* body, const HalfScratch* scratch, const Columns& x,
                            int b, int part, __m256i (&s)[2][NT]) {
  constexpr int quads = Type<D>::quads;
  const __m256i ones = _mm256_set1_epi16(1);
  const int8_t* a = x.q + b * 4 * quads;
#pragma GCC unroll 4
  for (int c = 0; c < NT; ++c) {
    s[0][c] =
        x.start != nullptr ? broadcast(x.start + c * Type<D>::blocks + b) : _mm256_setzero_si256();
    s[1][c] = s[0][c];
  }
  __m256i first[2][NT];
#pragma GCC unroll 8
  for (int q = 0; q < quads; ++q) {
    if (prefetch) prefetch_block<D>(body, q, part);
    const uint8_t* line = unpacked ? scratch->codes[b * quads + q] : nullptr;
    const __m256i w0 = unpacked ? load(line) : codes_of<D>(body, q, part, 0);
    const __m256i w1 = unpacked ? load(line + 32) : codes_of<D>(body, q, part, 1);
#pragma GCC unroll 4
    for (int c = 0; c < NT; ++c) {
      const __m256i v = broadcast(a + c * superblock_k + 4 * q);
      s[0][c] = _mm256_add_epi16(s[0][c], _mm256_maddubs_epi16(w0, v));
      s[1][c] = _mm256_add_epi16(s[1][c], _mm256_maddubs_epi16(w1, v));
      if (Type<D>::two_sums && q == 3) {
        first[0][c] = _mm256_madd_epi16(s[0][c], ones);
        first[1][c] = _mm256_madd_epi16(s[1][c], ones);
        s[0][c] = _mm256_setzero_si256();
        s[1][c] = _mm256_setzero_si256();
      }
    }
  }
#pragma GCC unroll 4
  for (int c = 0; c < NT; ++c) {
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      s[i][c] = _mm256_madd_epi16(s[i][c], ones);
      if (Type<D>::two_sums) s[i][c] = _mm256_add_epi32(s[i][c], first[i][c]);
    }
  }
}

// The same for bytes: codes 0..255 (start -128 * sum of q), k 0 and 2 of a quad together, 1 and 3.
template <int NT, bool prefetch>
AVX2_INLINE void byte_sums(const uint8_t* body, const Columns& x, int b, __m256i (&s)[2][NT]) {
  const __m256i even = _mm256_set1_epi16(255);
  const int16_t* a = x.wide + b * 32;
#pragma GCC unroll 4
  for (int c = 0; c < NT; ++c) s[0][c] = s[1][c] = broadcast(x.start + c * 8 + b);
#pragma GCC unroll 8
  for (int q = 0; q < 8; ++q) {
    if (prefetch) prefetch_block<Dtype::q8_0>(body, q, 0);
    const __m256i w0 = load(body + line_bytes * q), w1 = load(body + line_bytes * q + 32);
    const __m256i even0 = _mm256_and_si256(w0, even), odd0 = _mm256_srli_epi16(w0, 8);
    const __m256i even1 = _mm256_and_si256(w1, even), odd1 = _mm256_srli_epi16(w1, 8);
#pragma GCC unroll 4
    for (int c = 0; c < NT; ++c) {
      const __m256i v_even = broadcast(a + c * superblock_k + 4 * q);
      const __m256i v_odd = broadcast(a + c * superblock_k + 4 * q + 2);
      s[0][c] = _mm256_add_epi32(s[0][c], _mm256_madd_epi16(even0, v_even));
      s[1][c] = _mm256_add_epi32(s[1][c], _mm256_madd_epi16(even1, v_even));
      s[0][c] = _mm256_add_epi32(s[0][c], _mm256_madd_epi16(odd0, v_odd));
      s[1][c] = _mm256_add_epi32(s[1][c], _mm256_madd_epi16(odd1, v_odd));
    }
  }
}

// acc[c] += one superblock of a half, for NT columns.
template <Dtype D, int NT, bool unpacked, bool prefetch>
AVX2_FN void tile(const HalfView& half, int64_t g, int blocks, const HalfScratch& scratch,
                  const Columns& x, float* acc /* (NT, 32) */) {
  __m256 t[2][NT];
#pragma GCC unroll 4
  for (int c = 0; c < NT; ++c) t[0][c] = t[1][c] = _mm256_setzero_ps();
  for (int b0 = 0; b0 < blocks; b0 += Type<D>::quads == 4 ? 4 : 1) {
#pragma GCC unroll 4
    for (int part = 0; part < (Type<D>::quads == 4 ? 4 : 1); ++part) {
      const int b = b0 + part;
      const uint8_t* body = unpacked ? nullptr : body_of<D>(half, g, b);
      __m256i s[2][NT];
      if constexpr (Type<D>::bytes) {
        byte_sums<NT, prefetch>(body, x, b, s);
      } else {
        block_sums<D, NT, unpacked, prefetch>(body, &scratch, x, b, part, s);
      }
#pragma GCC unroll 4
      for (int c = 0; c < NT; ++c) {
#pragma GCC unroll 2
        for (int i = 0; i < 2; ++i) {
          const __m256 sum = _mm256_cvtepi32_ps(s[i][c]);
          __m256 scale = _mm256_load_ps(scratch.scale[b] + 8 * i);
          if (!Type<D>::super) scale = _mm256_mul_ps(scale, _mm256_set1_ps(x.scale[c * 8 + b]));
          t[i][c] = _mm256_fmadd_ps(sum, scale, t[i][c]);
          if (Type<D>::minima) {
            t[i][c] = _mm256_fmadd_ps(_mm256_load_ps(scratch.minimum[b] + 8 * i),
                                      _mm256_set1_ps(x.scaled_sum[c * 8 + b]), t[i][c]);
          }
        }
      }
    }
  }
#pragma GCC unroll 4
  for (int c = 0; c < NT; ++c) {
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      float* to = acc + c * panel_rows + 8 * i;
      const __m256 before = _mm256_load_ps(to);
      if constexpr (!Type<D>::super) {
        _mm256_store_ps(to, _mm256_add_ps(before, t[i][c]));
        continue;
      }
      __m256 v = _mm256_mul_ps(t[i][c], _mm256_load_ps(scratch.d + 8 * i));
      if constexpr (Type<D>::integer_minima) {
        __m256i u = _mm256_setzero_si256();
        for (int p = 0; p < 4; ++p) {
          u = _mm256_add_epi32(u, _mm256_madd_epi16(load(scratch.minima[p] + 16 * i),
                                                    broadcast(x.pair_sums + c * 4 + p)));
        }
        v = _mm256_fnmadd_ps(_mm256_load_ps(scratch.dmin + 8 * i), _mm256_cvtepi32_ps(u), v);
      }
      _mm256_store_ps(to, _mm256_fmadd_ps(v, _mm256_set1_ps(x.scale[c]), before));
    }
  }
}

// Two halves of a run of blocks with a header of their own, straight from the stream.
template <Dtype D, int NT>
AVX2_INLINE void add_run(const uint8_t* unit, const Columns& x, int first, int end,
                         __m256 (&t)[2][NT]) {
  prefetch_line(unit);
  for (int b = first; b < end; ++b) {
    const uint8_t* header = Type<D>::minima ? unit : unit + 32 * (b - first);
    const uint8_t* body = unit + 64 + (b - first) * Type<D>::body_bytes;
    __m256i s[2][NT];
    if constexpr (Type<D>::bytes) {
      byte_sums<NT, true>(body, x, b, s);
    } else {
      block_sums<D, NT, false, true>(body, nullptr, x, b, 0, s);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const __m256 d = half_to_float(header + 16 * i);
      const __m256 m = Type<D>::minima ? half_to_float(header + 32 + 16 * i) : d;
#pragma GCC unroll 4
      for (int c = 0; c < NT; ++c) {
        const __m256 scale = _mm256_mul_ps(d, _mm256_set1_ps(x.scale[c * 8 + b]));
        t[i][c] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(s[i][c]), scale, t[i][c]);
        if (!Type<D>::minima) continue;
        t[i][c] = _mm256_fmadd_ps(m, _mm256_set1_ps(x.scaled_sum[c * 8 + b]), t[i][c]);
      }
    }
  }
}

// acc[c] += one superblock of both halves, for NT columns, unit by unit as memory has them.
template <Dtype D, int NT>
AVX2_FN void stream_tile(const HalfView (&views)[2], int64_t g, int blocks, const Columns& x,
                         float* acc /* (NT, 32) */) {
  __m256 t[2][2][NT];
#pragma GCC unroll 4
  for (int c = 0; c < NT; ++c) {
    t[0][0][c] = t[0][1][c] = t[1][0][c] = t[1][1][c] = _mm256_setzero_ps();
  }
  for (int b = 0; b < blocks; b += Type<D>::run) {
    const int64_t unit = (g * Type<D>::blocks + b) / Type<D>::run;
    const int end = std::min(b + Type<D>::run, blocks);
    add_run<D, NT>(views[0].unit(unit), x, b, end, t[0]);
    add_run<D, NT>(views[1].unit(unit), x, b, end, t[1]);
  }
#pragma GCC unroll 4
  for (int c = 0; c < NT; ++c) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      float* to = acc + c * panel_rows + 8 * i;
      _mm256_store_ps(to, _mm256_add_ps(_mm256_load_ps(to), t[i / 2][i % 2][c]));
    }
  }
}

// fn(constant of min(columns, column_tile)).
template <class Fn>
AVX2_INLINE void with_columns(int columns, Fn fn) {
  switch (columns) {
    case 1:
      return fn(std::integral_constant<int, 1>{});
    case 2:
      return fn(std::integral_constant<int, 2>{});
    case 3:
      return fn(std::integral_constant<int, 3>{});
    default:
      return fn(std::integral_constant<int, column_tile>{});
  }
}

template <Dtype D>
struct PanelState {
  HalfScratch scratch[2];
  HalfView views[2];
  int halves;
  int64_t block_total;
  int blocks(int64_t g) const {
    return static_cast<int>(std::min<int64_t>(Type<D>::blocks, block_total - g * Type<D>::blocks));
  }
};

// Few columns take the codes straight from the stream.
template <Dtype D>
AVX2_FN void stream_panel(const PanelJob& job, PanelState<D>& state) {
  const QuantRows& x = *job.x;
  const int64_t superblocks = (job.w->cols + superblock_k - 1) / superblock_k;
  constexpr int group = Type<D>::unit_superblocks;
  for (int64_t first = 0; first < superblocks; first += group) {
    for (int h = 0; h < (Type<D>::super ? state.halves : 1); ++h) {
      for (int64_t g = first; g < std::min(first + group, superblocks); ++g) {
        const int blocks = state.blocks(g);
        const Columns columns = columns_at<D>(x, g * x.n + job.first_column);
        float* acc = job.acc + h * half_rows;
        if constexpr (Type<D>::super) {
          unpack_scales<D>(state.views[h], {g, 0, blocks}, state.scratch[0]);
        }
        with_columns(job.columns, [&](auto count) AVX2_FN {
          if constexpr (Type<D>::super) {
            tile<D, count, false, true>(state.views[h], g, blocks, state.scratch[0], columns, acc);
          } else {
            stream_tile<D, count>(state.views, g, blocks, columns, acc);
          }
        });
      }
    }
  }
}

// Many columns wait until a superblock of a half is unpacked. Bytes are used as they are.
template <Dtype D>
AVX2_FN void unpacked_panel(const PanelJob& job, PanelState<D>& state) {
  const QuantRows& x = *job.x;
  constexpr int step = Type<D>::run * Type<D>::unit_superblocks;
  for (int64_t unit = 0; unit < state.block_total; unit += step) {
    for (int h = 0; h < state.halves; ++h) {
      const int64_t unit_end = std::min(unit + step, state.block_total);
      for (int64_t block = unit; block < unit_end; block += Type<D>::run) {
        const int64_t g = block / Type<D>::blocks;
        const int blocks = state.blocks(g);
        const auto first = static_cast<int>(block % Type<D>::blocks);
        const Run run{g, first, std::min(first + Type<D>::run, blocks)};
        unpack_scales<D>(state.views[h], run, state.scratch[h]);
        unpack_codes<D>(state.views[h], run, state.scratch[h]);
        if (run.end < blocks) continue;
        for (int c = 0; c < job.columns; c += column_tile) {
          const Columns columns = columns_at<D>(x, g * x.n + job.first_column + c);
          float* acc = job.acc + c * panel_rows + h * half_rows;
          with_columns(job.columns - c, [&](auto count) AVX2_FN {
            tile<D, count, !Type<D>::bytes, false>(state.views[h], g, blocks, state.scratch[h],
                                                   columns, acc);
          });
        }
      }
    }
  }
}

// Both halves of a panel are read in the order of their common stream, unit by unit: memory gives
// a core up to twice as much when it can tell what comes next.
template <Dtype D>
AVX2_FN void panel(const PanelJob& job) {
  PanelState<D> state;
  const int64_t first_half = job.panel * 2;
  state.halves = first_half + 1 < half_count(*job.w) ? 2 : 1;
  for (int h = 0; h < 2; ++h) {
    // A half that stands alone is its own neighbour: rows that do not exist are whatever.
    state.views[h] = half_view(*job.w, first_half + h % state.halves);
  }
  state.block_total = job.w->cols / (4 * Type<D>::quads);
  std::memset(job.acc, 0, sizeof(float) * static_cast<size_t>(job.columns * panel_rows));
  job.columns < unpack_columns_min ? stream_panel<D>(job, state) : unpacked_panel<D>(job, state);
}

PanelKernel quantized(Dtype dtype) {
  switch (dtype) {
    case Dtype::q4_0:
      return panel<Dtype::q4_0>;
    case Dtype::q4_1:
      return panel<Dtype::q4_1>;
    case Dtype::q5_0:
      return panel<Dtype::q5_0>;
    case Dtype::q5_1:
      return panel<Dtype::q5_1>;
    case Dtype::q8_0:
      return panel<Dtype::q8_0>;
    case Dtype::q4_k:
      return panel<Dtype::q4_k>;
    case Dtype::q5_k:
      return panel<Dtype::q5_k>;
    case Dtype::q6_k:
      return panel<Dtype::q6_k>;
    default:
      return nullptr;
  }
}

// ---- f32 activations ---------------------------------------------------------------------------

enum class Stored { f32, f16, bf16 };

template <Stored stored>
AVX2_INLINE __m256 weights8(const uint8_t* p) {
  if constexpr (stored == Stored::f32) return _mm256_load_ps(reinterpret_cast<const float*>(p));
  if constexpr (stored == Stored::f16) return half_to_float(p);
  const __m128i half = _mm_load_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

// acc[c] += sum over one superblock, t = fma(w, x, t) in order of k.
template <Stored stored, int NT>
AVX2_FN void float_tile(const uint8_t* w, int count, const float* x, int64_t x_stride, float* acc) {
  constexpr int size = stored == Stored::f32 ? 4 : 2;
  __m256 t[2][NT];
#pragma GCC unroll 4
  for (int c = 0; c < NT; ++c) t[0][c] = t[1][c] = _mm256_setzero_ps();
  for (int k = 0; k < count; ++k, w += half_rows * size) {
    if (k % 2 == 0 || size == 4) prefetch_line(w);
    const __m256 w0 = weights8<stored>(w), w1 = weights8<stored>(w + 8 * size);
#pragma GCC unroll 4
    for (int c = 0; c < NT; ++c) {
      const __m256 v = _mm256_set1_ps(x[c * x_stride + k]);
      t[0][c] = _mm256_fmadd_ps(w0, v, t[0][c]);
      t[1][c] = _mm256_fmadd_ps(w1, v, t[1][c]);
    }
  }
#pragma GCC unroll 4
  for (int c = 0; c < NT; ++c) {
    for (int i = 0; i < 2; ++i) {
      float* to = acc + c * panel_rows + 8 * i;
      _mm256_store_ps(to, _mm256_add_ps(_mm256_load_ps(to), t[i][c]));
    }
  }
}

template <Stored stored>
AVX2_FN void float_columns(const uint8_t* w, int count, const PanelJob& job, int64_t g, int h) {
  const int64_t stride = job.w->cols;
  const float* x = job.x->x + job.first_column * stride + g * superblock_k;
  for (int c = 0; c < job.columns; c += column_tile, x += column_tile * stride) {
    float* acc = job.acc + c * panel_rows + h * half_rows;
    switch (job.columns - c) {
      case 1:
        float_tile<stored, 1>(w, count, x, stride, acc);
        break;
      case 2:
        float_tile<stored, 2>(w, count, x, stride, acc);
        break;
      case 3:
        float_tile<stored, 3>(w, count, x, stride, acc);
        break;
      default:
        float_tile<stored, 4>(w, count, x, stride, acc);
        break;
    }
  }
}

// `decoded`: any type, turned into f32 first.
template <Stored stored, bool decoded>
AVX2_FN void float_panel(const PanelJob& job) {
  alignas(64) float weights[decoded ? superblock_k * half_rows : 1];
  const int64_t cols = job.w->cols;
  std::memset(job.acc, 0, sizeof(float) * static_cast<size_t>(job.columns * panel_rows));
  for (int64_t g = 0; g * superblock_k < cols; ++g) {
    for (int h = 0; h < 2 && job.panel * 2 + h < half_count(*job.w); ++h) {
      const int64_t half = job.panel * 2 + h;
      auto count = static_cast<int>(std::min<int64_t>(superblock_k, cols - g * superblock_k));
      const uint8_t* w = nullptr;
      if constexpr (decoded) {
        decode_half_superblock(*job.w, half, g, weights);
        w = reinterpret_cast<const uint8_t*>(weights);
      } else {
        w = half_view(*job.w, half).unit(g);
      }
      float_columns<stored>(w, count, job, g, h);
    }
  }
}

PanelKernel floating(Dtype dtype) {
  switch (dtype) {
    case Dtype::f32:
      return float_panel<Stored::f32, false>;
    case Dtype::f16:
      return float_panel<Stored::f16, false>;
    case Dtype::bf16:
      return float_panel<Stored::bf16, false>;
    default:
      return float_panel<Stored::f32, true>;
  }
}

AVX2_FN void exact_panel(const PanelJob& job) { exact_panel_lanes(job); }
AVX2_FN void silu_product(float* gate, const float* up, int64_t count) {
  silu_product_lanes(gate, up, count);
}

}  // namespace

const KernelSet& avx2_kernels() {
  static constexpr KernelSet set{
      quantized, floating, exact_panel, silu_product, quantize_superblock_avx2, 256 << 10};
  return set;
}

}  // namespace tensor
