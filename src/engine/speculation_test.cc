#include "engine/speculation.h"

#include <gtest/gtest.h>

namespace engine {
namespace {

// Steps of one row: a plain one takes 10 ms, a guessing one `guessing_s`; every third guess or all
// but every tenth is right. Returns the share of steps that guessed.
double run(Speculation& speculation, int steps, double guessing_s, bool good) {
  int guessed = 0;
  for (int i = 0; i < steps; ++i) {
    const bool guess = speculation.guess(1);
    guessed += guess;
    if (guess) speculation.note_guess(good ? i % 10 != 0 : i % 3 == 0);
    speculation.note_step(1, guess, guess ? guessing_s : 0.010);
  }
  return static_cast<double>(guessed) / steps;
}

TEST(Speculation, OffAndOnAreObeyed) {
  Speculation off(SpeculationMode::off), on(SpeculationMode::on);
  EXPECT_EQ(run(off, 100, 0.001, true), 0);
  EXPECT_EQ(run(on, 100, 1.0, false), 1);
}

TEST(Speculation, GuessesWhereItPays) {
  Speculation speculation(SpeculationMode::automatic);
  EXPECT_GT(run(speculation, 2000, 0.013, true), 0.95);
}

TEST(Speculation, StaysAwayWhereItDoesNot) {
  Speculation expensive(SpeculationMode::automatic), wrong(SpeculationMode::automatic);
  EXPECT_LT(run(expensive, 2000, 0.021, true), 0.03);
  EXPECT_LT(run(wrong, 2000, 0.016, false), 0.03);
}

TEST(Speculation, NoticesThatThingsChanged) {
  Speculation speculation(SpeculationMode::automatic);
  EXPECT_LT(run(speculation, 1000, 0.025, true), 0.05);
  run(speculation, 4000, 0.011, true);
  EXPECT_GT(run(speculation, 1000, 0.011, true), 0.95);
}

TEST(Speculation, EveryBatchSizeIsMeasuredForItself) {
  Speculation speculation(SpeculationMode::automatic);
  run(speculation, 100, 0.011, true);
  EXPECT_TRUE(speculation.guess(1));
  EXPECT_FALSE(speculation.guess(4));
  EXPECT_FALSE(speculation.guess(1000));
}

}  // namespace
}  // namespace engine
