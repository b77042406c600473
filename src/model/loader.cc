#include "model/loader.h"

#include <algorithm>
#include <fmt/format.h>
#include <mutex>
#include <string>
#include <vector>

#include "tensor/dtype.h"

namespace model {
namespace {

using base::ErrorKind;
using base::Result;
using format::TensorInfo;

constexpr int64_t read_bytes = 1 << 20;  // at a time and thread

// One tensor to load and where its view goes. Exactly one of the three destinations is set.
struct Item {
  const TensorInfo* tensor;
  int64_t rows, cols;
  tensor::PackedMatrix* matrix = nullptr;  // packed
  const float** vector = nullptr;          // decoded to f32
  const uint8_t** table = nullptr;         // file rows as they are
  uint64_t bytes = 0;                      // in the arena
};

std::string shape_text(const std::vector<uint64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

// Walks the decoder's tensors in the order in which a step reads them.
class Plan {
 public:
  Plan(const format::ModelFiles& files, const Config& config, Weights& weights)
      : files_(files), config_(config), weights_(weights) {}

  Result<std::vector<Item>> make() {
    const Config& c = config_;
    weights_.layers.resize(c.layers);
    for (int i = 0; i < c.layers; ++i) TRY(layer(i, weights_.layers[i]));
    TRY(vector("model.norm.weight", c.hidden, weights_.final_norm));
    if (c.tied_head) {
      TRY(matrix("model.embed_tokens.weight", c.vocab, c.hidden, weights_.head));
    } else {
      TRY(matrix("lm_head.weight", c.vocab, c.hidden, weights_.head));
      TRY(table("model.embed_tokens.weight", c.vocab, c.hidden));
    }
    return std::move(items_);
  }

 private:
  Result<void> layer(int index, LayerWeights& w) {
    const Config& c = config_;
    const int64_t q_rows = int64_t{c.heads} * c.head_dim,
                  kv_rows = int64_t{c.kv_heads} * c.head_dim;
    const std::string at = fmt::format("model.layers.{}.", index);
    TRY(vector(at + "input_layernorm.weight", c.hidden, w.attention_norm));
    TRY(matrix(at + "self_attn.q_proj.weight", q_rows, c.hidden, w.q));
    TRY(matrix(at + "self_attn.k_proj.weight", kv_rows, c.hidden, w.k));
    TRY(matrix(at + "self_attn.v_proj.weight", kv_rows, c.hidden, w.v));
    if (c.qkv_bias) {
      TRY(vector(at + "self_attn.q_proj.bias", q_rows, w.q_bias));
      TRY(vector(at + "self_attn.k_proj.bias", kv_rows, w.k_bias));
      TRY(vector(at + "self_attn.v_proj.bias", kv_rows, w.v_bias));
    }
    if (c.qk_norm) {
      TRY(vector(at + "self_attn.q_norm.weight", c.head_dim, w.q_norm));
      TRY(vector(at + "self_attn.k_norm.weight", c.head_dim, w.k_norm));
    }
    TRY(matrix(at + "self_attn.o_proj.weight", c.hidden, q_rows, w.o));
    TRY(vector(at + "post_attention_layernorm.weight", c.hidden, w.ffn_norm));
    TRY(matrix(at + "mlp.gate_proj.weight", c.ffn, c.hidden, w.gate));
    TRY(matrix(at + "mlp.up_proj.weight", c.ffn, c.hidden, w.up));
    TRY(matrix(at + "mlp.down_proj.weight", c.hidden, c.ffn, w.down));
    return {};
  }

  Result<Item> find(const std::string& name, int64_t rows, int64_t cols, bool is_vector) {
    const TensorInfo* tensor = files_.find(name);
    if (!tensor) {
      return base::fail(ErrorKind::invalid_input, fmt::format("the model has no tensor {}", name),
                        "its configuration says that it must have one",
                        "download the file again; it may be cut short or of another family");
    }
    std::vector<uint64_t> expected{static_cast<uint64_t>(rows), static_cast<uint64_t>(cols)};
    if (is_vector) expected.erase(expected.begin());
    if (tensor->shape != expected) {
      return base::fail(
          ErrorKind::invalid_input,
          fmt::format("tensor {} has the shape {}", base::shown_name(tensor->file_name_of_tensor),
                      shape_text(tensor->shape)),
          fmt::format("the configuration asks for {}", shape_text(expected)));
    }
    const tensor::DtypeInfo& type = tensor::info(tensor->dtype);
    if (!type.dequantizable || cols % type.block_elements != 0) {
      return base::fail(ErrorKind::unsupported,
                        fmt::format("tensor {} has the type {}, {} numbers a row",
                                    base::shown_name(tensor->file_name_of_tensor), type.name, cols),
                        "this program cannot compute with that", "use another quantisation");
    }
    if (tensor->bytes != rows * tensor::row_bytes(tensor->dtype, cols)) {
      return base::fail(ErrorKind::invalid_input,
                        fmt::format("tensor {} has {} bytes",
                                    base::shown_name(tensor->file_name_of_tensor), tensor->bytes),
                        "its type and shape need another number");
    }
    return Item{tensor, rows, cols};
  }

  Result<void> matrix(const std::string& name, int64_t rows, int64_t cols,
                      tensor::PackedMatrix& to) {
    ASSIGN(Item item, find(name, rows, cols, false));
    item.matrix = &to;
    item.bytes = tensor::packed_bytes(item.tensor->dtype, rows, cols);
    items_.push_back(item);
    return {};
  }
  Result<void> vector(const std::string& name, int64_t size, const float*& to) {
    ASSIGN(Item item, find(name, 1, size, true));
    item.vector = &to;
    item.bytes = size * sizeof(float);
    items_.push_back(item);
    return {};
  }
  Result<void> table(const std::string& name, int64_t rows, int64_t cols) {
    ASSIGN(Item item, find(name, rows, cols, false));
    weights_.embedding_dtype = item.tensor->dtype;
    item.table = &weights_.embedding_rows;
    item.bytes = item.tensor->bytes;
    items_.push_back(item);
    return {};
  }

  const format::ModelFiles& files_;
  const Config& config_;
  Weights& weights_;
  std::vector<Item> items_;
};

uint64_t arena_bytes_of(const std::vector<Item>& items) {
  uint64_t total = 0;
  for (const Item& item : items) total += tensor::arena_bytes(item.bytes);
  return total;
}

class Reader {
 public:
  Reader(const format::ModelFiles& files, const LoadOptions& options, base::Pool& pool)
      : files_(files), options_(options), pool_(pool), buffers_(pool.threads()) {}

  Result<void> read(const std::vector<Item>& items, tensor::WeightArena& arena) {
    for (const Item& item : items) total_bytes_ += item.tensor->bytes;
    for (const Item& item : items) {
      ASSIGN(uint8_t * memory, arena.allocate(item.bytes));
      if (item.matrix) {
        *item.matrix = {item.tensor->dtype, item.rows, item.cols, memory};
        TRY(read_matrix(item, memory));
      } else if (item.table) {
        *item.table = memory;
        TRY(read_table(item, memory));
      } else {
        *item.vector = reinterpret_cast<const float*>(memory);
        TRY(read_vector(item, reinterpret_cast<float*>(memory)));
      }
      done_bytes_ += item.tensor->bytes;
      report(0);
    }
    return {};
  }

 private:
  // Rows are read and packed by whole panels, several threads at once.
  Result<void> read_matrix(const Item& item, uint8_t* memory) {
    const int64_t row = tensor::row_bytes(item.tensor->dtype, item.cols);
    const int64_t chunk =
        std::max<int64_t>(1, read_bytes / row / tensor::panel_rows) * tensor::panel_rows;
    return each_chunk((item.rows + chunk - 1) / chunk, [&](int64_t i, int thread) -> Result<void> {
      const int64_t first = i * chunk, count = std::min(chunk, item.rows - first);
      std::vector<uint8_t>& buffer = buffers_[thread];
      if (static_cast<int64_t>(buffer.size()) < chunk * row) buffer.resize(chunk * row);
      TRY(files_.read(*item.tensor, first * row, {buffer.data(), size_t(count * row)}));
      tensor::pack_rows(*item.matrix, memory, first, buffer.data(), count);
      if (thread == 0) report((first + count) * row);
      return {};
    });
  }

  Result<void> read_table(const Item& item, uint8_t* memory) {
    const int64_t bytes = item.bytes;
    return each_chunk((bytes + read_bytes - 1) / read_bytes,
                      [&](int64_t i, int thread) -> Result<void> {
                        const int64_t first = i * read_bytes;
                        const int64_t count = std::min(read_bytes, bytes - first);
                        TRY(files_.read(*item.tensor, first, {memory + first, size_t(count)}));
                        if (thread == 0) report(first + count);
                        return {};
                      });
  }

  Result<void> read_vector(const Item& item, float* memory) {
    std::vector<uint8_t>& buffer = buffers_[0];
    if (buffer.size() < item.tensor->bytes) buffer.resize(item.tensor->bytes);
    TRY(files_.read(*item.tensor, 0, {buffer.data(), item.tensor->bytes}));
    tensor::decode_row(item.tensor->dtype, buffer.data(), memory, item.cols);
    return {};
  }

  // Runs work(chunk, thread) over the pool until all are done or one fails; the first error wins.
  Result<void> each_chunk(int64_t chunks, base::FunctionRef<Result<void>(int64_t, int)> work) {
    std::mutex mutex;
    std::atomic<bool> failed{false};
    Result<void> outcome;
    pool_.run(chunks, 1, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t i = begin; i < end && !failed.load(std::memory_order_relaxed); ++i) {
        Result<void> result = cancelled() ? stopped() : work(i, thread);
        if (result) continue;
        const std::lock_guard lock(mutex);
        if (!failed.exchange(true)) outcome = std::move(result);
      }
    });
    return outcome;
  }

  bool cancelled() const {
    return options_.cancel && options_.cancel->load(std::memory_order_relaxed);
  }
  static Result<void> stopped() {
    return base::fail(ErrorKind::interrupted, "loading was stopped");
  }

  // On the loading thread; `ahead` bytes of the tensor at work are in, roughly.
  void report(int64_t ahead) {
    if (options_.progress) {
      options_.progress(static_cast<double>(done_bytes_ + ahead) /
                        static_cast<double>(total_bytes_));
    }
  }

  const format::ModelFiles& files_;
  const LoadOptions& options_;
  base::Pool& pool_;
  std::vector<std::vector<uint8_t>> buffers_;  // by thread
  uint64_t total_bytes_ = 0, done_bytes_ = 0;
};

}  // namespace

Result<uint64_t> weight_bytes(const format::ModelFiles& files, const Config& config) {
  Weights unused;
  ASSIGN(const std::vector<Item> items, Plan(files, config, unused).make());
  return arena_bytes_of(items);
}

Result<Weights> load_weights(const format::ModelFiles& files, const Config& config,
                             const LoadOptions& options, base::Pool& pool) {
  Weights weights;
  ASSIGN(const std::vector<Item> items, Plan(files, config, weights).make());
  ASSIGN(weights.arena, tensor::WeightArena::create(arena_bytes_of(items)));
  TRY(Reader(files, options, pool).read(items, weights.arena));
  return weights;
}

}  // namespace model
