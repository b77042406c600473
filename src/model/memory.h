// What a model will take of the machine's memory, known before a byte of it is read.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace model {

struct MemoryPlan {
  uint64_t weight_bytes = 0;
  uint64_t kv_bytes = 0;
  uint64_t workspace_bytes = 0;
  uint64_t total_bytes() const { return weight_bytes + kv_bytes + workspace_bytes; }
};

// What this process may still take: the kernel's estimate, and the room in its control groups.
// 0 when neither can be read.
uint64_t available_memory_bytes();

// out_of_memory with the numbers when `plan` needs more than `available_bytes`.
base::Result<void> check_memory(const MemoryPlan& plan, uint64_t available_bytes);

}  // namespace model
