#include "model/loader.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <vector>

#include "model/expert_cache.h"
#include "model/weight_reader.h"
#include "tensor/dtype.h"

namespace model {
namespace {

using base::ErrorKind;
using base::Result;

uint64_t arena_bytes_of(const std::vector<WeightItem>& items) {
  uint64_t total = 0;
  for (const WeightItem& item : items) total += tensor::arena_bytes(item.bytes);
  return total;
}

class Reader {
 public:
  Reader(const format::ModelFiles& files, const LoadOptions& options, base::Pool& pool)
      : files_(files), options_(options), pool_(pool), buffers_(pool.threads()) {}

  Result<void> read(const std::vector<WeightItem>& items, tensor::WeightArena& arena) {
    for (const WeightItem& item : items) total_bytes_ += item.tensor->bytes;
    for (const WeightItem& item : items) {
      ASSIGN(uint8_t * memory, arena.allocate(item.bytes));
      if (item.matrices) {
        for (int m = 0; m < item.count; ++m) {
          item.matrices[m] = {item.dtype, item.rows, item.cols, memory + m * item.matrix_bytes};
        }
        TRY(item.transposed ? turn_matrices(item, memory) : read_matrices(item, memory));
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
  // Several threads at once.
  Result<void> read_matrices(const WeightItem& item, uint8_t* memory) {
    const int64_t chunks = chunk_count(item);  // of one matrix
    return each_chunk(chunks * item.count, [&](int64_t i, int thread) -> Result<void> {
      const int64_t m = i / chunks;
      TRY(read_chunk(files_, item, m, i % chunks, memory + m * item.matrix_bytes,
                     buffers_[thread]));
      if (thread == 0) report(item.tensor->bytes * (i + 1) / (chunks * item.count));
      return {};
    });
  }

  Result<void> turn_matrices(const WeightItem& item, uint8_t* memory) {
    const int64_t row = tensor::row_bytes(item.tensor->dtype, item.source_cols());
    return each_chunk(item.count, [&](int64_t m, int thread) -> Result<void> {
      ASSIGN(const uint8_t* rows,
             read_rows(files_, item, m, 0, item.source_rows(), buffers_[thread]));
      std::vector<float> numbers(item.rows * item.cols), line(item.source_cols());
      for (int64_t r = 0; r < item.source_rows(); ++r) {
        tensor::decode_row(item.tensor->dtype, rows + r * row, line.data(), item.source_cols());
        for (int64_t i = 0; i < item.source_cols(); ++i) numbers[i * item.cols + r] = line[i];
      }
      const std::vector<uint8_t> encoded = encode(item.dtype, numbers);
      tensor::pack_rows(item.matrices[m], memory + m * item.matrix_bytes, 0, encoded.data(),
                        item.rows);
      return {};
    });
  }

  // Element types only. Numbers that came from `dtype` come out as they were.
  static std::vector<uint8_t> encode(tensor::Dtype dtype, const std::vector<float>& numbers) {
    const bool wide = dtype == tensor::Dtype::f32;
    std::vector<uint8_t> bytes(numbers.size() * (wide ? 4 : 2));
    if (wide) std::memcpy(bytes.data(), numbers.data(), bytes.size());
    for (size_t i = 0; !wide && i < numbers.size(); ++i) {
      const uint16_t bits = dtype == tensor::Dtype::f16 ? tensor::f32_to_f16(numbers[i])
                                                        : tensor::f32_to_bf16(numbers[i]);
      std::memcpy(&bytes[i * 2], &bits, 2);
    }
    return bytes;
  }

  Result<void> read_table(const WeightItem& item, uint8_t* memory) {
    const int64_t bytes = item.bytes;
    return each_chunk((bytes + chunk_bytes - 1) / chunk_bytes,
                      [&](int64_t i, int thread) -> Result<void> {
                        const int64_t first = i * chunk_bytes;
                        const int64_t count = std::min(chunk_bytes, bytes - first);
                        TRY(files_.read(*item.tensor, first, {memory + first, size_t(count)}));
                        if (thread == 0) report(first + count);
                        return {};
                      });
  }

  Result<void> read_vector(const WeightItem& item, float* memory) {
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

Result<WeightSizes> weight_sizes(const format::ModelFiles& files, const Config& config,
                                 const WeightOptions& options) {
  Weights unused;
  ASSIGN(const std::vector<WeightItem> items, plan_weights(files, config, options, unused));
  WeightSizes sizes;
  for (const WeightItem& item : items) {
    sizes.total_bytes += tensor::arena_bytes(item.bytes);
    if (item.expert_layer < 0) {
      if (item.matrices) sizes.decoded_bytes += item.bytes;
      continue;
    }
    sizes.expert_bytes += tensor::arena_bytes(item.bytes);
    sizes.experts = item.count;
    sizes.place_bytes += tensor::arena_bytes(item.matrix_bytes);
    sizes.place_file_bytes += item.tensor->bytes / item.count;
  }
  return sizes;
}

Result<Weights> load_weights(const format::ModelFiles& files, const Config& config,
                             const WeightOptions& options, int expert_places,
                             const LoadOptions& load, base::Pool& pool) {
  Weights weights;
  ASSIGN(std::vector<WeightItem> items, plan_weights(files, config, options, weights));
  std::vector<WeightItem> experts;
  if (expert_places > 0) {
    const auto first = std::stable_partition(
        items.begin(), items.end(), [](const WeightItem& item) { return item.expert_layer < 0; });
    experts.assign(first, items.end());
    items.erase(first, items.end());
  }
  ASSIGN(weights.arena, tensor::WeightArena::create(arena_bytes_of(items)));
  TRY(Reader(files, load, pool).read(items, weights.arena));
  if (!experts.empty()) {
    ASSIGN(weights.expert_cache, ExpertCache::create(files, experts, expert_places));
  }
  return weights;
}

}  // namespace model
