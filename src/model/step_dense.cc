// Attention with keys and values for each KV head (Llama, Qwen, DeepSeek v1).
#include "model/step.h"
#include "tensor/ops.h"

namespace model {

using tensor::Workspace;

namespace {
int kv_width(const Config& c) { return c.kv_heads * c.head_dim; }
}  // namespace

void Step::take_dense() {
  q_stride_ = q_width(c_) + 2 * kv_width(c_);
  q_ = workspace_.take<float>(int64_t{b_.rows} * q_stride_);
}

void Step::dense_project(const DenseAttentionWeights& w, int index) {
  {
    const Workspace::Mark mark(workspace_);
    const auto x = quantize(normed_, b_.rows, c_.hidden, {&w.q, &w.k, &w.v});
    float* k = q_ + q_width(c_);
    float* v = k + kv_width(c_);
    const tensor::LinearJob jobs[] = {{&w.q, {q_, q_stride_, w.q_bias}},
                                      {&w.k, {k, q_stride_, w.k_bias}},
                                      {&w.v, {v, q_stride_, w.v_bias}}};
    tensor::linear_many(jobs, x, isa_, pool_);
    add_residual_pass(w.v, x, normed_, v, q_stride_);
  }
  pool_.run(b_.rows, rows_grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      float* q = q_ + r * q_stride_;
      float* k = q + q_width(c_);
      for (int h = 0; h < c_.heads; ++h) rotate(q + h * c_.head_dim, w.q_norm, r);
      for (int h = 0; h < c_.kv_heads; ++h) rotate(k + h * c_.head_dim, w.k_norm, r);
      tensor::kv_write(isa_, p_.attention.kv, b_.pages[r] + layer_offset(index),
                       b_.slots[r] % page_tokens, k, k + kv_width(c_));
    }
  });
}

void Step::rotate(float* head, const float* norm_weight, int64_t row) const {
  const int dims = rotary_dims(c_);
  if (norm_weight) {
    tensor::rms_norm(isa_, head, norm_weight, head, dims, static_cast<float>(c_.rms_eps));
  }
  const float* cosine = b_.cosine + row * (dims / 2);
  const float* sine = b_.sine + row * (dims / 2);
  if (c_.rope_layout == format::RopeLayout::half_split) {
    tensor::rope_half_split(isa_, head, cosine, sine, dims);
  } else {
    tensor::rope_adjacent(isa_, head, cosine, sine, dims);
  }
}

void Step::dense_attend(std::span<const RowRange> ranges, int index) {
  p_.attention_rows.clear();
  for (const RowRange& range : ranges) {
    p_.attention_rows.push_back(
        {range.pages, range.first_slot, range.count, q_ + range.row * q_stride_, q_stride_,
         heads_ + int64_t{range.out_row} * heads_width(c_), heads_width(c_)});
  }
  tensor::attention(p_.attention, p_.attention_rows, layer_offset(index), isa_,
                    *p_.attention_scratch, pool_);
}

}  // namespace model
