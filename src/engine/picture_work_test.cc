#include "engine/picture_work.h"

#include <algorithm>
#include <gtest/gtest.h>

#include "engine/fake_pictures_for_test.h"

namespace engine {
namespace {

constexpr uint64_t one_picture_bytes = FakePictures::tokens * FakePictures::hidden * sizeof(float);

struct Bench {
  explicit Bench(uint64_t cache_bytes_max = features_bytes_max)
      : work(model, clock, cache_bytes_max) {}

  std::shared_ptr<const Canvas> canvas(uint8_t level) {
    return maker.make(std::vector<uint8_t>(FakePictures::side * FakePictures::side * 3, level));
  }
  void run(bool with_palette = false) {
    for (int i = 0; i < 1000 && work.wanted(); ++i) {
      work.advance(1, with_palette);
      for (auto& painted : work.take_painted()) order.push_back(painted.owner);
    }
  }
  std::vector<int32_t> codes(int32_t first = 0) {
    std::vector<int32_t> all(FakePictures::grid * FakePictures::grid, 5);
    all[0] = first;
    return all;
  }

  base::SeededRandom random{1};
  CanvasMaker maker{random};
  FakePictures model;
  base::FakeClock clock;
  PictureWork work;
  std::vector<uint64_t> order;
};

TEST(PictureWork, FeaturesAreComputedOnceForAnAccount) {
  Bench b;
  EXPECT_FALSE(b.work.wanted());
  EXPECT_EQ(b.work.features(1, 7, b.canvas(1)), nullptr);
  EXPECT_EQ(b.work.features(2, 7, b.canvas(1)), nullptr);
  EXPECT_EQ(b.work.features(1, 7, b.canvas(1)), nullptr);
  b.run();
  auto features = b.work.features(1, 7, b.canvas(1));
  ASSERT_TRUE(features);
  EXPECT_EQ(features->size(), one_picture_bytes / sizeof(float));
  EXPECT_EQ(b.work.features(2, 7, b.canvas(1)), features);
  EXPECT_EQ(b.model.seen, 1);
  EXPECT_EQ(b.work.features(3, 8, b.canvas(1)), nullptr) << "another account's is not given out";
  EXPECT_EQ(b.work.features(4, 7, b.canvas(2)), nullptr);
  b.run();
  EXPECT_EQ(b.model.seen, 3);
  EXPECT_EQ(*b.work.features(3, 8, b.canvas(1)), *features);
  EXPECT_NE(*b.work.features(4, 7, b.canvas(2)), *features);
}

TEST(PictureWork, TheLeastRecentlyUsedFeaturesGoUnlessTheyAreHeld) {
  Bench b(2 * one_picture_bytes);
  const auto see = [&](uint8_t level) {
    b.work.features(1, 7, b.canvas(level));
    b.run();
    return b.work.features(1, 7, b.canvas(level));
  };
  const auto held = see(1);
  see(2);
  see(3);  // 2 goes, 1 is held
  EXPECT_EQ(b.model.seen, 3);
  EXPECT_EQ(b.work.features(1, 7, b.canvas(1)), held);
  EXPECT_TRUE(see(3));
  EXPECT_EQ(b.model.seen, 3);
  EXPECT_TRUE(see(2));
  EXPECT_EQ(b.model.seen, 4);
}

TEST(PictureWork, WithAllRoomHeldTheNextPictureWaits) {
  Bench b(one_picture_bytes);
  b.work.features(1, 7, b.canvas(1));
  b.run();
  auto held = b.work.features(1, 7, b.canvas(1));
  ASSERT_TRUE(held);
  b.work.features(2, 7, b.canvas(2));
  for (int i = 0; i < 100; ++i) b.work.advance(1, false);
  EXPECT_EQ(b.model.seen, 1);
  EXPECT_TRUE(b.work.wanted());
  held.reset();
  b.run();
  EXPECT_TRUE(b.work.features(2, 7, b.canvas(2)));
}

TEST(PictureWork, AccountsTakeTurns) {
  Bench b;
  for (uint64_t owner = 1; owner <= 4; ++owner) b.work.paint(owner, 7, b.codes());
  b.work.advance(1, false);  // the first of them is under way
  b.work.paint(10, 8, b.codes());
  b.work.paint(20, 9, b.codes());
  b.run();
  EXPECT_EQ(b.order, (std::vector<uint64_t>{1, 10, 20, 2, 3, 4}));
}

TEST(PictureWork, SeeingAndPaintingShareTheSlices) {
  Bench b;
  b.work.paint(1, 7, b.codes());
  b.work.features(2, 8, b.canvas(1));
  // 5 units to see, 9 to paint, one a slice.
  for (int i = 0; i < 10; ++i) b.work.advance(1, false);
  EXPECT_TRUE(b.work.features(2, 8, b.canvas(1)));
  EXPECT_TRUE(b.work.take_painted().empty());
  for (int i = 0; i < 4; ++i) b.work.advance(1, false);
  const auto painted = b.work.take_painted();
  ASSERT_EQ(painted.size(), 1u);
  EXPECT_EQ(painted[0].pixels.size(),
            static_cast<size_t>(3 * FakePictures::drawn_side * FakePictures::drawn_side));
}

TEST(PictureWork, WhatNobodyWantsIsDroppedHalfWay) {
  Bench b;
  b.work.paint(1, 7, b.codes());
  b.work.paint(2, 7, b.codes());
  b.work.features(3, 7, b.canvas(1));
  b.work.features(4, 7, b.canvas(1));
  for (int i = 0; i < 4; ++i) b.work.advance(1, false);
  EXPECT_EQ(b.model.jobs, 2);
  b.work.drop(1);
  b.work.drop(3);
  EXPECT_EQ(b.model.jobs, 1) << "the picture that 4 wants, too, is still looked at";
  b.work.drop(4);
  EXPECT_EQ(b.model.jobs, 0);
  b.run();
  EXPECT_EQ(b.order, std::vector<uint64_t>{2});
}

TEST(PictureWork, ThePaletteComesFirstForWhoeverDraws) {
  Bench b;
  b.work.paint(1, 7, b.codes());
  b.run(true);
  EXPECT_EQ(b.model.palettes, 1);
  ASSERT_TRUE(b.work.palette());
  EXPECT_EQ(b.work.palette()->size(), 3u * FakePictures::codes);
  b.work.paint(2, 7, b.codes());
  b.run(true);
  EXPECT_EQ(b.model.palettes, 1);
  EXPECT_EQ(b.order, (std::vector<uint64_t>{1, 2}));
}

TEST(PictureWork, APaletteHalfWayWaitsWhileNobodyDraws) {
  Bench b;
  b.work.advance(1, true);
  EXPECT_EQ(b.model.palettes, 1);
  for (int i = 0; i < 100; ++i) b.work.advance(1, false);
  EXPECT_FALSE(b.work.palette());
  b.work.features(1, 7, b.canvas(1));
  b.run();
  EXPECT_TRUE(b.work.features(1, 7, b.canvas(1)));
  for (int i = 0; i < 9; ++i) b.work.advance(1, true);
  EXPECT_TRUE(b.work.palette());
  EXPECT_EQ(b.model.palettes, 1);
}

TEST(PictureWork, ASliceLeavesTheGapBetweenTokensSmall) {
  EXPECT_EQ(slice_ms(40, false), slice_ms_max);
  EXPECT_EQ(slice_ms(gap_aim_ms - 40, false), 40);
  EXPECT_EQ(slice_ms(500, false), slice_ms_min);
  EXPECT_EQ(slice_ms(0, true), gap_target_ms);
}

// Slices follow the measured speed, down to one unit.
TEST(PictureWork, SlicesAreCutByWhatWasMeasured) {
  Bench b;
  b.model.draw_operations = 200'000'000'000;
  b.model.before_slice = [&] { b.clock.advance_ms(100); };
  b.work.paint(1, 7, b.codes());
  int slices = 0;
  for (; b.work.wanted() && slices < 1000; ++slices) {
    b.work.advance(50, false);
    b.work.take_painted();
  }
  EXPECT_GT(slices, 100) << "never more than a unit where a unit takes 100 ms";
}

}  // namespace
}  // namespace engine
