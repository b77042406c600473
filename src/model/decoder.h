// Decoder: the decoders of text (Llama, Qwen2, Qwen3, DeepSeek, Janus) on this machine's cores. A
// step takes ids of any number of sequences and runs them through every layer together:
//
//   x = embedding[id]
//   each layer: x += Wo attention(norm(x));  x += feed forward(norm(x))
//   logits = head norm(x)
//
//   attention     heads with keys and values of their own (step_dense.cc), or one latent row a
//                 position that all heads share (DeepSeek's MLA, step_latent.cc)
//   feed forward  Wdown(silu(Wgate x) * Wup x), and in a layer with experts the sum of those that
//                 the row chose (step_experts.cc)
//
// Janus: a row may also be what a picture shows, or an image code, and logits may be those of the
// next code (step_codes.cc).
//
// One thread owns it; the pool's workers are borrowed for the length of a step. Nothing is
// allocated in a step once the largest batch has been seen.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "base/pool.h"
#include "model/expert_cache.h"
#include "model/loader.h"
#include "model/memory.h"
#include "model/routing.h"
#include "model/runner.h"
#include "tensor/linear.h"

namespace model {

inline constexpr int head_dim_max = 512;
inline constexpr int latent_max = 4096;  // numbers of a position's latent

struct RunnerOptions {
  base::Pool* pool = nullptr;  // outlives the runner
  tensor::Isa isa = tensor::Isa::scalar;
  tensor::Precision precision = tensor::Precision::int8;
  std::optional<tensor::Dtype> kv_dtype;  // f32, f16, bf16; absent: f16, or f32 in exact mode
  int kv_pages = 0;                       // of page_tokens positions, at least 1
  int batch_tokens_max = 512;
  int context_tokens_max = 0;     // longest sequence; 0: what the file declares
  uint64_t memory_bytes_max = 0;  // refuse to load beyond; 0: what the machine has available
  uint64_t program_bytes = 0;     // what the process takes besides, counted in the plan
  bool mtp = false;               // load the layer that predicts one id more, if the file has it
  // Of a model whose weights do not fit in memory_bytes_max: whether its experts may stay on disk
  // (then `files` must outlive the runner), and for how many of each layer there is a place; 0: for
  // as many as fit, none if all do.
  bool experts_on_disk = true;
  int expert_places = 0;
  LoadOptions load;
};

struct Parts;

class Decoder final : public ModelRunner {
 public:
  // What load() would take, from the headers alone. memory_bytes_max 0 is no limit here.
  static base::Result<MemoryPlan> plan(const format::ModelFiles& files,
                                       const RunnerOptions& options);
  static base::Result<std::unique_ptr<Decoder>> load(const format::ModelFiles& files,
                                                     const RunnerOptions& options);
  ~Decoder() override;

  const ModelInfo& info() const override;
  KvLayout kv_layout() const override;
  KvPool& kv_pool() override;
  int batch_tokens_max() const override;
  base::Result<void> forward(std::span<Segment> segments, Logits& logits) override;
  base::Result<void> draft(std::span<Segment> segments, Logits& logits) override;

  // For tests: called with the residual stream (rows, hidden) before the first layer (-1) and after
  // each layer. While set, the last layer computes every row and all rows get logits.
  using Tap = std::function<void(int layer, const float* x, int rows)>;
  void set_tap(Tap tap);
  // For tests: which experts the rows of a layer chose, (rows, experts_used), the best first.
  using RoutingTap = std::function<void(int layer, std::span<const Route> routes)>;
  void set_routing_tap(RoutingTap tap);
  // With experts on disk: how often steps used one, and read it for that.
  ExpertCache::Counts expert_counts() const;
  // For tests: kv_layout().page_bytes() bytes.
  const uint8_t* page_for_test(PageId page) const;

 private:
  Decoder();
  base::Result<void> check(std::span<const Segment> segments) const;
  base::Result<void> check_inputs(const Segment& segment) const;

  std::unique_ptr<Parts> parts_;
};

// The runner for a model file: the door of this module.
base::Result<std::unique_ptr<ModelRunner>> make_runner(const format::ModelFiles& files,
                                                       const RunnerOptions& options);

}  // namespace model
