// AVX-512 VNNI kernels. A half of 16 rows is one register; vpdpbusd sums four u8 x s8 products into
// each 32-bit lane, so every sum is exact and unsigned codes begin at -offset * sum of q.
//
// Up to 16 columns the codes are unpacked from the stream on the way (16 rows x 8 columns); above
// that (and in whole panels) a superblock of both halves is unpacked into the first-level cache and
// swept by tiles of 32 rows x 8 columns.
#include <algorithm>
#include <cstring>

#include "tensor/kernels.h"
#include "tensor/kernels_generic.h"
#include "tensor/simd512.h"

#if defined(NAUTILE_EMULATED_AVX512)
#define avx512_kernels emulated_avx512_kernels
#endif

namespace tensor {
#if defined(NAUTILE_EMULATED_AVX512)
const KernelSet& emulated_avx512_kernels();
#endif
namespace {

constexpr int line_bytes = 64;
constexpr int column_tile = 8;
constexpr int unpack_columns_min = 17;

// 4 KiB ahead of every line read: nearer is too late, farther gains nothing (docs/kernels.md). It
// may run past the matrix: the arena has slack.
AVX512_INLINE void prefetch_line(const uint8_t* line) {
  constexpr int prefetch_bytes = 4096;
  __builtin_prefetch(line + prefetch_bytes);
}

// What is known of a dtype at compile time.
template <Dtype D>
struct Type {
  static constexpr bool fifth = D == Dtype::q5_0 || D == Dtype::q5_1 || D == Dtype::q5_k;
  static constexpr int nibbles_at = fifth ? fifth_bits_bytes : 0;
  static constexpr bool minima = D == Dtype::q4_1 || D == Dtype::q5_1;
  static constexpr bool integer_minima = D == Dtype::q4_k || D == Dtype::q5_k;
  static constexpr bool super = integer_minima || D == Dtype::q6_k;  // group of 256
  static constexpr bool offset =
      D == Dtype::q4_0 || D == Dtype::q5_0 || D == Dtype::q8_0 || D == Dtype::q6_k;
  static constexpr int quads = D == Dtype::q6_k ? 4 : 8;  // of a block
  static constexpr int blocks = 64 / quads;               // of a superblock
  static constexpr int parts = D == Dtype::q6_k ? 4 : 1;  // blocks that share lines
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

AVX512_INLINE __m512i load(const void* p) { return _mm512_load_si512(p); }
AVX512_INLINE __m512i broadcast(const void* p) {
  int32_t dword;
  std::memcpy(&dword, p, 4);
  return _mm512_set1_epi32(dword);
}
AVX512_INLINE __m512 half_to_float(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(p)));
}
AVX512_INLINE __m128i bytes16(const uint8_t* p) {
  return _mm_load_si128(reinterpret_cast<const __m128i*>(p));
}

// Where block b of superblock g stands; 32-wide types keep two blocks or one in a unit.
template <Dtype D>
AVX512_INLINE const uint8_t* unit_of(const HalfView& half, int64_t g, int b) {
  if (D == Dtype::q4_1 || D == Dtype::q5_1) return half.unit(g * 8 + b);
  if (D == Dtype::q6_k) return half.unit(g / 2);
  if (Type<D>::super) return half.unit(g);
  return half.unit(g * 4 + b / 2);
}
template <Dtype D>
AVX512_INLINE const uint8_t* body_of(const HalfView& half, int64_t g, int b) {
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

// Codes of quad q of a block, q a constant after unrolling; `part` is the block's place in the
// group of 64 of Q6_K.
template <Dtype D>
AVX512_INLINE __m512i codes_of(const uint8_t* body, int q, int part) {
  const __m512i low_mask = _mm512_set1_epi8(15);
  if constexpr (D == Dtype::q8_0) return load(body + line_bytes * q);
  const int low_line = D == Dtype::q6_k ? q6_k_low_line(part % 2 * 4 + q) : q % 4;
  const bool high = D == Dtype::q6_k ? part >= 2 : q >= 4;
  const __m512i line = load(body + Type<D>::nibbles_at + line_bytes * low_line);
  const __m512i nibbles = _mm512_and_si512(high ? _mm512_srli_epi16(line, 4) : line, low_mask);
  if constexpr (D == Dtype::q6_k) {
    const __m512i crumbs = load(body + line_bytes * q6_k_high_line(q));
    const __m512i shifted = part == 0   ? _mm512_slli_epi16(crumbs, 4)
                            : part == 1 ? _mm512_slli_epi16(crumbs, 2)
                            : part == 2 ? crumbs
                                        : _mm512_srli_epi16(crumbs, 2);
    // (shifted & 0x30) | nibbles
    return _mm512_ternarylogic_epi32(shifted, _mm512_set1_epi8(0x30), nibbles, 0xea);
  }
  if constexpr (!Type<D>::fifth) return nibbles;
  const __m512i bits = load(body);
  const __m512i shifted = q < 4 ? _mm512_slli_epi16(bits, static_cast<unsigned>(4 - q) & 7)
                                : _mm512_srli_epi16(bits, static_cast<unsigned>(q - 4) & 7);
  return _mm512_ternarylogic_epi32(shifted, _mm512_set1_epi8(16), nibbles, 0xea);
}

template <Dtype D>
AVX512_INLINE void prefetch_quad(const uint8_t* body, int q, int part) {
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
AVX512_FN void unpack_k_scales(const uint8_t* lines, HalfScratch& scratch) {
  const __m512i six = _mm512_set1_epi8(63);
  for (int i = 0; i < 4; ++i) prefetch_line(lines + line_bytes * i);
  const __m512i a = load(lines);
  const __m512i b = load(lines + line_bytes);
  const __m512i c = load(lines + 2 * line_bytes);
  alignas(64) uint8_t six_bits[4][line_bytes];
  _mm512_store_si512(six_bits[0], _mm512_and_si512(a, six));
  _mm512_store_si512(six_bits[1], _mm512_and_si512(b, six));
  _mm512_store_si512(six_bits[2], _mm512_and_si512(c, six));
  __m512i high = _mm512_and_si512(_mm512_srli_epi16(a, 6), _mm512_set1_epi8(3));
  high = _mm512_or_si512(high, _mm512_and_si512(_mm512_srli_epi16(b, 4), _mm512_set1_epi8(12)));
  high = _mm512_or_si512(high, _mm512_and_si512(_mm512_srli_epi16(c, 2), _mm512_set1_epi8(48)));
  _mm512_store_si512(six_bits[3], high);
  for (int j = 0; j < 8; ++j) {
    const __m512i scale = _mm512_cvtepu8_epi32(bytes16(six_bits[0] + 16 * j));
    _mm512_store_ps(scratch.scale[j], _mm512_cvtepi32_ps(scale));
  }
  for (int p = 0; p < 4; ++p) {
    const auto* pairs = reinterpret_cast<const __m256i*>(six_bits[2] + 32 * p);
    _mm512_store_si512(scratch.minima[p], _mm512_cvtepu8_epi16(_mm256_load_si256(pairs)));
  }
  _mm512_store_ps(scratch.d, half_to_float(lines + 192));
  _mm512_store_ps(scratch.dmin, half_to_float(lines + 224));
}

template <Dtype D>
AVX512_FN void unpack_scales(const HalfView& half, int64_t g, int blocks, HalfScratch& scratch) {
  if constexpr (Type<D>::integer_minima) {
    unpack_k_scales(half.unit(g), scratch);
  } else if constexpr (D == Dtype::q6_k) {
    const uint8_t* unit = half.unit(g / 2);
    const uint8_t* scales = unit + 64 + g % 2 * 3328;
    prefetch_line(unit);
    for (int i = 0; i < 4; ++i) prefetch_line(scales + line_bytes * i);
    for (int j = 0; j < 16; ++j) {
      const __m512i scale = _mm512_cvtepi8_epi32(bytes16(scales + 16 * j));
      _mm512_store_ps(scratch.scale[j], _mm512_cvtepi32_ps(scale));
    }
    _mm512_store_ps(scratch.d, half_to_float(unit + 32 * (g % 2)));
  } else {
    for (int b = 0; b < blocks; ++b) {
      const uint8_t* unit = unit_of<D>(half, g, b);
      if (Type<D>::minima || b % 2 == 0) prefetch_line(unit);
      const uint8_t* d = Type<D>::minima ? unit : unit + 32 * (b % 2);
      _mm512_store_ps(scratch.scale[b], half_to_float(d));
      if (Type<D>::minima) _mm512_store_ps(scratch.minimum[b], half_to_float(unit + 32));
    }
  }
}

template <Dtype D>
AVX512_FN void unpack_codes(const HalfView& half, int64_t g, int blocks, HalfScratch& scratch) {
  for (int b0 = 0; b0 < blocks; b0 += Type<D>::parts) {
    AVX512_UNROLL
    for (int part = 0; part < Type<D>::parts; ++part) {
      const int b = b0 + part;
      const uint8_t* body = body_of<D>(half, g, b);
      AVX512_UNROLL
      for (int q = 0; q < Type<D>::quads; ++q) {
        prefetch_quad<D>(body, q, part);
        _mm512_store_si512(scratch.codes[b * Type<D>::quads + q], codes_of<D>(body, q, part));
      }
    }
  }
}

// The activations of one superblock, from the tile's first column on.
struct Columns {
  const int8_t* q;           // a column is 256 further
  const int32_t* start;      // a column is one superblock's blocks further
  const float* scale;        // 8 further, or 1
  const float* scaled_sum;   // 8 further
  const int32_t* pair_sums;  // 4 further
};

template <Dtype D>
AVX512_INLINE Columns columns_at(const QuantRows& x, int64_t at) {
  if constexpr (Type<D>::super) {
    const QuantRows::Group256& form = x.group256;
    return {form.q + at * superblock_k, Type<D>::offset ? form.start_32 + at * 16 : nullptr,
            form.scale + at, nullptr, Type<D>::integer_minima ? form.pair_sums + at * 4 : nullptr};
  } else {
    const QuantRows::Group32& form = x.group32;
    const int32_t* start = D == Dtype::q4_0   ? form.start_8
                           : D == Dtype::q5_0 ? form.start_16
                                              : form.start_128;
    return {form.q + at * superblock_k, Type<D>::offset ? start + at * 8 : nullptr,
            form.scale + at * 8, Type<D>::minima ? form.scaled_sum + at * 8 : nullptr, nullptr};
  }
}

// 32-bit sums of one block for one half, straight from the packed bytes: two chains a column, since
// a chain of vpdpbusd has to wait five clocks for each link.
template <Dtype D, int NT>
AVX512_INLINE void direct_sums(const uint8_t* body, const Columns& x, int b, int part,
                               __m512i (&s)[1][NT]) {
  constexpr int quads = Type<D>::quads;
  const int8_t* a = x.q + b * 4 * quads;
  __m512i second[NT];
  AVX512_UNROLL
  for (int c = 0; c < NT; ++c) {
    s[0][c] =
        Type<D>::offset ? broadcast(x.start + c * Type<D>::blocks + b) : _mm512_setzero_si512();
    second[c] = _mm512_setzero_si512();
  }
  AVX512_UNROLL
  for (int q = 0; q < quads; ++q) {
    prefetch_quad<D>(body, q, part);
    const __m512i w = codes_of<D>(body, q, part);
    AVX512_UNROLL
    for (int c = 0; c < NT; ++c) {
      __m512i& sum = q % 2 == 0 ? s[0][c] : second[c];
      sum = _mm512_dpbusd_epi32(sum, w, broadcast(a + c * superblock_k + 4 * q));
    }
  }
  AVX512_UNROLL
  for (int c = 0; c < NT; ++c) s[0][c] = _mm512_add_epi32(s[0][c], second[c]);
}

// The same from unpacked codes for one half or two.
template <Dtype D, int halves, int NT>
AVX512_INLINE void unpacked_sums(const HalfScratch* scratch, const Columns& x, int b,
                                 __m512i (&s)[halves][NT]) {
  constexpr int quads = Type<D>::quads;
  const int8_t* a = x.q + b * 4 * quads;
  AVX512_UNROLL
  for (int c = 0; c < NT; ++c) {
    AVX512_UNROLL
    for (int h = 0; h < halves; ++h) {
      s[h][c] =
          Type<D>::offset ? broadcast(x.start + c * Type<D>::blocks + b) : _mm512_setzero_si512();
    }
  }
  AVX512_UNROLL
  for (int q = 0; q < quads; ++q) {
    __m512i w[halves];
    AVX512_UNROLL
    for (int h = 0; h < halves; ++h) w[h] = load(scratch[h].codes[b * quads + q]);
    AVX512_UNROLL
    for (int c = 0; c < NT; ++c) {
      const __m512i v = broadcast(a + c * superblock_k + 4 * q);
      AVX512_UNROLL
      for (int h = 0; h < halves; ++h) s[h][c] = _mm512_dpbusd_epi32(s[h][c], w[h], v);
    }
  }
}

// acc[c] += t, with what is applied once a superblock.
template <Dtype D>
AVX512_INLINE void add_superblock(const HalfScratch& scratch, const Columns& x, int c, __m512 t,
                                  float* acc) {
  const __m512 before = _mm512_load_ps(acc);
  if constexpr (!Type<D>::super) {
    _mm512_store_ps(acc, _mm512_add_ps(before, t));
    return;
  }
  __m512 v = _mm512_mul_ps(t, _mm512_load_ps(scratch.d));
  if constexpr (Type<D>::integer_minima) {
    __m512i u = _mm512_setzero_si512();
    AVX512_UNROLL
    for (int p = 0; p < 4; ++p) {
      u = _mm512_dpwssd_epi32(u, load(scratch.minima[p]), broadcast(x.pair_sums + c * 4 + p));
    }
    v = _mm512_fnmadd_ps(_mm512_load_ps(scratch.dmin), _mm512_cvtepi32_ps(u), v);
  }
  _mm512_store_ps(acc, _mm512_fmadd_ps(v, _mm512_set1_ps(x.scale[c]), before));
}

// acc[c] += one superblock of one half or two, for NT columns.
template <Dtype D, int halves, int NT, bool unpacked>
AVX512_FN void tile(const HalfView& half, int64_t g, int blocks, const HalfScratch* scratch,
                    const Columns& x, float* acc /* (NT, 32) */) {
  static_assert(unpacked || halves == 1);
  __m512 t[halves][NT];
  AVX512_UNROLL
  for (int h = 0; h < halves; ++h) {
    AVX512_UNROLL
    for (int c = 0; c < NT; ++c) t[h][c] = _mm512_setzero_ps();
  }
  for (int b0 = 0; b0 < blocks; b0 += Type<D>::parts) {
    AVX512_UNROLL
    for (int part = 0; part < Type<D>::parts; ++part) {
      const int b = b0 + part;
      __m512i s[halves][NT];
      if constexpr (unpacked) {
        unpacked_sums<D, halves, NT>(scratch, x, b, s);
      } else {
        direct_sums<D, NT>(body_of<D>(half, g, b), x, b, part, s);
      }
      AVX512_UNROLL
      for (int c = 0; c < NT; ++c) {
        AVX512_UNROLL
        for (int h = 0; h < halves; ++h) {
          __m512 scale = _mm512_load_ps(scratch[h].scale[b]);
          if (!Type<D>::super) scale = _mm512_mul_ps(scale, _mm512_set1_ps(x.scale[c * 8 + b]));
          t[h][c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s[h][c]), scale, t[h][c]);
          if (Type<D>::minima) {
            t[h][c] = _mm512_fmadd_ps(_mm512_load_ps(scratch[h].minimum[b]),
                                      _mm512_set1_ps(x.scaled_sum[c * 8 + b]), t[h][c]);
          }
        }
      }
    }
  }
  AVX512_UNROLL
  for (int c = 0; c < NT; ++c) {
    AVX512_UNROLL
    for (int h = 0; h < halves; ++h) {
      add_superblock<D>(scratch[h], x, c, t[h][c], acc + c * panel_rows + h * half_rows);
    }
  }
}

// Any number of columns up to 8 straight from the stream.
template <Dtype D>
AVX512_FN void direct_tile(int columns, const HalfView& half, int64_t g, int blocks,
                           const HalfScratch& scratch, const Columns& x, float* acc) {
  switch (columns) {
    case 1:
      return tile<D, 1, 1, false>(half, g, blocks, &scratch, x, acc);
    case 2:
      return tile<D, 1, 2, false>(half, g, blocks, &scratch, x, acc);
    case 3:
      return tile<D, 1, 3, false>(half, g, blocks, &scratch, x, acc);
    case 4:
      return tile<D, 1, 4, false>(half, g, blocks, &scratch, x, acc);
    case 5:
      return tile<D, 1, 5, false>(half, g, blocks, &scratch, x, acc);
    case 6:
      return tile<D, 1, 6, false>(half, g, blocks, &scratch, x, acc);
    case 7:
      return tile<D, 1, 7, false>(half, g, blocks, &scratch, x, acc);
    default:
      return tile<D, 1, 8, false>(half, g, blocks, &scratch, x, acc);
  }
}

template <Dtype D>
AVX512_FN void direct_superblock(const PanelJob& job, const HalfView* views, int halves, int64_t g,
                                 int blocks, HalfScratch* scratch) {
  for (int h = 0; h < halves; ++h) {
    unpack_scales<D>(views[h], g, blocks, scratch[0]);
    for (int c = 0; c < job.columns; c += column_tile) {
      const Columns columns = columns_at<D>(*job.x, g * job.x->n + job.first_column + c);
      float* acc = job.acc + c * panel_rows + h * half_rows;
      direct_tile<D>(std::min(column_tile, job.columns - c), views[h], g, blocks, scratch[0],
                     columns, acc);
    }
  }
}

// Both halves of a panel: tiles of 8 columns, then powers of two.
template <Dtype D>
AVX512_FN void unpacked_superblock(const PanelJob& job, const HalfView* views, int64_t g,
                                   int blocks, HalfScratch* scratch) {
  for (int h = 0; h < 2; ++h) {
    unpack_scales<D>(views[h], g, blocks, scratch[h]);
    unpack_codes<D>(views[h], g, blocks, scratch[h]);
  }
  for (int c = 0; c < job.columns;) {
    const Columns columns = columns_at<D>(*job.x, g * job.x->n + job.first_column + c);
    float* acc = job.acc + c * panel_rows;
    const int left = job.columns - c;
    if (left >= 8) {
      tile<D, 2, 8, true>(views[0], g, blocks, scratch, columns, acc);
      c += 8;
    } else if (left >= 4) {
      tile<D, 2, 4, true>(views[0], g, blocks, scratch, columns, acc);
      c += 4;
    } else if (left >= 2) {
      tile<D, 2, 2, true>(views[0], g, blocks, scratch, columns, acc);
      c += 2;
    } else {
      tile<D, 2, 1, true>(views[0], g, blocks, scratch, columns, acc);
      c += 1;
    }
  }
}

template <Dtype D>
AVX512_FN void panel(const PanelJob& job) {
  HalfScratch scratch[2];
  const int64_t first_half = job.panel * 2;
  const int halves = first_half + 1 < half_count(*job.w) ? 2 : 1;
  HalfView views[2];
  for (int h = 0; h < halves; ++h) views[h] = half_view(*job.w, first_half + h);
  std::memset(job.acc, 0, sizeof(float) * static_cast<size_t>(job.columns * panel_rows));
  const int64_t block_total = job.w->cols / (4 * Type<D>::quads);
  for (int64_t g = 0; g * superblock_k < job.w->cols; ++g) {
    const auto blocks =
        static_cast<int>(std::min<int64_t>(Type<D>::blocks, block_total - g * Type<D>::blocks));
    if (job.columns >= unpack_columns_min && halves == 2) {
      unpacked_superblock<D>(job, views, g, blocks, scratch);
    } else {
      direct_superblock<D>(job, views, halves, g, blocks, scratch);
    }
  }
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
AVX512_INLINE __m512 weights16(const uint8_t* p) {
  if constexpr (stored == Stored::f32) return _mm512_load_ps(reinterpret_cast<const float*>(p));
  if constexpr (stored == Stored::f16) return half_to_float(p);
  const __m256i half = _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

// acc[c] += sum over one superblock, t = fma(w, x, t) in order of k.
template <Stored stored, int NT>
AVX512_FN void float_tile(const uint8_t* w, int count, const float* x, int64_t x_stride,
                          float* acc) {
  constexpr int size = stored == Stored::f32 ? 4 : 2;
  __m512 t[NT];
  AVX512_UNROLL
  for (int c = 0; c < NT; ++c) t[c] = _mm512_setzero_ps();
  for (int k = 0; k < count; ++k, w += half_rows * size) {
    if (k % 2 == 0 || size == 4) prefetch_line(w);
    const __m512 weights = weights16<stored>(w);
    AVX512_UNROLL
    for (int c = 0; c < NT; ++c) {
      t[c] = _mm512_fmadd_ps(weights, _mm512_set1_ps(x[c * x_stride + k]), t[c]);
    }
  }
  AVX512_UNROLL
  for (int c = 0; c < NT; ++c) {
    float* to = acc + c * panel_rows;
    _mm512_store_ps(to, _mm512_add_ps(_mm512_load_ps(to), t[c]));
  }
}

template <Stored stored>
AVX512_FN void float_columns(const uint8_t* w, int count, const PanelJob& job, int64_t g, int h) {
  const int64_t stride = job.w->cols;
  const float* x = job.x->x + job.first_column * stride + g * superblock_k;
  for (int c = 0; c < job.columns;) {
    float* acc = job.acc + c * panel_rows + h * half_rows;
    const int left = job.columns - c;
    const float* from = x + c * stride;
    if (left >= 8) {
      float_tile<stored, 8>(w, count, from, stride, acc);
      c += 8;
    } else if (left >= 4) {
      float_tile<stored, 4>(w, count, from, stride, acc);
      c += 4;
    } else if (left >= 2) {
      float_tile<stored, 2>(w, count, from, stride, acc);
      c += 2;
    } else {
      float_tile<stored, 1>(w, count, from, stride, acc);
      c += 1;
    }
  }
}

// `decoded`: any type, turned into f32 first.
template <Stored stored, bool decoded>
AVX512_FN void float_panel(const PanelJob& job) {
  alignas(64) float weights[decoded ? superblock_k * half_rows : 16];
  const int64_t cols = job.w->cols;
  std::memset(job.acc, 0, sizeof(float) * static_cast<size_t>(job.columns * panel_rows));
  for (int64_t g = 0; g * superblock_k < cols; ++g) {
    for (int h = 0; h < 2 && job.panel * 2 + h < half_count(*job.w); ++h) {
      const int64_t half = job.panel * 2 + h;
      const auto count = static_cast<int>(std::min<int64_t>(superblock_k, cols - g * superblock_k));
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

AVX512_FN void exact_panel(const PanelJob& job) { exact_panel_lanes(job); }
AVX512_FN void silu_product(float* gate, const float* up, int64_t count) {
  silu_product_lanes(gate, up, count);
}

}  // namespace

const KernelSet& avx512_kernels() {
  static constexpr KernelSet set{
      quantized, floating, exact_panel, silu_product, quantize_superblock_avx2, 1200 << 10};
  return set;
}

}  // namespace tensor
