#include <gtest/gtest.h>

#include "tensor/arena.h"
#include "tensor/workspace.h"

namespace tensor {
namespace {

TEST(WeightArena, hands_out_zeroed_aligned_memory_until_it_is_full) {
  auto arena = WeightArena::create(3 << 20);
  ASSERT_TRUE(arena.has_value());
  auto first = arena->allocate(100);
  auto second = arena->allocate((3 << 20) - 128);
  ASSERT_TRUE(first.has_value() && second.has_value());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(*first) % (2 << 20), 0u);
  EXPECT_EQ(*second, *first + 128);
  // The slack past the end is mapped: kernels prefetch there, tests may read it.
  EXPECT_EQ((*first)[(3 << 20) + WeightArena::slack_bytes - 1], 0);
  const auto third = arena->allocate(1);
  ASSERT_FALSE(third.has_value());
  EXPECT_EQ(third.error().kind, base::ErrorKind::out_of_memory);
}

TEST(WeightArena, refuses_what_no_machine_has) {
  EXPECT_FALSE(WeightArena::create(~0ull).has_value());
  EXPECT_FALSE(WeightArena::create(1ull << 62).has_value());
}

TEST(WeightArena, moves_its_memory) {
  auto arena = WeightArena::create(4096);
  ASSERT_TRUE(arena.has_value());
  uint8_t* memory = *arena->allocate(64);
  WeightArena moved = std::move(*arena);
  memory[0] = 7;
  EXPECT_EQ(moved.used_bytes(), 64u);
}

TEST(Workspace, gives_back_what_was_taken_since_a_mark) {
  auto workspace = Workspace::create(1 << 16);
  ASSERT_TRUE(workspace.has_value());
  float* kept = workspace->take<float>(3);
  {
    const Workspace::Mark mark(*workspace);
    EXPECT_EQ(reinterpret_cast<uint8_t*>(workspace->take<int8_t>(1000)),
              reinterpret_cast<uint8_t*>(kept) + 64);
    EXPECT_EQ(workspace->used_bytes(), 64u + 1024u);
  }
  EXPECT_EQ(workspace->used_bytes(), 64u);
  EXPECT_EQ(workspace->peak_bytes(), 64u + 1024u);
}

}  // namespace
}  // namespace tensor
