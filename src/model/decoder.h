// Decoder: the dense decoders (Llama, Qwen2, Qwen3) on this machine's cores. A step takes ids of
// any number of sequences and runs them through every layer together:
//
//   x = embedding[id]
//   each layer: q, k, v = W norm(x) (+ bias); (Qwen3: norm of each head); rope; k, v -> cache
//               x += Wo attention(q);  x += Wdown(silu(Wgate norm(x)) * Wup norm(x))
//   logits = head norm(x)
//
// One thread owns it; the pool's workers are borrowed for the length of a step. Nothing is
// allocated in a step once the largest batch has been seen.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "base/pool.h"
#include "model/kv_pool.h"
#include "model/loader.h"
#include "model/memory.h"
#include "model/rope.h"
#include "model/runner.h"
#include "model/weights.h"
#include "tensor/attention.h"
#include "tensor/workspace.h"

namespace model {

inline constexpr int head_dim_max = 512;

struct RunnerOptions {
  base::Pool* pool = nullptr;  // outlives the runner
  tensor::Isa isa = tensor::Isa::scalar;
  tensor::Precision precision = tensor::Precision::int8;
  std::optional<tensor::Dtype> kv_dtype;  // f32, f16, bf16; absent: f16, or f32 in exact mode
  int kv_pages = 0;                       // of page_tokens positions, at least 1
  int batch_tokens_max = 512;
  int context_tokens_max = 0;     // longest sequence; 0: what the file declares
  uint64_t memory_bytes_max = 0;  // refuse to load beyond; 0: what the machine has available
  LoadOptions load;
};

class Decoder final : public ModelRunner {
 public:
  // What load() would take, from the headers alone.
  static base::Result<MemoryPlan> plan(const format::ModelFiles& files,
                                       const RunnerOptions& options);
  static base::Result<std::unique_ptr<Decoder>> load(const format::ModelFiles& files,
                                                     const RunnerOptions& options);

  const ModelInfo& info() const override { return info_; }
  KvLayout kv_layout() const override { return kv_layout_; }
  KvPool& kv_pool() override { return *kv_; }
  int batch_tokens_max() const override { return options_.batch_tokens_max; }
  base::Result<void> forward(std::span<Segment> segments, Logits& logits) override;

  // For tests: called with the residual stream (rows, hidden) before the first layer (-1) and after
  // each layer. While set, the last layer computes every row and all rows get logits.
  using Tap = std::function<void(int layer, const float* x, int rows)>;
  void set_tap(Tap tap) { tap_ = std::move(tap); }

 private:
  struct Batch;
  class Step;

  Decoder() = default;
  base::Result<void> check(std::span<const Segment> segments) const;

  Config config_;
  RunnerOptions options_;
  ModelInfo info_;
  Rope rope_;
  Weights weights_;
  KvLayout kv_layout_;
  tensor::AttentionShape attention_;
  std::unique_ptr<PagedKv> kv_;
  std::optional<tensor::Workspace> workspace_;
  std::optional<tensor::AttentionScratch> attention_scratch_;
  std::vector<const uint8_t*> pages_;  // of all segments of a step
  Tap tap_;
};

// The runner for a model file: the door of this module.
base::Result<std::unique_ptr<ModelRunner>> make_runner(const format::ModelFiles& files,
                                                       const RunnerOptions& options);

}  // namespace model
