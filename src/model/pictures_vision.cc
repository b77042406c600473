// The vision tower (SigLIP) and the aligner: from a canvas to embeddings.
//
//   x = patches W + positions
//   each layer: x += Wo attention(norm x);  x += W2 gelu(W1 norm x)
//   features = norm x;  embeddings = aligner(features), a gelu between its matrices
#include <algorithm>
#include <cmath>

#include "model/pictures_parts.h"
#include "tensor/norms.h"

namespace model {
namespace {

using tensor::DenseForm;
using tensor::DenseMatrix;
using tensor::DenseRows;

constexpr uint64_t tile_gain = 4;  // multiplications on tiles that take the time of one elsewhere

// One matrix on rows of `wide`, `x` or what is said.
class SeeBuilder {
 public:
  SeeBuilder(const PictureWeights& weights, int threads, SeePlan& to)
      : v_(weights.config.vision),
        weights_(weights.vision),
        tokens_(v_.tokens()),
        threads_(threads),
        hidden_(weights.hidden),
        tiles_(weights.tiles),
        plan_(to.plan),
        sizes_(to.sizes) {}

  void build() {
    measure();
    patches();
    tap("vision.embeddings");
    for (size_t i = 0; i < weights_.layers.size(); ++i) {
      layer(weights_.layers[i]);
      tap(fmt::format("vision.block{}", i));
    }
    last_norm();
    aligner();
  }

 private:
  void measure() {
    const uint64_t tokens = tokens_, threads = threads_;
    const uint64_t between = tiles_ ? 0 : std::max(v_.ffn, hidden_);
    sizes_.x = tokens * v_.width;
    sizes_.wide = tokens * std::max<uint64_t>(attends_on_tiles() ? 0 : 3 * v_.width, between);
    sizes_.temporary = threads * std::max(v_.width, 3 * v_.patch * v_.patch);
    sizes_.attention_bytes = tensor::full_attention_bytes(attention_shape(), threads_);
    const auto grow_to = [&](const DenseMatrix& w, int64_t cols, int which) {
      uint64_t& bytes = sizes_.rows_bytes[which];
      bytes = std::max(bytes, DenseRows::bytes(w.form, tokens_, cols));
    };
    const auto grow = [&](const DenseMatrix& w, int which) { grow_to(w, w.cols, which); };
    grow(weights_.patch.w, 0);
    for (const VisionLayer& layer : weights_.layers) {
      grow(layer.qkv.w, 0);
      if (attends_on_tiles()) grow_to(layer.qkv.w, layer.qkv.w.rows, 1);
      grow(layer.proj.w, 0);
      grow(layer.fc1.w, 0);
      grow(layer.fc2.w, second());
    }
    int which = 0;
    for (const DensePart& part : weights_.aligner) {
      grow(part.w, which);
      which = second() - which;
    }
  }
  // Which rows a product that follows another one reads.
  int second() const { return tiles_ ? 1 : 0; }

  static DenseRows rows_of(SeeState& s, const DenseMatrix& w, int tokens, int which) {
    return rows_of(s, w.form, w.cols, tokens, which);
  }
  static DenseRows rows_of(SeeState& s, DenseForm form, int64_t cols, int tokens, int which) {
    return {form, tokens, cols, s.rows[which], tensor::dense_kernels(s.machine->isa)};
  }

  // A unit that makes rows for w: fill(state, token, temporary) gives each.
  template <class Fill>
  void rows(const DenseMatrix& w, int64_t longest, Fill fill) {
    plan_.add(uint64_t(tokens_) * w.cols * 4, [&w, longest, fill, tokens = tokens_](SeeState& s) {
      const DenseRows rows = rows_of(s, w, tokens, 0);
      s.machine->pool->run(tokens, 8, [&](int64_t begin, int64_t end, int thread) {
        for (int64_t token = begin; token < end; ++token) {
          float* temporary = s.temporary + thread * longest;
          rows.set(static_cast<int>(token), fill(s, token, temporary));
        }
      });
    });
  }

  // Units that multiply the rows with w; `out` says where to.
  template <class Out>
  void product(const DenseMatrix& w, Out out, int which = 0) {
    product_into(w, which, [out](SeeState& s, const auto& run) { run(out(s)); });
  }
  // run is called with a DenseOut, once.
  template <class Into>
  void product_into(const DenseMatrix& w, int which, Into into) {
    const uint64_t panel =
        uint64_t(tokens_) * w.cols * tensor::dense_panel / (tiles_ ? tile_gain : 1);
    const int step = std::max<int>(4, static_cast<int>(unit_operations / panel) / 4 * 4);
    for (int first = 0; first < w.panels(); first += step) {
      const int count = std::min(step, w.panels() - first);
      plan_.add(panel * count, [&w, first, count, into, which, tokens = tokens_](SeeState& s) {
        const DenseRows rows = rows_of(s, w, tokens, which);
        into(s, [&](const tensor::DenseOut& out) {
          tensor::dense(w, rows, {first, count}, out, s.machine->isa, *s.machine->pool);
        });
      });
    }
  }

  // On tiles: the product of `part` becomes rows itself, the other ones.
  void product_rows(const DensePart& part, bool gelu, int which) {
    product_into(part.w, which,
                 [&part, gelu, which, tokens = tokens_](SeeState& s, const auto& run) {
                   const DenseRows rows = rows_of(s, part.w.form, part.w.rows, tokens, 1 - which);
                   run({nullptr, 0, part.bias, nullptr, gelu, &rows});
                 });
  }

  // gelu of the product with `part`, which becomes the rows of `next`: says which they are.
  int between(const DensePart& part, const DenseMatrix& next, int which) {
    if (tiles_) {
      product_rows(part, true, which);
      return 1 - which;
    }
    product(part.w, [&part](SeeState& s) {
      return tensor::DenseOut{s.wide, part.w.rows, part.bias, nullptr, true};
    });
    rows(next, longest(), [stride = next.cols](SeeState& s, int64_t token, float*) {
      return s.wide + token * stride;
    });
    return 0;
  }

  void patches() {
    const format::JanusVision v = v_;
    const int row = 3 * v.patch * v.patch;
    rows(weights_.patch.w, std::max(v.width, row), [v](SeeState& s, int64_t token, float* to) {
      const int across = v.side / v.patch;
      const int64_t top = token / across * v.patch, left = token % across * v.patch;
      for (int c = 0; c < 3; ++c) {
        for (int y = 0; y < v.patch; ++y) {
          for (int x = 0; x < v.patch; ++x) {
            const float level = s.canvas[((top + y) * v.side + left + x) * 3 + c];
            to[(c * v.patch + y) * v.patch + x] =
                (level / 255.0f - static_cast<float>(v.mean)) / static_cast<float>(v.std);
          }
        }
      }
      return to;
    });
    product(weights_.patch.w, [&w = weights_, v](SeeState& s) {
      return tensor::DenseOut{s.x, v.width, w.patch.bias, w.positions};
    });
  }

  // Rows of the normalised residual stream for w.
  void normalised(const NormPart& norm, const DenseMatrix& w) {
    const int width = v_.width;
    const auto eps = static_cast<float>(v_.eps);
    rows(w, longest(), [&norm, width, eps](SeeState& s, int64_t token, float* to) {
      tensor::layer_norm(s.machine->isa, s.x + token * width, norm.weight, norm.bias, to, width,
                         eps);
      return to;
    });
  }

  int64_t longest() const { return std::max(v_.width, 3 * v_.patch * v_.patch); }

  // Whole tiles of every head, so that rows of the products around it are its own.
  bool attends_on_tiles() const { return tiles_ && v_.width / v_.heads % tensor::tile_depth == 0; }

  tensor::FullAttention attention_shape() const {
    tensor::FullAttention x;
    x.heads = v_.heads, x.head_dim = v_.width / v_.heads, x.tokens = tokens_;
    x.scale = 1.0f / std::sqrt(static_cast<float>(x.head_dim)), x.tiles = attends_on_tiles();
    return x;
  }

  // run is called with the shape and where everything is, once.
  template <class Run>
  void attention_unit(uint64_t operations, Run run) {
    const int64_t width = v_.width;
    plan_.add(operations, [shape = attention_shape(), width, run](SeeState& s) {
      tensor::FullAttention x = shape;
      if (!x.tiles) {
        x.q = s.wide, x.k = s.wide + width, x.v = s.wide + 2 * width;
        x.stride = 3 * width;
        // A piece writes over the queries that only it has read.
        x.out = s.wide, x.out_stride = x.stride;
        return run(s, x);
      }
      const DenseRows qkv = rows_of(s, DenseForm::tiles, 3 * width, x.tokens, 1);
      const DenseRows out = rows_of(s, DenseForm::tiles, width, x.tokens, 0);
      x.qkv_rows = &qkv, x.out_rows = &out;
      run(s, x);
    });
  }

  // From the product of qkv to the rows of proj.
  void attention(const DenseMatrix& proj) {
    attention_unit(uint64_t(tokens_) * v_.width * 8,
                   [](SeeState& s, const tensor::FullAttention& x) {
                     tensor::full_attention_pack(x, s.attention, s.machine->isa, *s.machine->pool);
                   });
    const tensor::FullAttention x = attention_shape();
    const int step = std::max<int>(1, static_cast<int>(unit_operations / x.piece_operations()));
    for (int first = 0; first < x.pieces(); first += step) {
      const int count = std::min(step, x.pieces() - first);
      attention_unit(count * x.piece_operations(), [first, count](SeeState& s,
                                                                  const tensor::FullAttention& x) {
        tensor::full_attention(x, s.attention, first, count, s.machine->isa, *s.machine->pool);
      });
    }
    if (x.tiles) return;
    rows(proj, longest(), [width = int64_t{v_.width}](SeeState& s, int64_t token, float*) {
      return s.wide + token * 3 * width;
    });
  }

  void layer(const VisionLayer& layer) {
    const int width = v_.width;
    normalised(layer.norm1, layer.qkv.w);
    if (attends_on_tiles()) {
      product_rows(layer.qkv, false, 0);
    } else {
      product(layer.qkv.w, [&layer, width](SeeState& s) {
        return tensor::DenseOut{s.wide, int64_t{3} * width, layer.qkv.bias};
      });
    }
    attention(layer.proj.w);
    product(layer.proj.w, [&layer, width](SeeState& s) {
      return tensor::DenseOut{s.x, width, layer.proj.bias, s.x};
    });
    normalised(layer.norm2, layer.fc1.w);
    const int which = between(layer.fc1, layer.fc2.w, 0);
    product(
        layer.fc2.w,
        [&layer, width](SeeState& s) {
          return tensor::DenseOut{s.x, width, layer.fc2.bias, s.x};
        },
        which);
  }

  // In place: the stream is not needed afterwards.
  void last_norm() {
    const int width = v_.width;
    const auto eps = static_cast<float>(v_.eps);
    plan_.add(sizes_.x * 4, [&norm = weights_.norm, width, eps, tokens = tokens_](SeeState& s) {
      s.machine->pool->run(tokens, 8, [&](int64_t begin, int64_t end, int) {
        for (int64_t token = begin; token < end; ++token) {
          float* x = s.x + token * width;
          tensor::layer_norm(s.machine->isa, x, norm.weight, norm.bias, x, width, eps);
        }
      });
      if (s.features) s.features->assign(s.x, s.x + int64_t{tokens} * width);
    });
  }

  void aligner() {
    const int hidden = hidden_;
    const size_t last = weights_.aligner.size() - 1;
    int which = 0;
    rows(weights_.aligner[0].w, longest(),
         [width = v_.width](SeeState& s, int64_t token, float*) { return s.x + token * width; });
    for (size_t i = 0; i < last; ++i) {
      which = between(weights_.aligner[i], weights_.aligner[i + 1].w, which);
    }
    plan_.add(0, [numbers = size_t(tokens_) * hidden](SeeState& s) { s.embeds->resize(numbers); });
    const DensePart& part = weights_.aligner[last];
    product(
        part.w,
        [&part, hidden](SeeState& s) {
          return tensor::DenseOut{s.embeds->data(), hidden, part.bias};
        },
        which);
  }

  void tap(std::string stage) {
    plan_.add(0, [stage = std::move(stage), tokens = tokens_, width = v_.width](SeeState& s) {
      if (s.machine->tap) s.machine->tap(stage, s.x, tokens, width);
    });
  }

  const format::JanusVision& v_;
  const VisionWeights& weights_;
  const int tokens_, threads_, hidden_;
  const bool tiles_;
  UnitPlan<SeeState>& plan_;
  SeeSizes& sizes_;
};

}  // namespace

uint64_t SeeSizes::bytes() const {
  using tensor::arena_bytes;
  return arena_bytes(x * 4) + arena_bytes(wide * 4) + arena_bytes(temporary * 4) +
         arena_bytes(rows_bytes[0]) + arena_bytes(rows_bytes[1]) + arena_bytes(attention_bytes);
}

SeeState::SeeState(PictureMachine& m, SpareMemory& home,
                   std::unique_ptr<tensor::Workspace> workspace, const SeeSizes& sizes)
    : machine(&m), memory(home, std::move(workspace)) {
  tensor::Workspace& work = *memory;
  x = work.take<float>(sizes.x);
  wide = work.take<float>(sizes.wide);
  temporary = work.take<float>(sizes.temporary);
  for (int i = 0; i < 2; ++i) rows[i] = work.take<uint8_t>(sizes.rows_bytes[i]);
  attention = work.take<uint8_t>(sizes.attention_bytes);
}

SeePlan::SeePlan(const PictureWeights& weights, int threads) {
  SeeBuilder(weights, threads, *this).build();
}

}  // namespace model
