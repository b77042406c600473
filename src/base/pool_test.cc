#include "base/pool.h"

#include <atomic>
#include <gtest/gtest.h>
#include <vector>

namespace base {
namespace {

TEST(Pool, CoversTheRangeOnce) {
  for (int threads : {1, 2, 3, 4, 5}) {
    Pool pool(threads, 20);
    for (int64_t count : {0, 1, 7, 64, 1000}) {
      for (int64_t grain : {1, 3, 64}) {
        std::vector<std::atomic<int>> hits(static_cast<size_t>(count));
        std::atomic<int> wrong{0};
        pool.run(count, grain, [&](int64_t begin, int64_t end, int thread) {
          if (begin % grain != 0 || thread < 0 || thread >= threads) ++wrong;
          for (int64_t i = begin; i < end; ++i) ++hits[static_cast<size_t>(i)];
        });
        EXPECT_EQ(wrong, 0);
        for (const auto& hit : hits) EXPECT_EQ(hit, 1);
      }
    }
  }
}

// Thread 0 does not come back from its first chunk before all others are done.
TEST(Pool, AThreadThatIsStuckDelaysOnlyItsOwnChunk) {
  for (int threads : {2, 4, 7}) {
    Pool pool(threads);
    std::atomic<int> done{0};
    pool.run(50, 1, [&](int64_t begin, int64_t, int) {
      while (begin == 0 && done < 49) {
      }
      ++done;
    });
    EXPECT_EQ(done, 50);
  }
}

// Runs with a spin of 0 µs force the parked path in which a wake could be lost.
TEST(Pool, NoWakeIsLost) {
  Pool pool(3, 0);
  std::atomic<int64_t> sum{0};
  for (int i = 0; i < 20000; ++i) {
    pool.run(3, 1, [&](int64_t begin, int64_t, int) { sum += begin; });
  }
  EXPECT_EQ(sum, 20000 * 3);
}

}  // namespace
}  // namespace base
