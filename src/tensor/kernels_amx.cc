// AMX kernels: those of AVX-512, but for products of enough columns with types of 32-wide blocks. A
// tile product makes the integer sums of 16 columns x 16 rows x one block, in a quarter of the
// clocks that vpdpbusd takes; what happens to a sum afterwards is what the AVX-512 kernels do, in
// the same order. Codes are unpacked as signed bytes, so that nothing has to be taken off the sums.
//
// While tiles are at work one of the two units for floats of 512 bits stands still: all products
// of a superblock's 16 columns x 16 rows come first, then their sums become floats. Doing both at
// once was slower, and so was doing more of each at a time (the first-level cache). Blocks of 16 k
// (Q2_K, Q3_K, Q6_K) take tiles twice the time and gain nothing.
#include "tensor/kernels_avx512.inc"
#include "tensor/tiles.h"

namespace tensor {
namespace {

// From how many columns on tiles are faster than vpdpbusd.
constexpr int tile_columns_min = 16;

template <Dtype D>
AVX512_INLINE __m512i make_signed(__m512i codes) {
  constexpr int offset = D == Dtype::q4_0                         ? 8
                         : D == Dtype::mxfp4                      ? 12
                         : D == Dtype::q5_0                       ? 16
                         : D == Dtype::q8_0 || Type<D>::looked_up ? 128
                                                                  : 0;
  if constexpr (offset == 0) return codes;
  return _mm512_sub_epi8(codes, _mm512_set1_epi8(static_cast<char>(offset)));
}

template <Dtype D>
AMX_FN void unpack_signed_codes(const HalfView& half, const Run& run, HalfScratch& scratch) {
  static_assert(Type<D>::quads == tile_quads);
  for (int b = run.first; b < run.end; ++b) {
    const uint8_t* body = body_of<D>(half, run.g, b);
    AVX512_UNROLL
    for (int q = 0; q < tile_quads; ++q) {
      prefetch_quad<D>(body, q, 0);
      _mm512_store_si512(scratch.codes[b * tile_quads + q],
                         make_signed<D>(codes_of<D>(body, q, 0)));
    }
  }
}

// What one half of a superblock needs for 16 columns.
struct Unit {
  Columns x;
  const HalfScratch* scratch;
  float* acc;  // (columns, 32), of its first column and row
};

// t[c] += block b of NT columns.
template <Dtype D, int NT>
AMX_INLINE void add_block(const Unit& unit, int b, const int32_t (*sums)[half_rows],
                          __m512 (&t)[NT]) {
  const __m512 scale = _mm512_load_ps(unit.scratch->scale[b]);
  AVX512_UNROLL
  for (int c = 0; c < NT; ++c) {
    const __m512 s = _mm512_cvtepi32_ps(load(sums[c]));
    if constexpr (Type<D>::super) {
      t[c] = _mm512_fmadd_ps(s, scale, t[c]);
    } else {
      const __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(unit.x.scale[c * 8 + b]));
      t[c] = _mm512_fmadd_ps(s, both, t[c]);
    }
    if constexpr (Type<D>::minima) {
      t[c] = _mm512_fmadd_ps(_mm512_load_ps(unit.scratch->minimum[b]),
                             _mm512_set1_ps(unit.x.scaled_sum[c * 8 + b]), t[c]);
    }
  }
}

// Adds the sums of all blocks to NT columns from `first` on.
template <Dtype D, int NT>
AMX_FN void finish(const Unit& unit, int blocks, const TileSums* sums, int first) {
  Unit part = unit;
  part.x = columns_from<D>(unit.x, first);
  __m512 t[NT];
  AVX512_UNROLL
  for (int c = 0; c < NT; ++c) t[c] = _mm512_setzero_ps();
  for (int b = 0; b < blocks; ++b) add_block<D, NT>(part, b, sums[b] + first, t);
  AVX512_UNROLL
  for (int c = 0; c < NT; ++c) {
    add_superblock<D>(*unit.scratch, part.x, c, t[c], unit.acc + (first + c) * panel_rows);
  }
}

template <Dtype D>
AMX_FN void finish_columns(const Unit& unit, int columns, int blocks, const TileSums* sums) {
  if (columns >= tile_columns) return finish<D, tile_columns>(unit, blocks, sums, 0);
  int c = 0;
  for (; c + 8 <= columns; c += 8) finish<D, 8>(unit, blocks, sums, c);
  for (; c + 2 <= columns; c += 2) finish<D, 2>(unit, blocks, sums, c);
  if (c < columns) finish<D, 1>(unit, blocks, sums, c);
}

template <Dtype D>
AMX_FN void tile_panel(const PanelJob& job) {
  PanelState<D> state;
  begin_panel(job, state);
  alignas(64) TileSums sums[Type<D>::blocks];
  begin_tiles();
  for (int64_t g = 0; g * superblock_k < job.w->cols; ++g) {
    const int blocks = state.blocks(g);
    for (int first = 0; first < blocks; first += Type<D>::run) {
      const Run run{g, first, std::min(first + Type<D>::run, blocks)};
      for (int h = 0; h < state.halves; ++h) {
        unpack_scales<D>(state.views[h], run, state.scratch[h]);
        unpack_signed_codes<D>(state.views[h], run, state.scratch[h]);
      }
    }
    for (int c = 0; c < job.columns; c += tile_columns) {
      const Columns x = columns_at<D>(*job.x, g * job.x->n + job.first_column + c);
      for (int h = 0; h < state.halves; ++h) {
        const HalfScratch& scratch = state.scratch[h];
        tile_products(x.q, scratch.codes[0], blocks, sums);
        finish_columns<D>({x, &scratch, job.acc + c * panel_rows + h * half_rows}, job.columns - c,
                          blocks, sums);
      }
    }
  }
  end_tiles();
}

template <Dtype D>
void amx_panel(const PanelJob& job) {
  if (job.columns >= tile_columns_min) return tile_panel<D>(job);
  (Type<D>::super ? avx512_kernel_of_superblock(D) : avx512_kernel_of_block32(D))(job);
}

PanelKernel tile_kernel_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::q4_0:
      return amx_panel<Dtype::q4_0>;
    case Dtype::q4_1:
      return amx_panel<Dtype::q4_1>;
    case Dtype::q5_0:
      return amx_panel<Dtype::q5_0>;
    case Dtype::q5_1:
      return amx_panel<Dtype::q5_1>;
    case Dtype::q8_0:
      return amx_panel<Dtype::q8_0>;
    case Dtype::iq4_nl:
      return amx_panel<Dtype::iq4_nl>;
    case Dtype::mxfp4:
      return amx_panel<Dtype::mxfp4>;
    case Dtype::q4_k:
      return amx_panel<Dtype::q4_k>;
    case Dtype::q5_k:
      return amx_panel<Dtype::q5_k>;
    case Dtype::iq4_xs:
      return amx_panel<Dtype::iq4_xs>;
    default:
      return avx512_kernels().quantized(dtype);
  }
}

}  // namespace

const KernelSet& amx_kernels() {
  static const KernelSet set = [] {
    KernelSet amx = avx512_kernels();
    amx.quantized = tile_kernel_of;
    return amx;
  }();
  return set;
}

}  // namespace tensor
