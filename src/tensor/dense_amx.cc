// The table of AVX-512, with products of rounded numbers on the tiles of AMX: three products of
// bytes in their place. Two by two tiles of sums share what is loaded.
#include <algorithm>
#include <cstring>
#include <immintrin.h>

#include "tensor/dense_kernels.h"
#include "tensor/tile_config.h"

#define KERNEL \
  __attribute__((target("avx2,fma,f16c,avx512f,avx512vl,avx512bw,avx512dq,amx-tile,amx-int8")))

namespace tensor {
namespace {

constexpr int code_bytes = byte_run;  // inputs of one tile product
constexpr int tile_rows = 16;         // of every tile: rows, or fours of inputs
constexpr int tile_bytes = tile_rows * code_bytes;

KERNEL void begin_tiles() {
  TileConfig config;
  for (int tile = 0; tile < 8; ++tile) config.shape(tile, tile_rows, code_bytes);
  config.load();
}
KERNEL void end_tiles() { _tile_release(); }

// sums = rows of bytes (16, or 32 with `more_rows`; ByteProduct's layout) times one plane of one or
// two panels, [input / 4][16][4].
KERNEL void tile_sums(const int8_t* a, bool more_rows, const int8_t* first, const int8_t* second,
                      int32_t (&sums)[2][2][16][dense_panel]) {
  constexpr int next_rows = 16 * dense_step;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int at = 0; at < next_rows; at += tile_bytes) {
    _tile_loadd(4, a + at, code_bytes);
    _tile_loadd(6, first + at, code_bytes);
    _tile_dpbssd(0, 4, 6);
    if (second != nullptr) {
      _tile_loadd(7, second + at, code_bytes);
      _tile_dpbssd(1, 4, 7);
    }
    if (!more_rows) continue;
    _tile_loadd(5, a + next_rows + at, code_bytes);
    _tile_dpbssd(2, 5, 6);
    if (second != nullptr) _tile_dpbssd(3, 5, 7);
  }
  _tile_stored(0, sums[0][0], code_bytes);
  if (second != nullptr) _tile_stored(1, sums[0][1], code_bytes);
  if (!more_rows) return;
  _tile_stored(2, sums[1][0], code_bytes);
  if (second != nullptr) _tile_stored(3, sums[1][1], code_bytes);
}

#include "tensor/dense_bytes.inc"

}  // namespace

const DenseKernels& dense_kernels_amx() {
  static constexpr ByteKernels bytes{split_row, split_panel, byte_product};
  static const DenseKernels table = [] {
    DenseKernels amx = dense_kernels_avx512();
    amx.bytes = &bytes;
    return amx;
  }();
  return table;
}

}  // namespace tensor
