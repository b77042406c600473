// What a model will take of the machine's memory, known before a byte of it is read.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace model {

struct MemoryPlan {
  uint64_t weight_bytes = 0;  // in memory; with experts on disk: those that have a place, too
  uint64_t kv_bytes = 0;
  uint64_t workspace_bytes = 0;
  uint64_t program_bytes = 0;  // the program itself and its vocabularies
  uint64_t picture_bytes = 0;  // what a model that sees and draws has besides; filled by the owner
  // Set where the weights are larger than the memory: so many of each layer's experts have a place
  // in it, the others are read when a token chooses them.
  int expert_places = 0;
  int experts = 0;                 // of each layer that has some
  uint64_t expert_file_bytes = 0;  // of one expert of every layer, as the file has them
  uint64_t total_bytes() const {
    return weight_bytes + kv_bytes + workspace_bytes + program_bytes + picture_bytes;
  }
  uint64_t disk_bytes() const { return expert_file_bytes * (experts - expert_places); }
};

// What this process may still take: the kernel's estimate, and the room in its control groups.
// 0 when neither can be read.
uint64_t available_memory_bytes();

// What this process has of it now. 0 when it cannot be read.
uint64_t resident_memory_bytes();

// "1234 MiB of memory: weights 1000 MiB, key/value cache 170 MiB, work space 24 MiB, program 40
// MiB".
std::string memory_text(const MemoryPlan& plan);

// out_of_memory with the numbers when `plan` needs more than `available_bytes`.
base::Result<void> check_memory(const MemoryPlan& plan, uint64_t available_bytes);

}  // namespace model
