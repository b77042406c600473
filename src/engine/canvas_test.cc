#include "engine/canvas.h"

#include <gtest/gtest.h>

namespace engine {
namespace {

// The vectors of SipHash's authors: key 00 01 … 0f, messages of 0, 1, 7, 8 and 15 bytes 00 01 ….
TEST(Canvas, HashIsThatOfItsAuthors) {
  std::vector<uint8_t> message(15);
  for (size_t i = 0; i < message.size(); ++i) message[i] = static_cast<uint8_t>(i);
  const uint64_t key0 = 0x0706050403020100ull, key1 = 0x0f0e0d0c0b0a0908ull;
  auto of = [&](size_t n) { return keyed_hash(key0, key1, std::span(message).first(n)); };
  EXPECT_EQ(of(0), 0x726fdb47dd0e0e31ull);
  EXPECT_EQ(of(1), 0x74f839c593dc67fdull);
  EXPECT_EQ(of(7), 0xab0200f58b01d137ull);
  EXPECT_EQ(of(8), 0x93f5f5799a932462ull);
  EXPECT_EQ(of(15), 0xa129ca6149be45e5ull);
}

TEST(Canvas, EqualPicturesHaveEqualHashesAndOthersDoNot) {
  base::SeededRandom random(1);
  CanvasMaker maker(random);
  std::vector<uint8_t> picture(300, 127);
  auto first = maker.make(picture), again = maker.make(picture);
  picture[299] ^= 1;
  auto other = maker.make(picture);
  ASSERT_TRUE(first && again && other);
  EXPECT_EQ(first->hash, again->hash);
  EXPECT_NE(first->hash, other->hash);
  EXPECT_NE(first->hash.low, first->hash.high);
  EXPECT_NE(CanvasMaker(random).make(first->pixels)->hash, first->hash) << "another engine's keys";
}

TEST(Canvas, TogetherTheyKeepTheLimit) {
  base::SeededRandom random(1);
  std::vector<std::shared_ptr<const Canvas>> held;
  const size_t size = CanvasMaker::bytes_max / 4;
  CanvasMaker maker(random);
  for (int i = 0; i < 4; ++i) held.push_back(maker.make(std::vector<uint8_t>(size)));
  for (const auto& canvas : held) EXPECT_TRUE(canvas);
  EXPECT_FALSE(maker.make({1}));
  held.pop_back();
  EXPECT_TRUE(maker.make({1}));
}

}  // namespace
}  // namespace engine
