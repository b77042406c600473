// Workspace: the scratch memory of a forward pass. Sized once from limits and had of the machine at
// once; taking is moving a pointer, and a Mark gives everything back that was taken since. One
// thread owns it (the workers of a pool may use what it handed out). Asking for more than there is
// is our own bug: whoever sizes it knows the largest batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/check.h"
#include "base/result.h"
#include "tensor/arena.h"

namespace tensor {

class Workspace {
 public:
  static base::Result<Workspace> create(uint64_t bytes) {
    ASSIGN(WeightArena memory, WeightArena::create(bytes));
    ASSIGN(uint8_t * base, memory.allocate(bytes));
    memory.reserve();
    Workspace workspace;
    workspace.base_ = base;
    workspace.capacity_bytes_ = memory.capacity_bytes();
    workspace.memory_ = std::move(memory);
    return workspace;
  }

  // `count` elements, 64-byte aligned, not initialised.
  template <class T>
  requires std::is_trivially_copyable_v<T> T* take(uint64_t count) {
    CHECK(count <= (capacity_bytes_ - used_bytes_) / sizeof(T),
          "the workspace was sized for the largest batch");
    const uint64_t bytes = arena_bytes(count * sizeof(T));
    CHECK(bytes <= capacity_bytes_ - used_bytes_, "the workspace was sized for the largest batch");
    void* taken = base_ + used_bytes_;
    used_bytes_ += bytes;
    if (used_bytes_ > peak_bytes_) peak_bytes_ = used_bytes_;
    return static_cast<T*>(taken);
  }

  // Everything taken after a Mark was made is given back when it goes.
  class Mark {
   public:
    explicit Mark(Workspace& workspace) : workspace_(workspace), used_(workspace.used_bytes_) {}
    ~Mark() { workspace_.used_bytes_ = used_; }
    Mark(const Mark&) = delete;
    Mark& operator=(const Mark&) = delete;

   private:
    Workspace& workspace_;
    uint64_t used_;
  };

  uint64_t capacity_bytes() const { return capacity_bytes_; }
  uint64_t used_bytes() const { return used_bytes_; }
  uint64_t peak_bytes() const { return peak_bytes_; }

 private:
  WeightArena memory_;
  uint8_t* base_ = nullptr;
  uint64_t capacity_bytes_ = 0;
  uint64_t used_bytes_ = 0;
  uint64_t peak_bytes_ = 0;
};

}  // namespace tensor
