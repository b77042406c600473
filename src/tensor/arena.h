// WeightArena: the memory of a model's weights, one anonymous mapping of a size known before.
// Weights are READ into it and packed once: a mapped file gets no huge pages, an anonymous one
// does (2 MiB alignment, MADV_HUGEPAGE), and decoding streams all of it for every token. Fresh
// memory is zero. allocate() is for the one thread that loads; the memory may be filled and read
// from any. Freed as a whole.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"

namespace tensor {

class WeightArena {
 public:
  // Kernels prefetch up to this far past what they read.
  static constexpr uint64_t slack_bytes = 32 << 10;
  static constexpr uint64_t alignment_bytes = 64;

  // Fails with out_of_memory when the machine refuses the address space.
  static base::Result<WeightArena> create(uint64_t bytes);
  WeightArena() = default;
  WeightArena(WeightArena&& other) noexcept;
  WeightArena& operator=(WeightArena&& other) noexcept;
  ~WeightArena();

  // `bytes` more, 64-byte aligned; fails when they do not fit in what create() was given.
  base::Result<uint8_t*> allocate(uint64_t bytes);
  // Takes all of it from the machine now, rather than page by page as it is used.
  void reserve();
  uint64_t used_bytes() const { return used_bytes_; }
  uint64_t capacity_bytes() const { return capacity_bytes_; }

 private:
  uint8_t* base_ = nullptr;
  void* mapping_ = nullptr;
  uint64_t mapping_bytes_ = 0;
  uint64_t capacity_bytes_ = 0;
  uint64_t used_bytes_ = 0;
};

// What `bytes` take of an arena, for summing up before create().
constexpr uint64_t arena_bytes(uint64_t bytes) {
  return (bytes + WeightArena::alignment_bytes - 1) / WeightArena::alignment_bytes *
         WeightArena::alignment_bytes;
}

}  // namespace tensor
