#include "tensor/arena.h"

#include <cerrno>
#include <cstring>
#include <sys/mman.h>
#include <utility>

#include "base/bytes.h"

namespace tensor {
namespace {

constexpr uint64_t huge_page_bytes = 2 << 20;
// More than any machine has; keeps the sums below from overflowing.
constexpr uint64_t arena_bytes_max = 1ull << 46;

}  // namespace

base::Result<WeightArena> WeightArena::create(uint64_t bytes) {
  if (bytes > arena_bytes_max) {
    return base::fail(base::ErrorKind::out_of_memory,
                      fmt::format("{} bytes of weights do not fit in memory", bytes),
                      "the size is larger than any machine's memory");
  }
  WeightArena arena;
  arena.capacity_bytes_ = arena_bytes(bytes);
  arena.mapping_bytes_ = arena.capacity_bytes_ + slack_bytes + 2 * huge_page_bytes;
  void* mapping = mmap(nullptr, arena.mapping_bytes_, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) {
    return base::fail(base::ErrorKind::out_of_memory,
                      fmt::format("no memory for {} MiB of weights", bytes >> 20),
                      std::strerror(errno), "close other programs or take a smaller model");
  }
  arena.mapping_ = mapping;
  const auto address = reinterpret_cast<uintptr_t>(mapping);
  const uint64_t skip = (huge_page_bytes - address % huge_page_bytes) % huge_page_bytes;
  arena.base_ = static_cast<uint8_t*>(mapping) + skip;
  // Advice only: without huge pages everything works, slower.
  (void)madvise(arena.base_, arena.mapping_bytes_ - skip, MADV_HUGEPAGE);
  return arena;
}

WeightArena::WeightArena(WeightArena&& other) noexcept { *this = std::move(other); }

WeightArena& WeightArena::operator=(WeightArena&& other) noexcept {
  std::swap(base_, other.base_);
  std::swap(mapping_, other.mapping_);
  std::swap(mapping_bytes_, other.mapping_bytes_);
  std::swap(capacity_bytes_, other.capacity_bytes_);
  std::swap(used_bytes_, other.used_bytes_);
  return *this;
}

WeightArena::~WeightArena() {
  if (mapping_ != nullptr) munmap(mapping_, mapping_bytes_);
}

void WeightArena::reserve() {
#ifdef MADV_POPULATE_WRITE
  const uint64_t page = 4096;
  const uint64_t bytes = (capacity_bytes_ + page - 1) / page * page;
  if (madvise(base_, bytes, MADV_POPULATE_WRITE) == 0) return;
#endif
  // A kernel before 5.14: one write a page does the same.
  for (uint64_t at = 0; at < capacity_bytes_; at += 4096) {
    auto* byte = reinterpret_cast<volatile uint8_t*>(base_ + at);
    *byte = *byte;
  }
}

base::Result<uint8_t*> WeightArena::allocate(uint64_t bytes) {
  const uint64_t left = capacity_bytes_ - used_bytes_;
  if (bytes > left || arena_bytes(bytes) > left) {
    return base::fail(base::ErrorKind::out_of_memory,
                      fmt::format("the weight arena has no room for {} bytes", bytes),
                      fmt::format("{} of {} bytes are left", left, capacity_bytes_),
                      "report this: the arena was sized for less than the file holds");
  }
  uint8_t* allocated = base_ + used_bytes_;
  used_bytes_ += arena_bytes(bytes);
  return allocated;
}

}  // namespace tensor
