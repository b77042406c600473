// What a row of Janus may be beside a token, and what it may give beside a token's logits:
//
//   what a picture shows   the segment's own rows, in the place of embeddings
//   an image code          aligner(embedding of the code)
//   logits of a code       head_out gelu(head_in state), on the state after the final norm
//
// aligner is two maps or more with gelu between; gelu(x) = x / 2 (1 + erf(x / sqrt 2)), exactly.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "model/step.h"

namespace model {

using tensor::Workspace;

namespace {

bool is_code(const Segment& segment) {
  return segment.vocab == Vocab::image && segment.embeds == nullptr;
}

}  // namespace

// x_ = what the segments hold; b_.rows counts their ids in order.
void Step::read_inputs(std::span<const Segment> segments) {
  const Workspace::Mark mark(workspace_);
  int codes = 0;
  bool plain = true;
  for (const Segment& s : segments) {
    if (is_code(s)) codes += static_cast<int>(s.ids.size());
    plain = plain && !is_code(s) && s.embeds == nullptr;
  }
  if (!plain) {
    b_.given = workspace_.take<const float*>(b_.rows);
    const float* of_codes = codes > 0 ? align_codes(segments, codes) : nullptr;
    int row = 0;
    for (const Segment& s : segments) {
      const float* next = is_code(s) ? of_codes : s.embeds;
      for (size_t i = 0; i < s.ids.size(); ++i, ++row) {
        b_.given[row] = next;
        if (next) next += c_.hidden;
      }
      if (is_code(s)) of_codes = next;
    }
  }
  embed(p_.weights.embedding, x_, c_.hidden);
  b_.given = nullptr;  // its memory goes with the mark
}

// The embeddings of all image codes of a step, (count, hidden), in the order of the segments.
float* Step::align_codes(std::span<const Segment> segments, int count) {
  const CodesWeights& w = *p_.weights.codes;
  const int width = c_.janus->drawing.code_width;
  float* from = workspace_.take<float>(int64_t{count} * c_.hidden);
  float* to = workspace_.take<float>(int64_t{count} * c_.hidden);
  float* rows = workspace_.take<float>(int64_t{count} * width);
  const int64_t row_bytes = tensor::row_bytes(w.embedding.dtype, width);
  float* next = rows;
  for (const Segment& s : segments) {
    if (!is_code(s)) continue;
    for (const int32_t code : s.ids) {
      tensor::decode_row(w.embedding.dtype, w.embedding.rows + code * row_bytes, next, width);
      next += width;
    }
  }
  affine(w.aligner[0], rows, count, to);
  for (size_t i = 1; i < w.aligner.size(); ++i) {
    std::swap(from, to);
    gelu(from, count, c_.hidden);
    affine(w.aligner[i], from, count, to);
  }
  return to;
}

void Step::affine(const AffineWeights& w, const float* x, int rows, float* y) {
  const Workspace::Mark mark(workspace_);
  linear(w.w, quantize(x, rows, static_cast<int>(w.w.cols), {&w.w}), {y, w.w.rows, w.bias});
}

void Step::gelu(float* x, int rows, int width) {
  pool_.run(rows, rows_grain, [&](int64_t begin, int64_t end, int) {
    constexpr float half_root = std::numbers::sqrt2_v<float> / 2;
    for (float* at = x + begin * width; at < x + end * width; ++at) {
      *at *= 0.5f * (1 + std::erf(*at * half_root));
    }
  });
}

// Of the kept rows in normed_, those that want codes go to the beginning of x_, which is not needed
// any more; the others close up.
void Step::part_codes() {
  int codes = 0, others = 0;
  for (int i = 0; i < b_.kept; ++i) {
    const float* from = normed_ + int64_t{i} * c_.hidden;
    float* to = b_.kept_codes[i] ? x_ + int64_t{codes++} * c_.hidden
                                 : normed_ + int64_t{others++} * c_.hidden;
    if (to != from) std::copy_n(from, c_.hidden, to);
  }
}

void Step::code_head(Logits& logits) {
  const CodesWeights& w = *p_.weights.codes;
  const Workspace::Mark mark(workspace_);
  const int width = c_.janus->drawing.head_width;
  float* inside = workspace_.take<float>(int64_t{b_.codes} * width);
  affine(w.head_in, x_, b_.codes, inside);
  gelu(inside, b_.codes, width);
  affine(w.head_out, inside, b_.codes, logits.image_values.data());
}

}  // namespace model
