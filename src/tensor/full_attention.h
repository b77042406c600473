// Attention in which every position sees every other: the blocks of a vision tower (many heads) and
// of the VQ decoder (one). In f32, or where an Isa has tiles with the factors of products rounded
// to bf16; a row's sums are in one order whatever the threads.
#pragma once

#include <cstdint>

#include "base/pool.h"
#include "tensor/dense.h"
#include "tensor/linear.h"

namespace tensor {

struct FullAttention {
  int heads = 0, head_dim = 0, tokens = 0;
  float scale = 0;           // on q * k, above 0
  const float* q = nullptr;  // (tokens, heads, head_dim), like k and v: `stride` floats from one
  const float* k = nullptr;  // token to the next
  const float* v = nullptr;
  int64_t stride = 0;
  float* out = nullptr;  // (tokens, heads, head_dim), out_stride from one token to the next
  int64_t out_stride = 0;

  // On tiles: rows in place of the above, and head_dim a multiple of tile_depth.
  bool tiles = false;
  const DenseRows* qkv_rows = nullptr;  // (tokens, 3 heads head_dim): q, k, v
  const DenseRows* out_rows = nullptr;  // (tokens, heads head_dim); not the memory of qkv_rows

  // The work, in pieces of 48 queries of one head.
  int pieces() const;
  uint64_t piece_operations() const;  // multiplications of one of them, at most
};

// Memory for the keys and values as the products need them, and for the threads. 64-byte aligned.
uint64_t full_attention_bytes(const FullAttention& shape, int threads);
void full_attention_pack(const FullAttention& x, uint8_t* memory, Isa isa, base::Pool& pool);
// Pieces first .. first + count - 1, after packing.
void full_attention(const FullAttention& x, uint8_t* memory, int first, int count, Isa isa,
                    base::Pool& pool);

}  // namespace tensor
