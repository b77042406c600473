#include "chat/pictures.h"

#include <gtest/gtest.h>

namespace chat {
namespace {

TEST(Pictures, AreFoundAsLongAsSomebodyHoldsThem) {
  Pictures pictures;
  auto held = pictures.put("a", "one");
  EXPECT_EQ(pictures.put("a", "other")->bytes, "one");
  EXPECT_EQ(pictures.find("a"), held);
  EXPECT_EQ(pictures.find("b"), nullptr);
  EXPECT_EQ(pictures.waiting_bytes(), 3u);
  pictures.taken("a");
  pictures.taken("unknown");
  EXPECT_EQ(pictures.waiting_bytes(), 0u);
  EXPECT_EQ(pictures.find("a"), held);
  held.reset();
  EXPECT_EQ(pictures.find("a"), nullptr);
}

TEST(Pictures, ThatNoMessageTakesAreBounded) {
  Pictures pictures;
  for (size_t i = 0; i < Pictures::waiting_max + 3; ++i) pictures.put(std::to_string(i), "x");
  EXPECT_EQ(pictures.waiting_bytes(), Pictures::waiting_max);
  EXPECT_EQ(pictures.find("2"), nullptr);
  EXPECT_NE(pictures.find("3"), nullptr);
  for (int i = 0; i < 6; ++i) {
    pictures.put("large" + std::to_string(i), std::string(20 << 20, 'x'));
    EXPECT_LE(pictures.waiting_bytes(), Pictures::waiting_bytes_max);
  }
  EXPECT_EQ(pictures.find("3"), nullptr);
  EXPECT_NE(pictures.find("large5"), nullptr);
}

TEST(Pictures, AreToldByTheirFirstBytes) {
  EXPECT_EQ(picture_type("\x89PNG\r\n\x1a\n..."), "image/png");
  EXPECT_EQ(picture_type("\xff\xd8\xff\xe0"), "image/jpeg");
  EXPECT_EQ(picture_type("RIFF....WEBPVP8 "), "image/webp");
  for (const char* other : {"", "RIFF....WAVE", "RIFF", "GIF89a", "<svg>", "\x89PNG"}) {
    EXPECT_EQ(picture_type(other), "");
  }
}

}  // namespace
}  // namespace chat
