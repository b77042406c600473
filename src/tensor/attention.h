// Causal attention over a paged key/value cache, for groups of query heads that share a KV head.
//
// The keys of a sequence lie in blocks of 64 positions, counted from position 0. A block of one
// layer holds, for each KV head, its keys and then, for each KV head, its values:
//   K of a head: [64 / 16][head_dim][16 keys]          values of Dtype k
//   V of a head: [dim_padded / 16][64 keys][16 dims]   values of Dtype v, dims padded with zeros
// so that 16 neighbouring numbers are what one step of the inner loops reads.
//
// Order of a row's sums, whatever the batch, chunking or threads: softmax runs through the blocks
// of a span (8 blocks, 512 keys) with a running maximum; the spans' results are merged by index.
//
//   keys   0........511 512.......1023 1024...1100
//   span   |    0     | |     1      | |   2   |    each: maximum m, sum l, output o
//   merge  ((span 0) + span 1) + span 2, then o / l
//
// A span is what threads share out when there are few rows (decode).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/pool.h"
#include "tensor/dtype.h"
#include "tensor/linear.h"

namespace tensor {

inline constexpr int kv_block_keys = 64;

// One layer's part of a block. dtypes: f32, f16 or bf16.
struct KvBlockLayout {
  Dtype k = Dtype::f16;
  Dtype v = Dtype::f16;
  int kv_heads = 0;
  int head_dim = 0;

  int dim_padded() const { return (head_dim + 15) / 16 * 16; }
  int64_t k_head_bytes() const;
  int64_t v_head_bytes() const;
  int64_t bytes() const { return kv_heads * (k_head_bytes() + v_head_bytes()); }
};

// Writes one position's keys and values, (kv_heads * head_dim) each, into `slot` (0..63) of a
// layer's block. f16 saturates at its largest number instead of becoming infinite.
void kv_write(Isa isa, const KvBlockLayout& layout, uint8_t* block, int slot, const float* k,
              const float* v);

struct AttentionShape {
  KvBlockLayout kv;
  int heads = 0;    // a multiple of kv_heads
  float scale = 0;  // on q * k, head_dim^-0.5 as a rule
};

// The queries of one sequence: positions first_position .. first_position + count - 1, each seeing
// the keys up to and with its own position, which have been written.
struct AttentionRows {
  const uint8_t* const* blocks;  // (first_position + count, rounded up to whole blocks)
  int first_position;
  int count;
  const float* q;    // (count, heads, head_dim), rotated
  int64_t q_stride;  // floats from one position to the next
  float* out;        // (count, heads, head_dim)
  int64_t out_stride;
};

// The memory that attention() works in, allocated once for a shape and a number of threads.
class AttentionScratch {
 public:
  AttentionScratch(const AttentionShape& shape, int threads, int context_tokens_max);
  ~AttentionScratch();
  AttentionScratch(AttentionScratch&&) noexcept;
  static uint64_t bytes(const AttentionShape& shape, int threads, int context_tokens_max);

 private:
  friend class AttentionRun;
  struct Memory;
  std::unique_ptr<Memory> memory_;
};

// `layer_offset`: bytes from a block's start (AttentionRows::blocks) to this layer's part.
void attention(const AttentionShape& shape, std::span<const AttentionRows> rows,
               int64_t layer_offset, Isa isa, AttentionScratch& scratch, base::Pool& pool);

}  // namespace tensor
