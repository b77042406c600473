// Loading: the weights of a model file into one arena, packed as they are read. The memory is
// known from the headers alone (weight_bytes) before anything is allocated.
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

// Arena bytes that load_weights() will fill. Fails if a tensor is absent or has another shape than
// the configuration asks for, or a type that cannot be computed with.
base::Result<uint64_t> weight_bytes(const format::ModelFiles& files, const Config& config,
                                    const WeightOptions& weights);

base::Result<Weights> load_weights(const format::ModelFiles& files, const Config& config,
                                   const WeightOptions& weights, const LoadOptions& options,
                                   base::Pool& pool);

}  // namespace model
