#include "model/pictures_weights.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <string>

#include "tensor/dtype.h"

namespace model {
namespace {

using base::ErrorKind;
using base::Result;
using tensor::DenseForm;
using tensor::Dtype;

constexpr int64_t chunk_numbers = 1 << 18;  // read and packed at a time

// One tensor and its place. Exactly one of the destinations is set.
struct Item {
  const format::TensorInfo* tensor = nullptr;
  tensor::DenseMatrix* dense = nullptr;
  tensor::ConvMatrix* conv = nullptr;
  const float** vector = nullptr;
  int64_t numbers = 0;

  uint64_t bytes() const {
    if (dense) return tensor::dense_bytes(dense->form, dense->rows, dense->cols);
    if (conv) return tensor::conv_bytes(conv->dtype, conv->in, conv->out);
    return numbers * sizeof(float);
  }
  int64_t rows() const { return dense ? dense->rows : conv->out; }
  int64_t row_numbers() const { return dense ? dense->cols : int64_t{9} * conv->in; }
};

// Types that products widen on the way; others become f32 when they are read.
DenseForm plain_form(Dtype dtype) {
  if (dtype == Dtype::f16) return DenseForm::f16;
  return dtype == Dtype::bf16 ? DenseForm::bf16 : DenseForm::f32;
}
Dtype plain_type(Dtype dtype) {
  return dtype == Dtype::f16 || dtype == Dtype::bf16 ? dtype : Dtype::f32;
}

class PicturePlanner {
 public:
  PicturePlanner(const format::ModelFiles& files, bool exact, PictureWeights& weights)
      : files_(files), exact_(exact), weights_(weights) {}

  Result<std::vector<Item>> run() {
    TRY(vision());
    TRY(vq());
    return std::move(items_);
  }

 private:
  Result<const format::TensorInfo*> find(const std::string& name, int64_t numbers) {
    const format::TensorInfo* tensor = files_.find(name);
    uint64_t found = tensor ? 1 : 0;
    if (tensor) {
      for (const uint64_t length : tensor->shape) found *= length;
    }
    if (found != static_cast<uint64_t>(numbers)) {
      return base::fail(ErrorKind::invalid_input,
                        fmt::format("tensor {} is missing or has another size", name),
                        "the model's pictures are computed with it", "download the model again");
    }
    return tensor;
  }

  Result<void> vector(const std::string& name, int64_t numbers, const float*& place) {
    ASSIGN(const auto* tensor, find(name, numbers));
    items_.push_back({tensor, nullptr, nullptr, &place, numbers});
    return {};
  }
  Result<void> norm(const std::string& name, int width, NormPart& part) {
    TRY(vector(name + ".weight", width, part.weight));
    return vector(name + ".bias", width, part.bias);
  }
  // `rounded`: as words of 12 bits or for tiles, unless every bit counts.
  Result<void> dense(const std::string& name, int64_t rows, int64_t cols, bool rounded,
                     DensePart& part) {
    ASSIGN(const auto* tensor, find(name + ".weight", rows * cols));
    DenseForm form = plain_form(tensor->dtype);
    if (rounded && !exact_) form = weights_.tiles ? DenseForm::tiles : DenseForm::words;
    part.w = {form, rows, cols, nullptr};
    items_.push_back({tensor, &part.w, nullptr, nullptr, rows * cols});
    return vector(name + ".bias", rows, part.bias);
  }
  Result<void> conv(const std::string& name, int in, int out, ConvPart& part) {
    ASSIGN(const auto* tensor, find(name + ".weight", int64_t{9} * in * out));
    part.w = {plain_type(tensor->dtype), in, out, nullptr};
    items_.push_back({tensor, nullptr, &part.w, nullptr, int64_t{9} * in * out});
    return vector(name + ".bias", out, part.bias);
  }

  Result<void> vision() {
    const format::JanusVision& v = weights_.config.vision;
    VisionWeights& to = weights_.vision;
    to.layers.resize(v.layers);
    to.aligner.resize(v.aligner_layers);
    TRY(dense("vision.patch", v.width, int64_t{3} * v.patch * v.patch, true, to.patch));
    TRY(vector("vision.positions", int64_t{v.tokens()} * v.width, to.positions));
    for (int i = 0; i < v.layers; ++i) {
      const std::string at = fmt::format("vision.layers.{}.", i);
      VisionLayer& layer = to.layers[i];
      TRY(norm(at + "norm1", v.width, layer.norm1));
      TRY(dense(at + "qkv", int64_t{3} * v.width, v.width, true, layer.qkv));
      TRY(dense(at + "proj", v.width, v.width, true, layer.proj));
      TRY(norm(at + "norm2", v.width, layer.norm2));
      TRY(dense(at + "fc1", v.ffn, v.width, true, layer.fc1));
      TRY(dense(at + "fc2", v.width, v.ffn, true, layer.fc2));
    }
    TRY(norm("vision.norm", v.width, to.norm));
    for (int i = 0; i < v.aligner_layers; ++i) {
      TRY(dense(fmt::format("aligner.{}", i), weights_.hidden, i == 0 ? v.width : weights_.hidden,
                true, to.aligner[i]));
    }
    return {};
  }

  Result<void> res(const std::string& at, int in, int out, ResPart& part) {
    TRY(norm(at + ".norm1", in, part.norm1));
    TRY(conv(at + ".conv1", in, out, part.conv1));
    TRY(norm(at + ".norm2", out, part.norm2));
    TRY(conv(at + ".conv2", out, out, part.conv2));
    if (in == out) return {};
    return dense(at + ".shortcut", out, in, false, part.shortcut.emplace());
  }
  Result<void> attention(const std::string& at, int channels, AttentionPart& part) {
    TRY(norm(at + ".norm", channels, part.norm));
    TRY(dense(at + ".q", channels, channels, false, part.q));
    TRY(dense(at + ".k", channels, channels, false, part.k));
    TRY(dense(at + ".v", channels, channels, false, part.v));
    return dense(at + ".out", channels, channels, false, part.out);
  }
  Result<void> level(size_t i, int in, VqLevel& to) {
    const std::string at = fmt::format("vq.up.{}.", i);
    for (size_t block = 0; block < to.res.size(); ++block) {
      TRY(res(fmt::format("{}res.{}", at, block), block == 0 ? in : to.channels, to.channels,
              to.res[block]));
      if (to.attention.empty()) continue;
      TRY(attention(fmt::format("{}attn.{}", at, block), to.channels, to.attention[block]));
    }
    if (!to.upsample) return {};
    return conv(at + "upsample", to.channels, to.channels, *to.upsample);
  }

  Result<void> vq() {
    const format::JanusDrawing& d = weights_.config.drawing;
    VqWeights& to = weights_.vq;
    const size_t levels = d.multipliers.size();
    to.up.resize(levels);
    for (size_t i = 0; i < levels; ++i) {
      to.up[i].channels = d.channels * d.multipliers[levels - 1 - i];
      to.up[i].res.resize(d.res_blocks + 1);
      if (i == 0) to.up[i].attention.resize(d.res_blocks + 1);
      if (i + 1 < levels) to.up[i].upsample.emplace();
    }
    TRY(vector("vq.codebook.weight", int64_t{d.codes} * d.code_width, to.codebook));
    TRY(dense("vq.post_quant", d.latent, d.code_width, false, to.post_quant));
    int channels = to.up[0].channels;
    TRY(conv("vq.conv_in", d.latent, channels, to.conv_in));
    TRY(res("vq.mid.0", channels, channels, to.mid_first));
    TRY(attention("vq.mid.1", channels, to.mid_attention));
    TRY(res("vq.mid.2", channels, channels, to.mid_last));
    for (size_t i = 0; i < levels; ++i) {
      TRY(level(i, channels, to.up[i]));
      channels = to.up[i].channels;
    }
    TRY(norm("vq.norm_out", channels, to.norm_out));
    return conv("vq.conv_out", channels, 3, to.conv_out);
  }

  const format::ModelFiles& files_;
  const bool exact_;
  PictureWeights& weights_;
  std::vector<Item> items_;
};

class PictureReader {
 public:
  PictureReader(const format::ModelFiles& files, const PictureOptions& options)
      : files_(files), options_(options), buffers_(options.pool->threads()) {}

  Result<void> read(const std::vector<Item>& items, tensor::WeightArena& arena) {
    uint64_t total = 0, done = 0;
    for (const Item& item : items) total += item.tensor->bytes;
    for (const Item& item : items) {
      ASSIGN(uint8_t * memory, arena.allocate(item.bytes()));
      TRY(item.vector ? read_vector(item, memory) : read_rows(item, memory));
      done += item.tensor->bytes;
      const LoadOptions& load = options_.load;
      if (load.progress) load.progress(static_cast<double>(done) / static_cast<double>(total));
    }
    return {};
  }

 private:
  struct Buffer {
    std::vector<uint8_t> bytes;
    std::vector<float> numbers;
  };

  // Numbers first .. first + count - 1 of a tensor, whole blocks; in the buffer.
  Result<void> decode(const Item& item, int64_t first, int64_t count, Buffer& buffer) const {
    const Dtype dtype = item.tensor->dtype;
    buffer.bytes.resize(tensor::row_bytes(dtype, count));
    buffer.numbers.resize(count);
    TRY(files_.read(*item.tensor, tensor::row_bytes(dtype, first), buffer.bytes));
    tensor::decode_row(dtype, buffer.bytes.data(), buffer.numbers.data(), count);
    return {};
  }

  Result<void> read_vector(const Item& item, uint8_t* memory) {
    TRY(decode(item, 0, item.numbers, buffers_[0]));
    *item.vector = reinterpret_cast<const float*>(memory);
    std::copy(buffers_[0].numbers.begin(), buffers_[0].numbers.end(),
              reinterpret_cast<float*>(memory));
    return {};
  }

  Result<void> read_rows(const Item& item, uint8_t* memory) {
    (item.dense ? item.dense->data : item.conv->data) = memory;
    const int64_t panel_numbers = item.row_numbers() * tensor::dense_panel;
    const int64_t rows = std::max<int64_t>(1, chunk_numbers / panel_numbers) * tensor::dense_panel;
    std::mutex mutex;
    Result<void> outcome;
    std::atomic<bool> failed{false};
    options_.pool->run((item.rows() + rows - 1) / rows, 1, [&](int64_t begin, int64_t end, int t) {
      for (int64_t i = begin; i < end && !failed.load(std::memory_order_relaxed); ++i) {
        const int64_t first = i * rows, count = std::min(rows, item.rows() - first);
        Result<void> result = read_chunk(item, memory, first, count, buffers_[t]);
        if (result) continue;
        const std::lock_guard lock(mutex);
        if (!failed.exchange(true)) outcome = std::move(result);
      }
    });
    return outcome;
  }

  Result<void> read_chunk(const Item& item, uint8_t* memory, int64_t first, int64_t count,
                          Buffer& buffer) const {
    const std::atomic<bool>* cancel = options_.load.cancel;
    if (cancel && cancel->load(std::memory_order_relaxed)) {
      return base::fail(ErrorKind::interrupted, "loading was stopped");
    }
    TRY(decode(item, first * item.row_numbers(), count * item.row_numbers(), buffer));
    if (item.dense) {
      tensor::pack_dense(*item.dense, memory, first, count, buffer.numbers.data());
    } else {
      const int panels = static_cast<int>((count + tensor::dense_panel - 1) / tensor::dense_panel);
      tensor::pack_conv(*item.conv, memory, static_cast<int>(first / tensor::dense_panel), panels,
                        buffer.numbers.data());
    }
    return {};
  }

  const format::ModelFiles& files_;
  const PictureOptions& options_;
  std::vector<Buffer> buffers_;  // by thread
};

Result<std::vector<Item>> plan(const format::ModelFiles& files, const PictureOptions& options,
                               PictureWeights& weights) {
  ASSIGN(const format::ModelConfig config, files.config());
  if (!config.janus) {
    return base::fail(ErrorKind::unsupported, "the model neither sees nor draws",
                      fmt::format("its architecture is {}", config.architecture),
                      "take a Janus-Pro model for pictures");
  }
  weights.config = *config.janus;
  weights.hidden = config.hidden;
  weights.tiles = !options.exact && options.tiles.value_or(options.isa == tensor::Isa::amx);
  return PicturePlanner(files, options.exact, weights).run();
}

uint64_t arena_bytes_of(const std::vector<Item>& items) {
  uint64_t bytes = 0;
  for (const Item& item : items) bytes += tensor::arena_bytes(item.bytes());
  return bytes;
}

// Each row to length 1, as the decoder was trained on it.
void normalise_rows(float* rows, int64_t count, int width) {
  for (int64_t r = 0; r < count; ++r) {
    float* row = rows + r * width;
    double squares = 0;
    for (int i = 0; i < width; ++i) squares += double(row[i]) * row[i];
    const double length = std::max(std::sqrt(squares), 1e-12);
    for (int i = 0; i < width; ++i) row[i] = static_cast<float>(row[i] / length);
  }
}

}  // namespace

Result<PictureShapes> picture_shapes(const format::ModelFiles& files,
                                     const PictureOptions& options) {
  PictureShapes shapes;
  ASSIGN(const std::vector<Item> items, plan(files, options, shapes.weights));
  shapes.bytes = arena_bytes_of(items);
  return shapes;
}

Result<PictureWeights> load_pictures(const format::ModelFiles& files,
                                     const PictureOptions& options) {
  PictureWeights weights;
  ASSIGN(const std::vector<Item> items, plan(files, options, weights));
  ASSIGN(weights.arena, tensor::WeightArena::create(arena_bytes_of(items)));
  TRY(PictureReader(files, options).read(items, weights.arena));
  const format::JanusDrawing& d = weights.config.drawing;
  normalise_rows(const_cast<float*>(weights.vq.codebook), d.codes, d.code_width);
  return weights;
}

}  // namespace model
