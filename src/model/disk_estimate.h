// How fast a model will be whose experts stay on disk: measured on this machine before it is
// loaded, by reading some of them and computing with them as a step does.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/clock.h"
#include "base/result.h"
#include "format/model_files.h"
#include "model/decoder.h"

namespace model {

struct DiskEstimate {
  double disk_bytes_per_s = 0;    // of experts at random places, read and packed
  double memory_bytes_per_s = 0;  // of weights in memory, computed with
  double disk_bytes_per_token = 0;
  double memory_bytes_per_token = 0;
  // Of them, those that no reading goes on beside: what is no expert, and the last one of a layer.
  double alone_bytes_per_token = 0;

  // Of one stream that decodes, once the places are filled: the experts in memory are computed with
  // while others are read. Tokens are thought to choose nearly evenly among the experts; a model
  // whose tokens have favourites is faster.
  double tokens_per_s() const {
    const double reading_s = disk_bytes_per_token / disk_bytes_per_s;
    return 1 / std::max(reading_s + alone_bytes_per_token / memory_bytes_per_s,
                        memory_bytes_per_token / memory_bytes_per_s);
  }
};

// `plan` has expert_places. Takes about as long as `measured_ms_max` and a little memory. Shared
// disks give bursts: over half a second the same disk read 0.6 to 1.4 times what an answer then
// got.
inline constexpr int64_t measured_ms_max = 2'000;
base::Result<DiskEstimate> estimate_from_disk(const format::ModelFiles& files,
                                              const RunnerOptions& options, const MemoryPlan& plan,
                                              const base::Clock& clock);

}  // namespace model
