// The inner loops of attention, one table per Isa. Used by attention.cc only.
//
// A tile has up to tile_rows query rows (position, head) of one KV head. Its queries are packed in
// groups of six: q[row / 6][dim][row % 6]. Scores and outputs are row-major.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/linear.h"

namespace tensor {

inline constexpr int tile_rows = 48;  // 6 query heads x 8 positions: the tile of kernels.md D
inline constexpr int group_rows = 6;  // 6 rows x 16 columns fill the registers of AVX2
inline constexpr int panel_width = 16;
inline constexpr int block_keys = 64;

struct AttentionKernels {
  // scores[row][key] = q[row] . k[key] for the first `keys` of the block (whole panels of 16 are
  // computed; what stands beyond `keys` is undefined). panel: (head_dim, 16) floats of scratch.
  void (*scores)(Dtype dtype, const uint8_t* k_block, const float* q, int rows, int head_dim,
                 int keys, float* panel, float* scores /* (rows, 64) */);
  // One step of the running softmax: scores become weights (0 from visible[row] on), maximum and
  // sum move on, o is scaled to the new maximum. A row that sees nothing stays as it is, with
  // weights 0.
  void (*softmax)(float* scores /* (rows, 64) */, const int* visible, int rows, float* maximum,
                  float* sum, float* o /* (rows, dim_padded) */, int dim_padded);
  // o[row] += sum over the first `keys` of weight[row][key] * v[key], in the order of the keys.
  void (*values)(Dtype dtype, const uint8_t* v_block, const float* weights /* (rows, 64) */,
                 int rows, int dim_padded, int keys, float* panel /* (64, 16) */,
                 float* o /* (rows, dim_padded) */);
  // The same where a value is the beginning of its key: K of a head, (64 / 16, head_dim, 16), is
  // turned into values 16 dims at a time. Beyond value_dim, o holds whatever.
  void (*shared_values)(Dtype dtype, const uint8_t* k_block, const float* weights /* (rows, 64) */,
                        int rows, int head_dim, int dim_padded, int keys, float* panel,
                        float* o /* (rows, dim_padded) */);
  // to[i] = bits of from[i] in f16 (saturated) or bf16.
  void (*narrow)(Dtype dtype, const float* from, uint16_t* to, int n);
};

const AttentionKernels& attention_kernels(Isa isa);
const AttentionKernels& attention_kernels_scalar();
const AttentionKernels& attention_kernels_avx2();
const AttentionKernels& attention_kernels_avx512();

}  // namespace tensor
