#include "engine/mixed_pairs.h"

#include <algorithm>
#include <gtest/gtest.h>

#include "engine/picture_work.h"

namespace engine {
namespace {

// Steps with one row of text and up to `pictures` pictures on a machine where a step takes
// `fixed_ms` and so many more a row; the rows of pictures that the steps settle at.
int settled(double fixed_ms, double row_ms, int pictures, double* longest_ms = nullptr) {
  MixedPairs pairs;
  int rows = 0;
  for (int step = 0; step < 100; ++step) {
    rows = std::min(pairs.rows_max(), 2 * pictures);
    const double ms = fixed_ms + row_ms * (1 + rows);
    if (longest_ms) *longest_ms = std::max(*longest_ms, ms);
    pairs.note_step(1, rows, ms);
  }
  return rows;
}

TEST(MixedPairs, AllGoAlongWhereThereIsTime) {
  EXPECT_EQ(settled(20, 5, 4), 8);
  EXPECT_EQ(settled(20, 5, 1), 2);
}

TEST(MixedPairs, NobodyWaitsLongerThanAGap) {
  for (const double row_ms : {6.0, 8.0, 12.0, 15.0, 18.0, 22.0, 30.0, 35.0}) {
    double longest_ms = 0;
    const int rows = settled(25, row_ms, 4, &longest_ms);
    EXPECT_LE(longest_ms, gap_target_ms) << row_ms;
    // And no place is wasted that surely fits.
    const double ms = 25 + row_ms * (1 + rows);
    EXPECT_TRUE(ms <= gap_aim_ms || rows == 2) << row_ms;
    EXPECT_TRUE(rows == 8 || ms * (3 + rows) / (1 + rows) > gap_aim_ms + slice_ms_min ||
                ms + 2 * row_ms > gap_aim_ms)
        << row_ms;
  }
}

TEST(MixedPairs, ASlowMachineStillDraws) {
  EXPECT_EQ(settled(360, 15, 4), 8);  // one picture takes 405 ms, four 495
  EXPECT_EQ(settled(40, 160, 4), 4);  // one 520, two 840, three 1160: more than twice one
}

TEST(MixedPairs, OneLongStepIsForgotten) {
  MixedPairs pairs;
  for (int step = 0; step < 10; ++step) pairs.note_step(1, std::min(8, pairs.rows_max()), 60);
  ASSERT_GE(pairs.rows_max(), 8);
  pairs.note_step(1, 8, 900);
  EXPECT_EQ(pairs.rows_max(), 6);
  int steps = 0;
  for (; pairs.rows_max() == 6 && steps < 1000; ++steps) pairs.note_step(1, 6, 60);
  EXPECT_EQ(pairs.rows_max(), 8);
  EXPECT_GE(steps, 100) << "a step that is too long must be rarer than one gap in a hundred";
}

TEST(MixedPairs, OtherStepsSayNothing) {
  MixedPairs pairs;
  pairs.note_step(0, 8, 40);
  pairs.note_step(5, 0, 40);
  pairs.note_step(1, 8, 0);
  EXPECT_EQ(pairs.rows_max(), 2);
}

}  // namespace
}  // namespace engine
