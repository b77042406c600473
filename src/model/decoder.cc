#include "model/decoder.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "base/check.h"
#include "tensor/activations.h"
#include "tensor/ops.h"
#include "tensor/residual.h"

namespace model {
namespace {

using base::ErrorKind;
using base::Result;
using tensor::Dtype;
using tensor::Workspace;

// Rows of a step that one thread takes at a time for the small operations.
constexpr int rows_grain = 4;

int q_width(const Config& c) { return c.heads * c.head_dim; }
int kv_width(const Config& c) { return c.kv_heads * c.head_dim; }

KvLayout layout_of(const Config& c, const RunnerOptions& options) {
  const bool exact = options.precision == tensor::Precision::exact;
  const Dtype dtype = options.kv_dtype.value_or(exact ? Dtype::f32 : Dtype::f16);
  const tensor::KvBlockLayout block{dtype, dtype, c.kv_heads, c.head_dim};
  return {dtype, dtype, c.layers, kv_width(c), c.kv_heads * block.dim_padded()};
}

tensor::AttentionShape attention_shape(const Config& c, const KvLayout& kv) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim));
  return {{kv.k, kv.v, c.kv_heads, c.head_dim}, c.heads, scale};
}

int context_of(const Config& c, const RunnerOptions& options) {
  return options.context_tokens_max > 0 ? options.context_tokens_max : c.context_tokens_max;
}

// Everything that Step takes for a batch of `rows`, an upper bound.
uint64_t step_bytes(const Config& c, int rows) {
  const uint64_t widest = std::max({c.hidden, q_width(c), c.ffn});
  const uint64_t floats =
      uint64_t{4} * c.hidden + 2 * q_width(c) + 2 * kv_width(c) + c.ffn + 2 * c.head_dim;
  // Rounded activations; two sets at once for the values.
  const uint64_t rounded = tensor::quant_rows_bytes(rows, static_cast<int>(widest)) +
                           tensor::quant_rows_bytes(rows, c.hidden);
  constexpr uint64_t per_row = sizeof(tensor::AttentionRows) + 64;
  return rows * (4 * floats + per_row) + rounded + (256 << 10);
}

Result<void> check_options(const Config& c, const RunnerOptions& options) {
  CHECK(options.pool != nullptr, "a runner borrows the program's threads");
  CHECK(options.kv_pages > 0 && options.batch_tokens_max > 0, "limits are positive");
  if (c.head_dim > head_dim_max || c.head_dim % 2 != 0) {
    return base::fail(ErrorKind::unsupported,
                      fmt::format("the model's heads have {} dimensions", c.head_dim),
                      fmt::format("an even number up to {} is supported", head_dim_max));
  }
  return {};
}

}  // namespace

Result<MemoryPlan> Decoder::plan(const format::ModelFiles& files, const RunnerOptions& options) {
  ASSIGN(const Config config, files.config());
  TRY(check_options(config, options));
  MemoryPlan plan;
  ASSIGN(plan.weight_bytes, weight_bytes(files, config));
  const KvLayout kv = layout_of(config, options);
  plan.kv_bytes = PagedKv::bytes(kv, options.kv_pages);
  plan.workspace_bytes =
      step_bytes(config, options.batch_tokens_max) +
      tensor::AttentionScratch::bytes(attention_shape(config, kv), options.pool->threads(),
                                      context_of(config, options));
  return plan;
}

Result<std::unique_ptr<Decoder>> Decoder::load(const format::ModelFiles& files,
                                               const RunnerOptions& options) {
  ASSIGN(const MemoryPlan memory, plan(files, options));
  const uint64_t available =
      options.memory_bytes_max > 0 ? options.memory_bytes_max : available_memory_bytes();
  if (available > 0) TRY(check_memory(memory, available));

  std::unique_ptr<Decoder> decoder(new Decoder);
  Decoder& d = *decoder;
  ASSIGN(d.config_, files.config());
  const Config& c = d.config_;
  d.options_ = options;
  d.rope_ = make_rope(c);
  d.kv_layout_ = layout_of(c, options);
  d.attention_ = attention_shape(c, d.kv_layout_);
  ASSIGN(d.kv_, PagedKv::create(d.kv_layout_, options.kv_pages));
  ASSIGN(d.workspace_, Workspace::create(step_bytes(c, options.batch_tokens_max)));
  d.attention_scratch_.emplace(d.attention_, options.pool->threads(), context_of(c, options));
  ASSIGN(d.weights_, load_weights(files, c, options.load, *options.pool));
  d.options_.load = {};
  d.info_ = {c.architecture,      c.vocab,     c.context_tokens_max, c.layers,
             memory.weight_bytes, c.parameters};
  return decoder;
}

Result<std::unique_ptr<ModelRunner>> make_runner(const format::ModelFiles& files,
                                                 const RunnerOptions& options) {
  ASSIGN(std::unique_ptr<Decoder> decoder, Decoder::load(files, options));
  return std::unique_ptr<ModelRunner>(std::move(decoder));
}

// What a step knows of its rows; memory of the workspace.
struct Decoder::Batch {
  int rows = 0;
  int32_t* ids = nullptr;                      // (rows)
  uint8_t** pages = nullptr;                   // (rows) the page that the row's keys go to
  int* positions = nullptr;                    // (rows)
  float* cosine = nullptr;                     // (rows, head_dim / 2)
  float* sine = nullptr;                       // (rows, head_dim / 2)
  tensor::AttentionRows* attention = nullptr;  // (segments)
  int segments = 0;
  // The rows that go on after the last layer's keys and values: those that want logits.
  int kept = 0;
  int* kept_rows = nullptr;                         // (kept) indices into the rows
  tensor::AttentionRows* kept_attention = nullptr;  // (kept_segments)
  int kept_segments = 0;
};

class Decoder::Step {
 public:
  explicit Step(Decoder& decoder)
      : d_(decoder),
        c_(decoder.config_),
        isa_(decoder.options_.isa),
        pool_(*decoder.options_.pool),
        workspace_(*decoder.workspace_) {}

  void run(std::span<Segment> segments, Logits& logits) {
    const Workspace::Mark mark(workspace_);
    begin(segments);
    embed();
    tap(-1);
    for (int i = 0; i < c_.layers; ++i) {
      layer(i);
      tap(i);
    }
    head(logits);
    for (Segment& s : segments) s.kv->length += static_cast<int>(s.ids.size());
  }

 private:
  void begin(std::span<Segment> segments) {
    for (const Segment& s : segments) b_.rows += static_cast<int>(s.ids.size());
    const int n = b_.rows, half = c_.head_dim / 2;
    b_.segments = static_cast<int>(segments.size());
    b_.ids = workspace_.take<int32_t>(n);
    b_.pages = workspace_.take<uint8_t*>(n);
    b_.positions = workspace_.take<int>(n);
    b_.cosine = workspace_.take<float>(int64_t{n} * half);
    b_.sine = workspace_.take<float>(int64_t{n} * half);
    b_.attention = workspace_.take<tensor::AttentionRows>(b_.segments);
    b_.kept_attention = workspace_.take<tensor::AttentionRows>(b_.segments);
    b_.kept_rows = workspace_.take<int>(n);
    x_ = workspace_.take<float>(int64_t{n} * c_.hidden);
    normed_ = workspace_.take<float>(int64_t{n} * c_.hidden);
    qkv_stride_ = q_width(c_) + 2 * kv_width(c_);
    qkv_ = workspace_.take<float>(int64_t{n} * qkv_stride_);
    heads_ = workspace_.take<float>(int64_t{n} * q_width(c_));
    ffn_ = workspace_.take<float>(int64_t{n} * c_.ffn);
    describe(segments);
    pool_.run(n, rows_grain, [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; ++r) {
        d_.rope_.angles(b_.positions[r], b_.cosine + r * half, b_.sine + r * half);
      }
    });
  }

  void describe(std::span<Segment> segments) {
    std::vector<const uint8_t*>& pages = d_.pages_;
    pages.clear();
    size_t pages_total = 0;
    for (const Segment& s : segments) pages_total += s.kv->pages.size();
    pages.reserve(pages_total);  // the addresses of its elements are kept below
    int row = 0;
    for (size_t i = 0; i < segments.size(); ++i) {
      const Segment& s = segments[i];
      const int count = static_cast<int>(s.ids.size());
      const uint8_t* const* first_page = pages.data() + pages.size();
      for (const PageId page : s.kv->pages) pages.push_back(d_.kv_->data(page));
      b_.attention[i] = {first_page,  s.kv->length,
                         count,       qkv_ + int64_t{row} * qkv_stride_,
                         qkv_stride_, heads_ + int64_t{row} * q_width(c_),
                         q_width(c_)};
      keep(s, b_.attention[i], row);
      for (int j = 0; j < count; ++j, ++row) {
        b_.ids[row] = s.ids[j];
        b_.positions[row] = s.kv->length + j;
        b_.pages[row] = d_.kv_->data(s.kv->pages[b_.positions[row] / page_tokens]);
      }
    }
  }

  // Notes which rows of a segment that begins at `row` are wanted after the last layer.
  void keep(const Segment& s, tensor::AttentionRows rows, int row) {
    const int count = static_cast<int>(s.ids.size());
    if (!d_.tap_ && s.want == Head::none) return;
    const int skipped = d_.tap_ || s.all_rows ? 0 : count - 1;
    rows.first_position += skipped;
    rows.count -= skipped;
    rows.q += skipped * qkv_stride_;
    rows.out = heads_ + int64_t{b_.kept} * q_width(c_);
    b_.kept_attention[b_.kept_segments++] = rows;
    for (int j = skipped; j < count; ++j) b_.kept_rows[b_.kept++] = row + j;
  }

  void embed() {
    const Weights& w = d_.weights_;
    const int64_t row_bytes =
        w.embedding_rows ? tensor::row_bytes(w.embedding_dtype, c_.hidden) : 0;
    pool_.run(b_.rows, rows_grain, [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; ++r) {
        float* to = x_ + r * c_.hidden;
        if (w.embedding_rows) {
          tensor::decode_row(w.embedding_dtype, w.embedding_rows + b_.ids[r] * row_bytes, to,
                             c_.hidden);
        } else {
          tensor::decode_packed_row(w.head, b_.ids[r], to);
        }
      }
    });
  }

  // normed_ = norm of the first `rows` rows of x_.
  void norm(const float* weight, int rows) {
    pool_.run(rows, rows_grain, [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; ++r) {
        tensor::rms_norm(isa_, x_ + r * c_.hidden, weight, normed_ + r * c_.hidden, c_.hidden,
                         static_cast<float>(c_.rms_eps));
      }
    });
  }

  tensor::QuantRows quantize(const float* x, int rows, int width,
                             std::initializer_list<const tensor::PackedMatrix*> matrices) {
    return tensor::quantize_rows(x, rows, width, {matrices.begin(), matrices.size()},
                                 d_.options_.precision, isa_, workspace_, pool_);
  }

  void layer(int index) {
    const LayerWeights& w = d_.weights_.layers[index];
    const int64_t layer_offset = index * d_.attention_.kv.bytes();
    query_key_value(w);
    rotate_and_store(w, layer_offset);
    const bool last = index == c_.layers - 1;
    const int rows = last ? b_.kept : b_.rows;
    if (rows == 0) return;
    attend(last, layer_offset);
    {
      const Workspace::Mark mark(workspace_);
      const auto heads = quantize(heads_, rows, q_width(c_), {&w.o});
      tensor::linear(w.o, heads, {x_, c_.hidden, nullptr, true}, isa_, pool_);
    }
    feed_forward(w, rows);
  }

  void query_key_value(const LayerWeights& w) {
    const Workspace::Mark mark(workspace_);
    norm(w.attention_norm, b_.rows);
    const auto x = quantize(normed_, b_.rows, c_.hidden, {&w.q, &w.k, &w.v});
    float* k = qkv_ + q_width(c_);
    float* v = k + kv_width(c_);
    const tensor::LinearJob jobs[] = {{&w.q, {qkv_, qkv_stride_, w.q_bias}},
                                      {&w.k, {k, qkv_stride_, w.k_bias}},
                                      {&w.v, {v, qkv_stride_, w.v_bias}}};
    tensor::linear_many(jobs, x, isa_, pool_);
    if (d_.options_.precision == tensor::Precision::exact ||
        !tensor::rounds_activations(w.v.dtype)) {
      return;
    }
    // The values get a second pass for what rounding left out: 1 to 3 % of the arithmetic, and a
    // fifth of the divergence from f32 activations is gone (starter: mean KL 2.65e-3 -> 2.18e-3).
    tensor::rounding_residual(x, w.v.dtype, normed_, pool_);
    const auto rest = quantize(normed_, b_.rows, c_.hidden, {&w.v});
    tensor::linear(w.v, rest, {v, qkv_stride_, nullptr, true}, isa_, pool_);
  }

  void rotate_and_store(const LayerWeights& w, int64_t layer_offset) {
    pool_.run(b_.rows, rows_grain, [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; ++r) {
        float* q = qkv_ + r * qkv_stride_;
        float* k = q + q_width(c_);
        for (int h = 0; h < c_.heads; ++h) rotate(q + h * c_.head_dim, w.q_norm, r);
        for (int h = 0; h < c_.kv_heads; ++h) rotate(k + h * c_.head_dim, w.k_norm, r);
        tensor::kv_write(isa_, d_.attention_.kv, b_.pages[r] + layer_offset,
                         b_.positions[r] % page_tokens, k, k + kv_width(c_));
      }
    });
  }

  void rotate(float* head, const float* norm_weight, int64_t row) const {
    const int half = c_.head_dim / 2;
    if (norm_weight) {
      tensor::rms_norm(isa_, head, norm_weight, head, c_.head_dim, static_cast<float>(c_.rms_eps));
    }
    const float* cosine = b_.cosine + row * half;
    const float* sine = b_.sine + row * half;
    if (c_.rope_layout == format::RopeLayout::half_split) {
      tensor::rope_half_split(isa_, head, cosine, sine, c_.head_dim);
    } else {
      tensor::rope_adjacent(isa_, head, cosine, sine, c_.head_dim);
    }
  }

  // Rows that want no logits are dropped here in the last layer: only their keys and values count.
  void attend(bool last, int64_t layer_offset) {
    const std::span<const tensor::AttentionRows> rows =
        last ? std::span<const tensor::AttentionRows>(b_.kept_attention, b_.kept_segments)
             : std::span<const tensor::AttentionRows>(b_.attention, b_.segments);
    tensor::attention(d_.attention_, rows, layer_offset, isa_, *d_.attention_scratch_, pool_);
    if (!last) return;
    for (int i = 0; i < b_.kept; ++i) {  // kept_rows[i] >= i: nothing is overwritten too early
      if (b_.kept_rows[i] == i) continue;
      std::copy_n(x_ + int64_t{b_.kept_rows[i]} * c_.hidden, c_.hidden,
                  x_ + int64_t{i} * c_.hidden);
    }
  }

  void feed_forward(const LayerWeights& w, int rows) {
    norm(w.ffn_norm, rows);
    {
      const Workspace::Mark mark(workspace_);
      const auto x = quantize(normed_, rows, c_.hidden, {&w.gate, &w.up});
      tensor::gate_up_silu(w.gate, w.up, x, ffn_, c_.ffn, isa_, pool_);
    }
    const Workspace::Mark mark(workspace_);
    const auto x = quantize(ffn_, rows, c_.ffn, {&w.down});
    tensor::linear(w.down, x, {x_, c_.hidden, nullptr, true}, isa_, pool_);
  }

  void head(Logits& logits) {
    logits.vocab = c_.vocab;
    const int rows = b_.kept;
    logits.values.resize(int64_t{rows} * c_.vocab);
    if (rows == 0) return;
    norm(d_.weights_.final_norm, rows);
    const Workspace::Mark mark(workspace_);
    const auto x = quantize(normed_, rows, c_.hidden, {&d_.weights_.head});
    tensor::linear(d_.weights_.head, x, {logits.values.data(), c_.vocab}, isa_, pool_);
  }

  void tap(int layer) const {
    if (d_.tap_) d_.tap_(layer, x_, b_.rows);
  }

  Decoder& d_;
  const Config& c_;
  const tensor::Isa isa_;
  base::Pool& pool_;
  Workspace& workspace_;
  Batch b_;
  float* x_ = nullptr;       // (rows, hidden) residual stream
  float* normed_ = nullptr;  // (rows, hidden)
  float* qkv_ = nullptr;     // (rows, qkv_stride)
  float* heads_ = nullptr;   // (rows, heads * head_dim) attention's output
  float* ffn_ = nullptr;     // (rows, ffn)
  int64_t qkv_stride_ = 0;
};

Result<void> Decoder::check(std::span<const Segment> segments) const {
  int64_t rows = 0;
  for (const Segment& s : segments) {
    rows += static_cast<int64_t>(s.ids.size());
    const int64_t end = s.kv->length + static_cast<int64_t>(s.ids.size());
    CHECK(!s.ids.empty(), "the scheduler plans no empty segment");
    CHECK(end <= static_cast<int64_t>(s.kv->pages.size()) * page_tokens,
          "the scheduler took the pages before it planned the step");
    for (const int32_t id : s.ids) {
      if (id >= 0 && id < config_.vocab) continue;
      return base::fail(ErrorKind::invalid_input, fmt::format("token id {} does not exist", id),
                        fmt::format("the model has ids 0 to {}", config_.vocab - 1));
    }
  }
  CHECK(rows <= options_.batch_tokens_max, "the scheduler knows the largest batch");
  return {};
}

Result<void> Decoder::forward(std::span<Segment> segments, Logits& logits) {
  TRY(check(segments));
  Step(*this).run(segments, logits);
  return {};
}

}  // namespace model
