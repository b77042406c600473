// What a decoder takes, from its configuration.
#include <algorithm>
#include <cmath>

#include "model/parts.h"
#include "model/routing.h"
#include "tensor/linear.h"

namespace model {
namespace {

using tensor::Dtype;

// Every array of the workspace begins at a multiple of 64 bytes; a step takes fewer than this many.
constexpr uint64_t arrays_slack_bytes = 256 << 10;

Dtype kv_dtype(const RunnerOptions& options) {
  const bool exact = options.precision == tensor::Precision::exact;
  return options.kv_dtype.value_or(exact ? Dtype::f32 : Dtype::f16);
}

tensor::KvBlockLayout block_layout(const Config& c, Dtype k, Dtype v) {
  if (!c.mla) return {k, v, c.kv_heads, c.head_dim};
  const int rank = c.mla->kv_lora_rank;
  return {k, v, 1, rank + c.mla->qk_rope_dim, rank, true};
}

// Sizes in floats are counted in 64 bits: counts come from files.
struct Widths {
  uint64_t hidden, q, kv, heads, ffn;
  explicit Widths(const Config& c)
      : hidden(c.hidden),
        q(q_width(c)),
        kv(c.mla ? c.mla->kv_lora_rank + c.mla->qk_rope_dim + c.mla->q_lora_rank
                 : 2 * c.kv_heads * c.head_dim),
        heads(heads_width(c)),
        ffn(ffn_width(c)) {}
};

uint64_t quantized(uint64_t rows, uint64_t width) {
  return tensor::quant_rows_bytes(static_cast<int>(rows), static_cast<int>(width));
}

uint64_t latent_bytes(const Config& c, const RunnerOptions& options, uint64_t rows) {
  const format::MlaConfig& m = *c.mla;
  const uint64_t heads = c.heads, rank = m.kv_lora_rank, rope = m.qk_rope_dim;
  const uint64_t nope = m.qk_nope_dim, value = m.v_dim;
  const uint64_t some = std::min<uint64_t>(rows, absorbed_rows_max);
  const uint64_t absorbed = 4 * some * heads * (nope + 2 * rank + rope + value) +
                            quantized(some * heads, std::max(rank, nope));
  const uint64_t group = std::min<uint64_t>(heads, expanded_heads_max);
  const tensor::KvBlockLayout layout = expanded_shape(c, layout_of(c, options)).kv;
  const uint64_t state = 4 * rows * group * (layout.dim_padded() + 2);
  const uint64_t span = tensor::span_blocks * layout.bytes() +
                        4 * tensor::span_keys * (rank + rope + group * (nope + value)) +
                        quantized(tensor::span_keys, rank);
  return std::max(absorbed, state + span);
}

uint64_t expert_bytes(const Config& c, uint64_t rows) {
  const format::MoeConfig& m = *c.moe;
  const uint64_t places = rows * m.experts_used, hidden = c.hidden, width = m.expert_ffn;
  const uint64_t routing = places * (sizeof(Route) + 4) + 4 * (3 * m.experts + 1);
  const uint64_t scores = 4 * rows * m.experts + quantized(rows, hidden);
  const uint64_t inside =
      4 * places * (hidden + width) + quantized(places, std::max(hidden, width));
  return routing + std::max(scores, inside);
}

// Of image codes: what the aligner reads and writes, and what stands between the maps of the head.
uint64_t codes_bytes(const Config& c, uint64_t rows) {
  const format::JanusDrawing& d = c.janus->drawing;
  const uint64_t hidden = c.hidden, width = d.code_width, inside = d.head_width;
  const uint64_t read = 4 * rows * (width + 2 * hidden) + quantized(rows, std::max(width, hidden));
  const uint64_t write = 4 * rows * inside + quantized(rows, std::max(hidden, inside));
  return std::max(read, write);
}

}  // namespace

int q_width(const Config& c) { return c.heads * c.head_dim; }
int heads_width(const Config& c) { return c.heads * (c.mla ? c.mla->v_dim : c.head_dim); }
int ffn_width(const Config& c) { return std::max(c.ffn, c.moe ? c.moe->shared_ffn : 0); }

bool runs_mtp(const Config& config, const RunnerOptions& options) {
  return options.mtp && config.mla && config.mtp_layers > 0;
}

KvLayout layout_of(const Config& c, const RunnerOptions& options) {
  const Dtype dtype = kv_dtype(options);
  const tensor::KvBlockLayout block = block_layout(c, dtype, dtype);
  const bool mtp = runs_mtp(c, options);
  return {dtype,
          dtype,
          c.layers + (mtp ? 1 : 0),
          block.kv_heads * block.head_dim,
          block.shared ? 0 : block.kv_heads * block.dim_padded(),
          mtp ? c.hidden : 0};
}

tensor::AttentionShape attention_shape(const Config& c, const KvLayout& kv) {
  const double scale =
      c.mla ? c.mla->softmax_scale : 1 / std::sqrt(static_cast<double>(c.head_dim));
  return {block_layout(c, kv.k, kv.v), c.heads, static_cast<float>(scale)};
}

tensor::AttentionShape expanded_shape(const Config& c, const KvLayout& kv) {
  const int heads = std::min(c.heads, expanded_heads_max);
  return {{kv.k, kv.v, heads, c.head_dim, c.mla->v_dim},
          heads,
          static_cast<float>(c.mla->softmax_scale)};
}

uint64_t step_bytes(const Config& c, const RunnerOptions& options, int rows) {
  const Widths w(c);
  const uint64_t n = rows;
  const bool mtp = runs_mtp(c, options);
  // Rounded activations of the widest input, two sets at once for values and latents.
  const uint64_t widest = std::max({w.hidden, w.heads, w.ffn, w.kv});
  uint64_t rounded = quantized(n, widest) + quantized(n, w.hidden);
  if (c.mla) rounded = std::max(rounded, latent_bytes(c, options, n));
  if (c.moe) rounded = std::max(rounded, expert_bytes(c, n));
  if (c.janus) rounded = std::max(rounded, codes_bytes(c, n));
  if (mtp) rounded = std::max(rounded, 8 * n * w.hidden + quantized(n, 2 * w.hidden));
  const uint64_t floats = (mtp ? 3 : 2) * w.hidden + w.q + w.kv + w.heads + w.ffn + rotary_dims(c);
  constexpr uint64_t per_row = 2 * sizeof(RowRange) + 64;
  return n * (4 * floats + per_row) + rounded + arrays_slack_bytes;
}

}  // namespace model
