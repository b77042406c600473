// The VQ decoder (LlamaGen): from a grid of codes to pixels.
//
//   z = codebook[code], rows of length 1 -> post_quant 1x1 -> conv_in
//   mid: res, attention, res
//   each level, the lowest resolution first: (res, and there attention)..., double, conv
//   norm, swish, conv_out -> 3 channels of about -1 to 1
//
//   res:        x' = shortcut x + conv2(swish(norm(conv1(swish(norm x)))))
//   attention:  x' = x + out(attention of q, k, v of norm x)
//
// Pictures are (height, width, channels) and go round in three buffers.
#include <algorithm>
#include <cmath>

#include "model/pictures_parts.h"
#include "tensor/norms.h"

namespace model {
namespace {

using tensor::ConvBand;
using tensor::ConvShape;
using tensor::DenseMatrix;
using tensor::DenseRows;

constexpr int norm_groups = 32;
constexpr double norm_eps = 1e-6;
constexpr int chunk_positions = 4096;  // of a product of positions, at most
constexpr int group_panels = 4;        // conv_output's grain

struct Image {
  int buffer = 0, side = 0, channels = 0;
  int64_t positions() const { return int64_t{side} * side; }
  uint64_t floats() const { return uint64_t(positions()) * channels; }
};

struct ConvStep {
  const NormPart* norm = nullptr;  // with swish, before it
  bool doubled = false;
  int add = -1;       // buffer that is added; may be the result's own
  bool sums = false;  // a norm follows
};

class DrawBuilder {
 public:
  DrawBuilder(const PictureWeights& weights, int threads, DrawPlan& to)
      : d_(weights.config.drawing),
        weights_(weights.vq),
        threads_(threads),
        tiles_(weights.tiles),
        plan_(to.plan),
        sizes_(to.sizes) {}

  void build() {
    Image x = latent();
    tap("post_quant_conv", x);
    x = conv(x, weights_.conv_in, other(x), {nullptr, false, -1, true});
    x = res(x, weights_.mid_first);
    attention(x, weights_.mid_attention);
    x = res(x, weights_.mid_last);
    tap("mid", x);
    for (size_t i = 0; i < weights_.up.size(); ++i) x = level(x, i);
    x = conv(x, weights_.conv_out, other(x), {&weights_.norm_out});
    finish(x);
  }

 private:
  // ---- buffers

  void grow(const Image& x) {
    sizes_.buffers[x.buffer] = std::max(sizes_.buffers[x.buffer], x.floats());
  }
  // A free buffer beside those that are in use: the one that is the largest already.
  int other(const Image& used, int also = -1) const {
    int best = -1;
    for (int i = 0; i < 3; ++i) {
      if (i == used.buffer || i == also) continue;
      if (best < 0 || sizes_.buffers[i] > sizes_.buffers[best]) best = i;
    }
    return best;
  }

  // ---- parts

  Image latent() {
    const Image z{0, d_.grid, d_.latent};
    grow(z);
    const int width = d_.code_width;
    const auto row = [&w = weights_, width](DrawState& s, int64_t at, float*) {
      return w.codebook + int64_t{s.codes[at]} * width;
    };
    product(weights_.post_quant, z.positions(), row, [&w = weights_, z](DrawState& s, int64_t at) {
      return tensor::DenseOut{s.buffers[z.buffer] + at * z.channels, z.channels, w.post_quant.bias};
    });
    return z;
  }

  Image level(Image x, size_t i) {
    const VqLevel& level = weights_.up[i];
    for (size_t block = 0; block < level.res.size(); ++block) {
      const bool last = block + 1 == level.res.size() && level.attention.empty() && level.upsample;
      x = res(x, level.res[block], !last);
      tap(fmt::format("up.{}.block.{}", i, block), x);
      if (level.attention.empty()) continue;
      attention(x, level.attention[block]);
      tap(fmt::format("up.{}.attn.{}", i, block), x);
    }
    if (level.upsample) x = conv(x, *level.upsample, other(x), {nullptr, true, -1, true});
    tap(fmt::format("up.{}", i), x);
    return x;
  }

  // The sums of x are there; those of the result are made if `sums`.
  Image res(const Image& x, const ResPart& part, bool sums = true) {
    const Image h = conv(x, part.conv1, other(x), {&part.norm1, false, -1, true});
    if (!part.shortcut) {
      return conv(h, part.conv2, x.buffer, {&part.norm2, false, x.buffer, sums});
    }
    const Image to{other(x, h.buffer), x.side, h.channels};
    grow(to);
    const auto row = [x](DrawState& s, int64_t at, float*) {
      return s.buffers[x.buffer] + at * x.channels;
    };
    product(*part.shortcut, x.positions(), row, [&part, to](DrawState& s, int64_t at) {
      return tensor::DenseOut{s.buffers[to.buffer] + at * to.channels, to.channels,
                              part.shortcut->bias};
    });
    return conv(h, part.conv2, to.buffer, {&part.norm2, false, to.buffer, sums});
  }

  // x += ..., with the sums of x before and after.
  void attention(const Image& x, const AttentionPart& part) {
    group_norm(x, part.norm);
    const int channels = x.channels;
    sizes_.attention_rows = std::max(sizes_.attention_rows, 3 * x.floats());
    sizes_.temporary = std::max(sizes_.temporary, uint64_t(threads_) * channels);
    const auto normalised = [x, channels](DrawState& s, int64_t at, float* to) {
      tensor::scale_channels(s.buffers[x.buffer] + at * channels, s.scale, s.shift, 1, channels,
                             false, to, s.machine->isa);
      return to;
    };
    int index = 0;
    for (const DensePart* matrix : {&part.q, &part.k, &part.v}) {
      product(*matrix, x.positions(), normalised,
              [matrix, index, channels](DrawState& s, int64_t at) {
                return tensor::DenseOut{s.attention_rows + (at * 3 + index) * channels,
                                        int64_t{3} * channels, matrix->bias};
              });
      ++index;
    }
    attend(x);
    const auto attended = [channels](DrawState& s, int64_t at, float*) {
      return s.attention_rows + at * 3 * channels;
    };
    product(part.out, x.positions(), attended, [&part, x](DrawState& s, int64_t at) {
      float* y = s.buffers[x.buffer] + at * x.channels;
      return tensor::DenseOut{y, x.channels, part.out.bias, y};
    });
    plan_.add(x.floats() * 2, [x](DrawState& s) {
      tensor::picture_sums(s.buffers[x.buffer], {0, x.side}, x.side, x.channels, s.sums,
                           s.machine->isa, *s.machine->pool);
    });
  }

  void attend(const Image& x) {
    const auto shape = [x](DrawState* s) {
      tensor::FullAttention a;
      a.heads = 1, a.head_dim = x.channels, a.tokens = static_cast<int>(x.positions());
      a.scale = 1.0f / std::sqrt(static_cast<float>(x.channels));
      if (s) {
        a.q = s->attention_rows, a.k = a.q + x.channels, a.v = a.k + x.channels;
        a.stride = int64_t{3} * x.channels;
        a.out = s->attention_rows, a.out_stride = a.stride;  // a piece's own queries
      }
      return a;
    };
    const tensor::FullAttention a = shape(nullptr);
    sizes_.attention_bytes =
        std::max(sizes_.attention_bytes, tensor::full_attention_bytes(a, threads_));
    plan_.add(x.floats() * 8, [shape](DrawState& s) {
      tensor::full_attention_pack(shape(&s), s.attention, s.machine->isa, *s.machine->pool);
    });
    const int step = std::max<int>(1, static_cast<int>(unit_operations / a.piece_operations()));
    for (int first = 0; first < a.pieces(); first += step) {
      const int count = std::min(step, a.pieces() - first);
      plan_.add(count * a.piece_operations(), [shape, first, count](DrawState& s) {
        tensor::full_attention(shape(&s), s.attention, first, count, s.machine->isa,
                               *s.machine->pool);
      });
    }
  }

  // ---- units

  void group_norm(const Image& x, const NormPart& norm) {
    sizes_.channels = std::max<uint64_t>(sizes_.channels, x.channels);
    plan_.add(uint64_t(x.side) * x.channels, [x, &norm](DrawState& s) {
      tensor::group_norm({norm.weight, norm.bias, norm_groups, norm_eps}, s.sums, x.side, x.side,
                         x.channels, s.scale, s.shift);
    });
  }

  // A matrix on positions. row(state, position, temporary): its input; out(state, position): where
  // the results of it and the following ones go.
  template <class Row, class Out>
  void product(const DensePart& part, int64_t positions, Row row, Out out) {
    const DenseMatrix& w = part.w;
    const uint64_t one = uint64_t(w.cols) * w.panels() * tensor::dense_panel;
    const int step = static_cast<int>(
        std::clamp<uint64_t>(unit_operations / one / 48 * 48, 48, chunk_positions));
    sizes_.rows_bytes = std::max(
        sizes_.rows_bytes,
        DenseRows::bytes(w.form, static_cast<int>(std::min<int64_t>(step, positions)), w.cols));
    for (int64_t first = 0; first < positions; first += step) {
      const int count = static_cast<int>(std::min<int64_t>(step, positions - first));
      plan_.add(one * count, [&w, first, count, row, out](DrawState& s) {
        const DenseRows rows(w.form, count, w.cols, s.rows, tensor::dense_kernels(s.machine->isa));
        s.machine->pool->run(count, 8, [&](int64_t begin, int64_t end, int thread) {
          for (int64_t i = begin; i < end; ++i) {
            float* temporary = s.temporary + thread * w.cols;
            rows.set(static_cast<int>(i), row(s, first + i, temporary));
          }
        });
        tensor::dense(w, rows, {0, w.panels()}, out(s, first), s.machine->isa, *s.machine->pool);
      });
    }
  }

  Image conv(const Image& x, const ConvPart& part, int to, const ConvStep& step) {
    const Image y{to, step.doubled ? 2 * x.side : x.side, part.w.out};
    grow(y);
    if (step.norm) group_norm(x, *step.norm);
    const ConvShape shape{y.side, y.side, part.w.in, part.w.out, tiles_};
    const int rows = shape.band_rows();
    const tensor::ConvSizes needs = tensor::conv_sizes(shape, rows, threads_);
    tensor::ConvSizes& all = sizes_.conv;
    all = {std::max(all.weights, needs.weights), std::max(all.pixels, needs.pixels),
           std::max(all.tiles, needs.tiles), std::max(all.products, needs.products)};
    if (step.sums) sizes_.sums = std::max(sizes_.sums, uint64_t(y.side) * 2 * y.channels);
    plan_.add(uint64_t(part.w.in) * part.w.panels() * tensor::dense_panel * 36,
              [shape, &part](DrawState& s) {
                tensor::conv_weights(shape, part.w, s.conv, s.machine->isa, *s.machine->pool);
              });
    for (int first = 0; first < shape.tile_rows(); first += rows) {
      band(x, y, shape, {first, std::min(rows, shape.tile_rows() - first)}, part, step);
    }
    return y;
  }

  void band(const Image& x, const Image& y, const ConvShape& shape, ConvBand band,
            const ConvPart& part, const ConvStep& step) {
    const uint64_t pixels = uint64_t(4 * band.count) * shape.width;
    plan_.add(pixels * shape.in * 24, [x, shape, band, step](DrawState& s) {
      const tensor::ConvInput input{s.buffers[x.buffer], step.norm ? s.scale : nullptr, s.shift,
                                    step.doubled};
      tensor::conv_input(shape, input, band, s.conv, s.machine->isa, *s.machine->pool);
    });
    const int all = part.w.panels();
    const uint64_t group = shape.operations(band.count, group_panels);
    const int panels = std::max<int>(1, static_cast<int>(unit_operations / group)) * group_panels;
    for (int first = 0; first < all; first += panels) {
      const int count = std::min(panels, all - first);
      const bool last = first + count == all;
      plan_.add(shape.operations(band.count, count) + pixels * count * 100,
                [y, shape, band, &part, step, first, count, last](DrawState& s) {
                  const tensor::ConvOutput output{s.buffers[y.buffer], part.bias,
                                                  step.add < 0 ? nullptr : s.buffers[step.add]};
                  base::Pool& pool = *s.machine->pool;
                  tensor::conv_output(shape, output, band, first, count, s.conv, s.machine->isa,
                                      pool);
                  if (!last || !step.sums) return;
                  const int top = 4 * band.first;  // the rows are still in the cache
                  tensor::picture_sums(s.buffers[y.buffer],
                                       {top, std::min(4 * band.count, shape.height - top)},
                                       shape.width, shape.out, s.sums, s.machine->isa, pool);
                });
    }
  }

  void finish(const Image& x) {
    plan_.add(x.floats() * 4, [x](DrawState& s) {
      const float* from = s.buffers[x.buffer];
      const int64_t positions = x.positions();
      s.pixels->resize(x.floats());
      if (s.floats) s.floats->resize(x.floats());
      for (int64_t i = 0; i < positions * 3; ++i) {
        const float level = (from[i] + 1.0f) / 2.0f * 255.0f;
        // What is no number becomes black; then the fraction is cut off, as the reference does.
        const float bounded = level > 0 ? std::min(level, 255.0f) : 0.0f;
        (*s.pixels)[i] = static_cast<uint8_t>(bounded);
        if (s.floats) (*s.floats)[i % 3 * positions + i / 3] = from[i];
      }
    });
  }

  void tap(std::string stage, const Image& x) {
    plan_.add(0, [stage = std::move(stage), x](DrawState& s) {
      if (!s.machine->tap) return;
      s.machine->tap(stage, s.buffers[x.buffer], static_cast<int>(x.positions()), x.channels);
    });
  }

  const format::JanusDrawing& d_;
  const VqWeights& weights_;
  const int threads_;
  const bool tiles_;
  UnitPlan<DrawState>& plan_;
  DrawSizes& sizes_;
};

}  // namespace

uint64_t DrawSizes::bytes() const {
  using tensor::arena_bytes;
  uint64_t all = 0;
  for (const uint64_t floats :
       {buffers[0], buffers[1], buffers[2], channels, channels, temporary, attention_rows,
        conv.weights, conv.pixels, conv.tiles, conv.products}) {
    all += arena_bytes(floats * sizeof(float));
  }
  return all + arena_bytes(sums * sizeof(double)) + arena_bytes(rows_bytes) +
         arena_bytes(attention_bytes);
}

DrawState::DrawState(PictureMachine& m, SpareMemory& home,
                     std::unique_ptr<tensor::Workspace> workspace, const DrawSizes& sizes)
    : machine(&m), memory(home, std::move(workspace)) {
  tensor::Workspace& work = *memory;
  for (int i = 0; i < 3; ++i) buffers[i] = work.take<float>(sizes.buffers[i]);
  sums = work.take<double>(sizes.sums);
  scale = work.take<float>(sizes.channels);
  shift = work.take<float>(sizes.channels);
  temporary = work.take<float>(sizes.temporary);
  attention_rows = work.take<float>(sizes.attention_rows);
  conv.weights = work.take<float>(sizes.conv.weights);
  conv.pixels = work.take<float>(sizes.conv.pixels);
  conv.tiles = work.take<float>(sizes.conv.tiles);
  conv.products = work.take<float>(sizes.conv.products);
  rows = work.take<uint8_t>(sizes.rows_bytes);
  attention = work.take<uint8_t>(sizes.attention_bytes);
}

DrawPlan::DrawPlan(const PictureWeights& weights, int threads) {
  DrawBuilder(weights, threads, *this).build();
}

}  // namespace model
