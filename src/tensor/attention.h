// Causal attention over a paged key/value cache, for groups of query heads that share a KV head.
//
// The keys of a sequence lie in blocks of 64 positions, counted from position 0. A block of one
// layer holds, for each KV head, its keys and then, for each KV head, its values:
//   K of a head: [64 / 16][head_dim][16 keys]          values of Dtype k
//   V of a head: [dim_padded / 16][64 keys][16 dims]   values of Dtype v, dims padded with zeros
// so that 16 neighbouring numbers are what one step of the inner loops reads. Latent attention
// (MLA) stores a key only: its first value_dim numbers are the value too (`shared`).
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
  int value_dim = 0;    // of a value; 0: head_dim
  bool shared = false;  // no values of their own; value_dim <= head_dim

  int dim() const { return value_dim > 0 ? value_dim : head_dim; }
  int dim_padded() const { return (dim() + 15) / 16 * 16; }
  int64_t k_head_bytes() const;
  int64_t v_head_bytes() const;
  int64_t bytes() const { return kv_heads * (k_head_bytes() + v_head_bytes()); }
};

// Writes one position's keys (kv_heads, head_dim) and values (kv_heads, value_dim) into `slot`
// (0..63) of a layer's block; v is not read if the layout is shared. f16 saturates at its largest
// number instead of becoming infinite.
void kv_write(Isa isa, const KvBlockLayout& layout, uint8_t* block, int slot, const float* k,
              const float* v);

// Dimensions [first, first + count) of a head's key.
struct KeyDims {
  int first, count;
};
// Of the keys in slots 0 .. slots - 1 of the first KV head, as f32.
void kv_read_keys(const KvBlockLayout& layout, const uint8_t* block, int slots, KeyDims dims,
                  float* k /* (slots, dims.count) */);
// Whole blocks at once, for one KV head: slots 0 .. slots - 1, rows of `stride` floats.
void kv_fill_keys(Isa isa, const KvBlockLayout& layout, uint8_t* block, int head, KeyDims dims,
                  int slots, const float* k /* (slots, dims.count) */, int64_t stride);
void kv_fill_values(Isa isa, const KvBlockLayout& layout, uint8_t* block, int head, int slots,
                    const float* v /* (slots, value_dim) */, int64_t stride);

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
  float* out;        // (count, heads, value_dim)
  int64_t out_stride;
  int64_t out_head_stride = 0;  // floats from one head to the next; 0: value_dim
  int first_key = 0;            // 0..63: keys before it are not seen
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

// The same for keys and values that are made span by span and not kept: for each span in order,
// from 0, the caller fills blocks with the span's keys and adds what the rows see of it.
inline constexpr int span_blocks = 8;
inline constexpr int span_keys = span_blocks * kv_block_keys;

struct SpanState {
  float* o;        // (count, heads, dim_padded)
  float* maximum;  // (count, heads)
  float* sum;      // (count, heads)
};
// rows.blocks: the span's blocks, those with keys that a row sees.
void attention_span(const AttentionShape& shape, const AttentionRows& rows, int span,
                    const SpanState& state, Isa isa, AttentionScratch& scratch, base::Pool& pool);
// After the last span: state -> rows.out.
void attention_finish(const AttentionShape& shape, const AttentionRows& rows,
                      const SpanState& state, Isa isa, AttentionScratch& scratch, base::Pool& pool);

}  // namespace tensor
