// Pictures of every kind against what Pillow shows for them (tests/golden/media, whose make.py says
// how): lossless ones to the level, the others within one, as the two libraries' versions of the
// inverse transform may round differently.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>

#include "base/json.h"
#include "media/pictures.h"

namespace media {
namespace {

std::string golden(const std::string& name) {
  std::ifstream in(std::string(NAUTILE_SOURCE_DIR) + "/tests/golden/media/" + name,
                   std::ios::binary);
  EXPECT_TRUE(in.good()) << name;
  return {std::istreambuf_iterator<char>(in), {}};
}

struct Expected {
  std::string file;
  int width = 0, height = 0, within = 0;
  const uint8_t* levels = nullptr;  // (height, width, 3)
};

class MediaGolden : public testing::Test {
 protected:
  void SetUp() override {
    const auto json = base::parse_json(golden("expected.json"), "expected.json");
    ASSERT_TRUE(json.has_value());
    binary_ = golden("expected.bin");
    for (const base::Json& line : json->find("pictures")->as_array()) {
      const auto number = [&](std::string_view key) {
        return static_cast<int>(line.find(key)->as_integer());
      };
      Expected one{line.find("file")->as_string(), number("width"), number("height"),
                   number("within"), nullptr};
      const size_t offset = static_cast<size_t>(number("offset"));
      ASSERT_LE(offset + 3u * one.width * one.height, binary_.size());
      one.levels = reinterpret_cast<const uint8_t*>(binary_.data()) + offset;
      all.push_back(std::move(one));
    }
    ASSERT_GE(all.size(), 50u);
  }

  std::vector<Expected> all;

 private:
  std::string binary_;
};

struct Difference {
  int most = 0, count = 0, x = 0, y = 0;
};

// `at`: where the picture's pixel (x, y) begins.
template <class At>
Difference difference(const Expected& wanted, const At& at) {
  Difference found;
  for (int y = 0; y < wanted.height; ++y) {
    for (int x = 0; x < wanted.width; ++x) {
      for (int c = 0; c < 3; ++c) {
        const int off = std::abs(at(x, y)[c] - wanted.levels[3 * (y * wanted.width + x) + c]);
        found.count += off != 0;
        if (off > found.most) found = {off, found.count, x, y};
      }
    }
  }
  return found;
}

std::span<const uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

TEST_F(MediaGolden, EveryPictureIsShownAsPillowShowsIt) {
  for (const Expected& wanted : all) {
    const std::string file = golden(wanted.file);
    const auto picture = decode(bytes_of(file));
    ASSERT_TRUE(picture.has_value()) << wanted.file << ": " << picture.error().message();
    ASSERT_EQ(picture->width, wanted.width) << wanted.file;
    ASSERT_EQ(picture->height, wanted.height) << wanted.file;
    const auto found = difference(wanted, [&](int x, int y) {
      return &picture->values[4 * static_cast<size_t>(y * wanted.width + x)];
    });
    EXPECT_LE(found.most, wanted.within)
        << wanted.file << ": " << found.count << " levels differ, most at " << found.x << ", "
        << found.y;
  }
}

// The way of three channels, which the models see: on a canvas as large as the picture nothing is
// scaled.
TEST_F(MediaGolden, TheCanvasThatAModelSeesHasTheSameLevels) {
  for (const Expected& wanted : all) {
    const std::string file = golden(wanted.file);
    const int side = std::max(wanted.width, wanted.height);
    const auto canvas = decode_and_fit(bytes_of(file), {side, 1, 127});
    ASSERT_TRUE(canvas.has_value()) << wanted.file << ": " << canvas.error().message();
    const int left = (side - wanted.width) / 2, top = (side - wanted.height) / 2;
    const auto found = difference(wanted, [&](int x, int y) {
      return &(*canvas)[3 * static_cast<size_t>((top + y) * side + left + x)];
    });
    EXPECT_LE(found.most, wanted.within)
        << wanted.file << ": " << found.count << " levels differ, most at " << found.x << ", "
        << found.y;
  }
}

}  // namespace
}  // namespace media
