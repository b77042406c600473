// Loading: the weights of a model file into one arena, packed as they are read. The memory is
// known from the headers alone (weight_sizes) before anything is allocated.
#pragma once

#include <atomic>
#include <functional>

#include "base/pool.h"
#include "base/result.h"
#include "format/model_files.h"
#include "model/weights.h"

namespace model {

struct LoadOptions {
  // Called on the loading thread with the fraction read, 0 to 1, many times. May be empty.
  std::function<void(double fraction)> progress;
  // Set from another thread: load() ends soon with ErrorKind::interrupted. May be null.
  const std::atomic<bool>* cancel = nullptr;
};

struct WeightOptions {
  bool exact = false;  // copies made when loading keep every bit
  bool mtp = false;    // the layer that predicts the token after next, if there is one
};

// What the weights take in memory.
struct WeightSizes {
  uint64_t total_bytes = 0;
  uint64_t expert_bytes = 0;      // of them, the experts that rows choose from
  int experts = 0;                // of each layer that has some
  uint64_t place_bytes = 0;       // one expert of every such layer
  uint64_t place_file_bytes = 0;  // the same in the file
  uint64_t decoded_bytes = 0;     // matrices outside of experts: what every token is computed with
  uint64_t resident_bytes() const { return total_bytes - expert_bytes; }
};

// From the headers alone. Fails if a tensor is absent or has another shape than the configuration
// asks for, or a type that cannot be computed with.
base::Result<WeightSizes> weight_sizes(const format::ModelFiles& files, const Config& config,
                                       const WeightOptions& weights);

// With expert_places > 0 the experts stay in the files, which must outlive the weights: each layer
// that has experts keeps so many of them (see ExpertCache).
base::Result<Weights> load_weights(const format::ModelFiles& files, const Config& config,
                                   const WeightOptions& weights, int expert_places,
                                   const LoadOptions& options, base::Pool& pool);

}  // namespace model
