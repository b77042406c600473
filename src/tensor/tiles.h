// The tiles of AMX: products of 16 columns of activations with 16 rows of weights, one block of k
// after the other, their 32-bit sums left in memory. The processor's instructions, or, with
// NAUTILE_EMULATED_AVX512, the same in plain C++ for machines without them.
//
// Tiles belong to a thread: begin_tiles() before the first product, end_tiles() after the last.
#pragma once

#include "tensor/simd512.h"
#include "tensor/tile_config.h"

#if defined(NAUTILE_EMULATED_AVX512)

#define amx_kernels emulated_amx_kernels
#define AMX_FN
#define AMX_INLINE static inline

#else

#define AMX_TARGET AVX512_TARGET ",amx-tile,amx-int8"
#define AMX_FN __attribute__((target(AMX_TARGET)))
#define AMX_INLINE __attribute__((target(AMX_TARGET), always_inline)) static inline

#endif

namespace tensor {

#if defined(NAUTILE_EMULATED_AVX512)
const KernelSet& emulated_amx_kernels();
#endif

// Lines of codes of a block of 32 k, each 16 rows x 4 k.
inline constexpr int tile_quads = 8;
// The sums of one block: [column][row].
using TileSums = int32_t[tile_columns][half_rows];

namespace {

#if defined(NAUTILE_EMULATED_AVX512)

AMX_INLINE void begin_tiles() {}
AMX_INLINE void end_tiles() {}

AMX_INLINE void tile_product(const int8_t* a, const uint8_t* codes, TileSums& sums) {
  for (int c = 0; c < tile_columns; ++c) {
    for (int r = 0; r < half_rows; ++r) {
      sums[c][r] = 0;
      for (int k = 0; k < 4 * tile_quads; ++k) {
        const auto code = static_cast<int8_t>(codes[k / 4 * line_bytes + r * 4 + k % 4]);
        sums[c][r] += a[c * superblock_k + k] * code;
      }
    }
  }
}

#else

AMX_INLINE void begin_tiles() {
  TileConfig config;
  config.shape(0, tile_columns, line_bytes);      // sums
  config.shape(1, tile_columns, 4 * tile_quads);  // activations
  config.shape(2, tile_quads, line_bytes);        // codes
  config.load();
}
AMX_INLINE void end_tiles() { _tile_release(); }

// Several tiles of sums in turn gain nothing: the processor renames the one.
AMX_INLINE void tile_product(const int8_t* a, const uint8_t* codes, TileSums& sums) {
  _tile_loadd(1, a, superblock_k);
  _tile_loadd(2, codes, line_bytes);
  _tile_zero(0);
  _tile_dpbssd(0, 1, 2);
  _tile_stored(0, sums, line_bytes);
}

#endif

// sums[b] = the products of block b: signed bytes, a column of `a` is superblock_k further.
AMX_INLINE void tile_products(const int8_t* a, const uint8_t* codes, int blocks, TileSums* sums) {
  for (int b = 0; b < blocks; ++b) {
    tile_product(a + b * 4 * tile_quads, codes + b * tile_quads * line_bytes, sums[b]);
  }
}

}  // namespace
}  // namespace tensor
