// Latent attention (MLA). The cache holds for each position one row that all heads share: the
// latent (C numbers, normed) and the rotated key (R numbers). Two forms that are the same in exact
// arithmetic; which one a row takes follows from its Origin, never from the batch:
//
//   absorbed (sampled ids)    qa = k_up^T q_nope: a query for the latent itself
//                             score = qa latent + q_rope key_rope;  out = v_up (sum of p latent)
//   expanded (prompts)        k = k_up latent, v = v_up latent for every position, span by span
//                             score = q_nope k + q_rope key_rope;   out = sum of p v
//
// Absorbed reads little for a few rows; expanded has a third of the products a row, and pays for
// the expansion once for all rows of a chunk.
#include <algorithm>

#include "model/step.h"
#include "tensor/ops.h"

namespace model {

using tensor::Workspace;

void Step::take_latent() {
  const format::MlaConfig& m = *c_.mla;
  q_stride_ = q_width(c_);
  q_ = workspace_.take<float>(b_.rows * q_stride_);
  latent_ = workspace_.take<float>(int64_t{b_.rows} * (m.kv_lora_rank + m.qk_rope_dim));
  q_latent_ = workspace_.take<float>(int64_t{b_.rows} * m.q_lora_rank);
}

void Step::latent_project(const LatentAttentionWeights& w, int index) {
  const Workspace::Mark mark(workspace_);
  const bool low_rank = c_.mla->q_lora_rank > 0;
  const auto x = quantize(normed_, b_.rows, c_.hidden, {low_rank ? &w.q_a : &w.q, &w.kv_a});
  latent_queries(w, x);
  latent_keys(w, x, index);
}

void Step::latent_queries(const LatentAttentionWeights& w, const tensor::QuantRows& x) {
  const format::MlaConfig& m = *c_.mla;
  if (m.q_lora_rank > 0) {
    const int rank = m.q_lora_rank;
    linear(w.q_a, x, {q_latent_, rank});
    pool_.run(b_.rows, rows_grain, [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; ++r) {
        tensor::rms_norm(isa_, q_latent_ + r * rank, w.q_a_norm, q_latent_ + r * rank, rank,
                         static_cast<float>(m.latent_norm_eps));
      }
    });
    const Workspace::Mark mark(workspace_);
    linear(w.q, quantize(q_latent_, b_.rows, rank, {&w.q}), {q_, q_stride_});
  } else {
    linear(w.q, x, {q_, q_stride_});
  }
  pool_.run(b_.rows, rows_grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      float* q = q_ + r * q_stride_;
      for (int h = 0; h < c_.heads; ++h) rotate(q + h * c_.head_dim + m.qk_nope_dim, nullptr, r);
    }
  });
}

// x is what normed_ was rounded to; normed_ is used up.
void Step::latent_keys(const LatentAttentionWeights& w, const tensor::QuantRows& x, int index) {
  const format::MlaConfig& m = *c_.mla;
  const int width = m.kv_lora_rank + m.qk_rope_dim;
  linear(w.kv_a, x, {latent_, width});
  add_residual_pass(w.kv_a, x, normed_, latent_, width);
  pool_.run(b_.rows, rows_grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      float* latent = latent_ + r * width;
      tensor::rms_norm(isa_, latent, w.kv_a_norm, latent, m.kv_lora_rank,
                       static_cast<float>(m.latent_norm_eps));
      rotate(latent + m.kv_lora_rank, nullptr, r);
      tensor::kv_write(isa_, p_.attention.kv, b_.pages[r] + layer_offset(index),
                       b_.slots[r] % page_tokens, latent, nullptr);
    }
  });
}

void Step::latent_attend(const LatentAttentionWeights& w, std::span<const RowRange> ranges,
                         int index) {
  p_.absorbed.clear();
  int rows = 0;  // of p_.absorbed
  const auto flush = [&] {
    if (rows > 0) absorbed_attend(w, rows, index);
    p_.absorbed.clear();
    rows = 0;
  };
  for (const RowRange& range : ranges) {
    if (range.origin == Origin::prompt) {
      expanded_attend(w, range, index);
      continue;
    }
    for (int done = 0; done < range.count;) {
      RowRange part = range;
      part.first_slot += done;
      part.row += done;
      part.out_row += done;
      part.count = std::min(range.count - done, absorbed_rows_max - rows);
      p_.absorbed.push_back(part);
      rows += part.count;
      done += part.count;
      if (rows == absorbed_rows_max) flush();
    }
  }
  flush();
}

// The rows of p_.absorbed. Head by head their queries go through k_absorb, then all heads attend to
// the one row of keys, then head by head through v_up.
void Step::absorbed_attend(const LatentAttentionWeights& w, int rows, int index) {
  const format::MlaConfig& m = *c_.mla;
  const int heads = c_.heads, nope = m.qk_nope_dim, rank = m.kv_lora_rank;
  const int key = rank + m.qk_rope_dim, out_width = heads_width(c_);
  const Workspace::Mark mark(workspace_);
  float* queries = workspace_.take<float>(int64_t{heads} * rows * nope);  // (heads, rows, nope)
  float* absorbed = workspace_.take<float>(int64_t{rows} * heads * key);  // (rows, heads, key)
  float* context = workspace_.take<float>(int64_t{heads} * rows * rank);  // (heads, rows, rank)
  float* out = workspace_.take<float>(int64_t{rows} * out_width);
  int row = 0;
  p_.attention_rows.clear();
  for (const RowRange& range : p_.absorbed) {
    p_.attention_rows.push_back({range.pages, range.first_slot, range.count,
                                 absorbed + int64_t{row} * heads * key, int64_t{heads} * key,
                                 context + int64_t{row} * rank, rank, int64_t{rows} * rank,
                                 slot_shift_});
    for (int j = 0; j < range.count; ++j, ++row) {
      const float* q = q_ + (range.row + j) * q_stride_;
      for (int h = 0; h < heads; ++h, q += c_.head_dim) {
        std::copy_n(q, nope, queries + (int64_t{h} * rows + row) * nope);
        std::copy_n(q + nope, m.qk_rope_dim, absorbed + (int64_t{row} * heads + h) * key + rank);
      }
    }
  }
  each_head(w.k_absorb, queries, rows, nope, absorbed, key, int64_t{heads} * key);
  tensor::attention(p_.attention, p_.attention_rows, layer_offset(index), isa_,
                    *p_.attention_scratch, pool_);
  each_head(w.v_up, context, rows, rank, out, m.v_dim, out_width);
  row = 0;
  for (const RowRange& range : p_.absorbed) {
    std::copy_n(out + int64_t{row} * out_width, int64_t{range.count} * out_width,
                heads_ + int64_t{range.out_row} * out_width);
    row += range.count;
  }
}

// y of head h = stack[h] x of head h. x: (heads, rows, width); y of a head begins head_step after
// that of the one before, rows are `stride` apart.
void Step::each_head(const MatrixStack& stack, const float* x, int rows, int width, float* y,
                     int64_t head_step, int64_t stride) {
  const Workspace::Mark mark(workspace_);
  const auto heads = static_cast<int>(stack.size());
  const auto rounded = quantize(x, heads * rows, width, {stack.data()});
  p_.jobs.clear();
  for (int h = 0; h < heads; ++h) {
    p_.jobs.push_back({&stack[h], {y + h * head_step, stride}, h * rows, rows});
  }
  tensor::linear_many(p_.jobs, rounded, isa_, pool_);
}

void Step::expanded_attend(const LatentAttentionWeights& w, const RowRange& range, int index) {
  const int end = range.first_slot + range.count;
  const int64_t out_width = heads_width(c_);
  for (int first = 0; first < c_.heads; first += expanded_heads_max) {
    const Workspace::Mark mark(workspace_);
    tensor::AttentionShape shape = p_.expanded;
    shape.heads = shape.kv.kv_heads = std::min(expanded_heads_max, c_.heads - first);
    const int64_t places = int64_t{range.count} * shape.heads;
    const tensor::SpanState state{workspace_.take<float>(places * shape.kv.dim_padded()),
                                  workspace_.take<float>(places), workspace_.take<float>(places)};
    uint8_t* memory = workspace_.take<uint8_t>(tensor::span_blocks * shape.kv.bytes());
    const uint8_t* blocks[tensor::span_blocks];
    for (int i = 0; i < tensor::span_blocks; ++i) blocks[i] = memory + i * shape.kv.bytes();
    const tensor::AttentionRows rows{
        blocks,      range.first_slot,
        range.count, q_ + range.row * q_stride_ + first * c_.head_dim,
        q_stride_,   heads_ + range.out_row * out_width + first * c_.mla->v_dim,
        out_width,   0,
        slot_shift_};
    for (int span = 0; span * tensor::span_keys < end; ++span) {
      expand_span(w, range, index, span, first, shape.kv, memory);
      tensor::attention_span(shape, rows, span, state, isa_, *p_.expanded_scratch, pool_);
    }
    tensor::attention_finish(shape, rows, state, isa_, *p_.expanded_scratch, pool_);
  }
}

// Keys and values of a span for the heads of `layout`, from `first_head` on, into `blocks`.
void Step::expand_span(const LatentAttentionWeights& w, const RowRange& range, int index, int span,
                       int first_head, const tensor::KvBlockLayout& layout, uint8_t* blocks) {
  const format::MlaConfig& m = *c_.mla;
  const int rank = m.kv_lora_rank, rope = m.qk_rope_dim, nope = m.qk_nope_dim;
  const int heads = layout.kv_heads, width = heads * (nope + m.v_dim);
  const int first_key = span * tensor::span_keys;
  const int keys = std::min(range.first_slot + range.count - first_key, tensor::span_keys);
  const Workspace::Mark mark(workspace_);
  float* latents = workspace_.take<float>(int64_t{keys} * rank);
  float* ropes = workspace_.take<float>(int64_t{keys} * rope);
  float* made = workspace_.take<float>(int64_t{keys} * width);  // (keys, heads, nope + v)
  const int count = (keys + page_tokens - 1) / page_tokens;     // blocks
  const auto in_block = [&](int64_t i) {
    return std::min<int>(page_tokens, keys - static_cast<int>(i) * page_tokens);
  };
  pool_.run(count, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const uint8_t* page = range.pages[first_key / page_tokens + i] + layer_offset(index);
      const int64_t key = i * page_tokens;
      tensor::kv_read_keys(p_.attention.kv, page, in_block(i), {0, rank}, latents + key * rank);
      tensor::kv_read_keys(p_.attention.kv, page, in_block(i), {rank, rope}, ropes + key * rope);
    }
  });
  const auto x = quantize(latents, keys, rank, {w.k_up.data(), w.v_up.data()});
  p_.jobs.clear();
  for (int h = 0; h < heads; ++h) {
    float* y = made + h * (nope + m.v_dim);
    p_.jobs.push_back({&w.k_up[first_head + h], {y, width}});
    p_.jobs.push_back({&w.v_up[first_head + h], {y + nope, width}});
  }
  tensor::linear_many(p_.jobs, x, isa_, pool_);
  pool_.run(int64_t{count} * heads, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t block = i / heads, key = block * page_tokens;
      const auto h = static_cast<int>(i % heads);
      uint8_t* to = blocks + block * layout.bytes();
      const float* y = made + key * width + h * (nope + m.v_dim);
      const int some = in_block(block);
      tensor::kv_fill_keys(isa_, layout, to, h, {0, nope}, some, y, width);
      tensor::kv_fill_keys(isa_, layout, to, h, {nope, rope}, some, ropes + key * rope, rope);
      tensor::kv_fill_values(isa_, layout, to, h, some, y + nope, width);
    }
  });
}

}  // namespace model
