#include "model/step.h"

#include <algorithm>

#include "base/check.h"
#include "tensor/ops.h"
#include "tensor/residual.h"

namespace model {

using tensor::Workspace;

Step::Step(Parts& parts)
    : p_(parts),
      c_(parts.config),
      isa_(parts.options.isa),
      pool_(*parts.options.pool),
      workspace_(*parts.workspace) {}

base::Result<void> Step::run(std::span<Segment> segments, Logits& logits) {
  const Workspace::Mark outer(workspace_);
  int rows = 0;
  for (const Segment& s : segments) rows += static_cast<int>(s.ids.size());
  float* states = p_.info.mtp ? workspace_.take<float>(int64_t{rows} * c_.hidden) : nullptr;
  {
    const Workspace::Mark mark(workspace_);
    begin(segments, Head::text, 0);
    read_inputs(segments);
    tap(-1);
    for (int i = 0; i < c_.layers; ++i) {
      // Every row of the last layer is computed where somebody looks at it.
      TRY(layer(p_.weights.layers[i], i, i == c_.layers - 1 && !p_.info.mtp));
      tap(i);
    }
    if (states) {
      norm(x_, p_.weights.final_norm, states, b_.rows, c_.rms_eps);
      drop_rows();
    }
    head(p_.weights.final_norm, p_.weights.head, logits);
  }
  if (states) {
    TRY(Step(p_).follow(segments, states, logits));
    save_states(segments, states);  // after the one before the first row has been read
  }
  for (Segment& s : segments) s.kv->length += static_cast<int>(s.ids.size());
  return {};
}

// `slot_shift`: an id at position p of its sequence stands in slot p and computes position
// p - slot_shift; the first ones of a sequence are left out.
void Step::begin(std::span<const Segment> segments, Head want, int slot_shift) {
  want_ = want;
  slot_shift_ = slot_shift;
  for (const Segment& s : segments) {
    b_.rows += static_cast<int>(s.ids.size()) - skipped(s);
  }
  const int n = b_.rows, half = rotary_dims(c_) / 2;
  b_.ids = workspace_.take<int32_t>(n);
  b_.pages = workspace_.take<uint8_t*>(n);
  b_.slots = workspace_.take<int>(n);
  b_.cosine = workspace_.take<float>(int64_t{n} * half);
  b_.sine = workspace_.take<float>(int64_t{n} * half);
  b_.ranges = workspace_.take<RowRange>(segments.size());
  b_.kept_ranges = workspace_.take<RowRange>(segments.size());
  b_.kept_rows = workspace_.take<int>(n);
  b_.kept_codes = workspace_.take<bool>(n);
  x_ = workspace_.take<float>(int64_t{n} * c_.hidden);
  normed_ = workspace_.take<float>(int64_t{n} * c_.hidden);
  heads_ = workspace_.take<float>(int64_t{n} * heads_width(c_));
  ffn_ = workspace_.take<float>(int64_t{n} * ffn_width(c_));
  c_.mla ? take_latent() : take_dense();
  describe(segments);
  pool_.run(n, rows_grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      p_.rope.angles(b_.slots[r] - slot_shift_, b_.cosine + r * half, b_.sine + r * half);
    }
  });
}

int Step::skipped(const Segment& segment) const {
  const int size = static_cast<int>(segment.ids.size());
  return std::clamp(slot_shift_ - segment.kv->length, 0, size);
}

void Step::describe(std::span<const Segment> segments) {
  std::vector<const uint8_t*>& pages = p_.pages;
  pages.clear();
  size_t pages_total = 0;
  for (const Segment& s : segments) pages_total += s.kv->pages.size();
  pages.reserve(pages_total);  // the addresses of its elements are kept below
  int row = 0;
  for (const Segment& s : segments) {
    const uint8_t* const* first_page = pages.data() + pages.size();
    for (const PageId page : s.kv->pages) pages.push_back(p_.kv->data(page));
    const int left_out = skipped(s);
    const RowRange range{
        first_page, s.kv->length + left_out, static_cast<int>(s.ids.size()) - left_out, row, row,
        s.origin};
    if (range.count == 0) continue;
    b_.ranges[b_.segments++] = range;
    keep(s, range);
    for (int j = 0; j < range.count; ++j, ++row) {
      b_.ids[row] = s.ids[left_out + j];
      b_.slots[row] = range.first_slot + j;
      b_.pages[row] = p_.kv->data(s.kv->pages[b_.slots[row] / page_tokens]);
    }
  }
}

// Notes which rows of a segment are wanted after the last layer.
void Step::keep(const Segment& segment, const RowRange& range) {
  const bool all = p_.tap && want_ == Head::text;
  if (!all && !is_wanted(segment)) return;
  const bool codes = segment.want == Head::image;
  const int dropped = all || segment.all_rows ? 0 : range.count - 1;
  RowRange kept = range;
  kept.first_slot += dropped;
  kept.count -= dropped;
  kept.row += dropped;
  kept.out_row = b_.kept;
  b_.kept_ranges[b_.kept_segments++] = kept;
  if (codes) b_.codes += kept.count;
  for (int j = dropped; j < range.count; ++j) {
    b_.kept_codes[b_.kept] = codes;
    b_.kept_rows[b_.kept++] = range.row + j;
  }
}

// The heads of text and of image codes stand behind the same layers.
bool Step::is_wanted(const Segment& segment) const {
  return segment.want == want_ || (want_ == Head::text && segment.want == Head::image);
}

void Step::embed(const Embedding& embedding, float* to, int64_t stride) {
  const Weights& w = p_.weights;
  const int64_t row_bytes = embedding.rows ? tensor::row_bytes(embedding.dtype, c_.hidden) : 0;
  pool_.run(b_.rows, rows_grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      if (b_.given && b_.given[r]) {
        std::copy_n(b_.given[r], c_.hidden, to + r * stride);
      } else if (embedding.rows) {
        tensor::decode_row(embedding.dtype, embedding.rows + b_.ids[r] * row_bytes, to + r * stride,
                           c_.hidden);
      } else {
        tensor::decode_packed_row(w.head, b_.ids[r], to + r * stride);
      }
    }
  });
}

void Step::norm(const float* from, const float* weight, float* to, int rows, double eps) {
  pool_.run(rows, rows_grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      tensor::rms_norm(isa_, from + r * c_.hidden, weight, to + r * c_.hidden, c_.hidden,
                       static_cast<float>(eps));
    }
  });
}

tensor::QuantRows Step::quantize(const float* x, int rows, int width,
                                 std::initializer_list<const tensor::PackedMatrix*> matrices) {
  return tensor::quantize_rows(x, rows, width, {matrices.begin(), matrices.size()},
                               p_.options.precision, isa_, workspace_, pool_);
}

void Step::linear(const tensor::PackedMatrix& w, const tensor::QuantRows& x,
                  const tensor::LinearOut& out) {
  tensor::linear(w, x, out, isa_, pool_);
}

// A second pass for what rounding left out of x: y += W (x - rounded x). For values and latents: 1
// to 3 % of the arithmetic, and a fifth of the divergence from f32 activations is gone (starter:
// mean KL 2.65e-3 -> 2.18e-3). `rest` takes what is left; it may be x itself.
void Step::add_residual_pass(const tensor::PackedMatrix& w, const tensor::QuantRows& x, float* rest,
                             float* y, int64_t stride) {
  if (exact() || !tensor::rounds_activations(w.dtype)) return;
  tensor::rounding_residual(x, w.dtype, rest, pool_);
  linear(w, quantize(rest, x.n, x.k, {&w}), {y, stride, nullptr, true});
}

base::Result<void> Step::layer(const LayerWeights& w, int index, bool last) {
  norm(x_, w.attention_norm, normed_, b_.rows, c_.rms_eps);
  c_.mla ? latent_project(w.latent, index) : dense_project(w.dense, index);
  const int rows = last ? b_.kept : b_.rows;
  if (rows == 0) return {};
  const std::span<const RowRange> ranges =
      last ? std::span<const RowRange>(b_.kept_ranges, b_.kept_segments)
           : std::span<const RowRange>(b_.ranges, b_.segments);
  c_.mla ? latent_attend(w.latent, ranges, index) : dense_attend(ranges, index);
  if (last) drop_rows();
  {
    const Workspace::Mark mark(workspace_);
    linear(w.o, quantize(heads_, rows, heads_width(c_), {&w.o}), {x_, c_.hidden, nullptr, true});
  }
  norm(x_, w.ffn_norm, normed_, rows, c_.rms_eps);
  if (w.experts) TRY(experts(*w.experts, rows, index));
  if (w.has_ffn) feed_forward(w.ffn, rows);
  return {};
}

// Only the rows that go on stay in x_.
void Step::drop_rows() {
  for (int i = 0; i < b_.kept; ++i) {  // kept_rows[i] >= i: nothing is overwritten too early
    if (b_.kept_rows[i] == i) continue;
    std::copy_n(x_ + int64_t{b_.kept_rows[i]} * c_.hidden, c_.hidden, x_ + int64_t{i} * c_.hidden);
  }
}

// x_ += of normed_.
void Step::feed_forward(const FeedForwardWeights& w, int rows) {
  const auto width = static_cast<int>(w.gate.rows);
  {
    const Workspace::Mark mark(workspace_);
    const auto x = quantize(normed_, rows, c_.hidden, {&w.gate, &w.up});
    tensor::gate_up_silu(w.gate, w.up, x, ffn_, width, isa_, pool_);
  }
  const Workspace::Mark mark(workspace_);
  linear(w.down, quantize(ffn_, rows, width, {&w.down}), {x_, c_.hidden, nullptr, true});
}

// Of the kept rows, which are the first of x_ by now.
void Step::head(const float* norm_weight, const tensor::PackedMatrix& w, Logits& logits) {
  logits.vocab = c_.vocab;
  const int rows = b_.kept - b_.codes;
  logits.values.resize(int64_t{rows} * c_.vocab);
  logits.image_vocab = p_.info.image_codes;
  logits.image_values.resize(int64_t{b_.codes} * p_.info.image_codes);
  if (b_.kept > 0) norm(x_, norm_weight, normed_, b_.kept, c_.rms_eps);
  if (b_.codes > 0) {
    part_codes();
    code_head(logits);
  }
  if (rows == 0) return;
  const Workspace::Mark mark(workspace_);
  linear(w, quantize(normed_, rows, c_.hidden, {&w}), {logits.values.data(), c_.vocab});
}

void Step::tap(int layer) const {
  if (p_.tap) p_.tap(layer, x_, b_.rows);
}

}  // namespace model
