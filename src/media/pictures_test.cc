// decode, decode_and_fit and encode_png in this process: the goldens of Janus's preprocessing, the
// formats' varieties, EXIF's eight ways to turn, and what large pictures take.
#include "media/pictures.h"

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <malloc.h>

#include "base/hostile_for_test.h"
#include "base/json.h"
#include "base/sanitized.h"
#include "media/encode_png.h"
#include "media/exif.h"
#include "media/resample.h"
#include "media/samples_for_test.h"

namespace media {
namespace {

using base::cpu_seconds;
using base::Json;
using base::memory_now;
using base::reset_peak_memory;

std::span<const uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

std::string golden(const std::string& name) {
  std::ifstream in(std::string(NAUTILE_SOURCE_DIR) + "/tests/golden/model/janus-hf/" + name,
                   std::ios::binary);
  EXPECT_TRUE(in.good()) << name;
  return {std::istreambuf_iterator<char>(in), {}};
}

// The most that any level differs, and how many do.
struct Difference {
  int most = 0, different = 0;
};
template <class A, class B>
Difference difference(const A& a, const B& b, size_t count) {
  Difference found;
  for (size_t i = 0; i < count; ++i) {
    const int distance = std::abs(static_cast<int>(a[i]) - static_cast<int>(b[i]));
    found.most = std::max(found.most, distance);
    found.different += distance != 0;
  }
  return found;
}

// The goldens allow a level; our arithmetic is Pillow's, so we ask for equality.
TEST(Fit, IsThatOfTheGoldens) {
  const auto expected = base::parse_json(golden("expected.json"), "expected.json");
  ASSERT_TRUE(expected.has_value());
  const std::string binary = golden("expected.bin");
  const Json& pre = *expected->find("preprocess");
  Fit fit;
  fit.side = static_cast<int>(pre.find("image_size")->as_integer());
  int compared = 0;
  for (const Json& line : pre.find("pictures")->as_array()) {
    const std::string name = line.find("file")->as_string();
    const std::string file = golden(name);
    const auto canvas = decode_and_fit(bytes_of(file), fit);
    ASSERT_TRUE(canvas.has_value()) << name << ": " << canvas.error().message();
    const Json& tensor = *expected->find("tensors")->find(line.find("u8_hwc")->as_string());
    const auto offset = static_cast<size_t>(tensor.find("offset")->as_integer());
    ASSERT_EQ(canvas->size(), static_cast<size_t>(tensor.find("bytes")->as_integer()));
    ASSERT_LE(offset + canvas->size(), binary.size());
    const auto found = difference(*canvas, bytes_of(binary).subspan(offset), canvas->size());
    EXPECT_EQ(found.most, 0) << name << ": " << found.different << " levels differ";
    ++compared;
  }
  EXPECT_EQ(compared, 5);
  const auto wide = decode_and_fit(bytes_of(golden("portrait.png")), Fit{});
  const auto shown = decode(bytes_of(golden("pre384.portrait.png")));
  ASSERT_TRUE(wide && shown);
  ASSERT_EQ(shown->values.size() / 4, wide->size() / 3);
  for (size_t i = 0; i < wide->size(); ++i) {
    ASSERT_EQ((*wide)[i], shown->values[i / 3 * 4 + i % 3]) << i;
  }
}

// Stored in eight ways so that each is shown as the first: take the shown picture, turn it back.
void expect_turns(int width, int height) {
  const std::vector<uint8_t> shown = samples::pixels(width, height);
  const auto upright = encode_png(width, height, shown, {});
  ASSERT_TRUE(upright.has_value());
  const auto wanted = decode_and_fit(bytes_of(*upright), Fit{48, 8, 127});
  ASSERT_TRUE(wanted.has_value());
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const Turn turn = turn_of(orientation);
    const int stored_width = turn.swap ? height : width, stored_height = turn.swap ? width : height;
    std::vector<uint8_t> stored(shown.size());
    for (int y = 0; y < stored_height; ++y) {
      for (int x = 0; x < stored_width; ++x) {
        int u = turn.swap ? y : x, v = turn.swap ? x : y;
        if (turn.flip_x) u = width - 1 - u;
        if (turn.flip_y) v = height - 1 - v;
        std::memcpy(&stored[3 * static_cast<size_t>(y * stored_width + x)],
                    &shown[3 * static_cast<size_t>(v * width + u)], 3);
      }
    }
    const auto file = encode_png(stored_width, stored_height, stored, {});
    ASSERT_TRUE(file.has_value());
    const std::string turned = samples::with_orientation(*file, orientation);
    const auto fitted = decode_and_fit(bytes_of(turned), Fit{48, 8, 127});
    ASSERT_TRUE(fitted.has_value()) << fitted.error().message();
    EXPECT_EQ(*fitted, *wanted) << orientation;
    const auto whole = decode(bytes_of(turned));
    ASSERT_TRUE(whole.has_value());
    EXPECT_EQ(whole->width, width) << orientation;
    for (size_t i = 0; i < shown.size(); ++i) {
      ASSERT_EQ(whole->values[i / 3 * 4 + i % 3], shown[i]) << orientation << " at " << i;
    }
  }
}

// Sizes of either order of passes, reduced and enlarged.
TEST(Fit, EveryOrientationShowsTheSamePicture) {
  for (const auto& [width, height] :
       {std::pair{60, 36}, {47, 120}, {120, 47}, {20, 31}, {200, 9}, {9, 200}, {48, 48}, {1, 1}}) {
    expect_turns(width, height);
  }
}

// The colours that stand in the corners of a sample, as shown.
void expect_corners(const std::string& file, int tolerance, const char* what) {
  const auto picture = decode(bytes_of(file));
  ASSERT_TRUE(picture.has_value()) << what << ": " << picture.error().message();
  const uint8_t marks[4][3] = {{220, 30, 30}, {30, 200, 40}, {30, 40, 210}, {230, 220, 40}};
  for (int corner = 0; corner < 4; ++corner) {
    const int x = corner % 2 == 0 ? 2 : picture->width - 3;
    const int y = corner < 2 ? 2 : picture->height - 3;
    const uint8_t* at = &picture->values[4 * static_cast<size_t>(y * picture->width + x)];
    EXPECT_LE(difference(at, marks[corner], 3).most, tolerance)
        << what << ", corner " << corner << ": " << int{at[0]} << " " << int{at[1]} << " "
        << int{at[2]};
  }
}

TEST(Decode, ReadsTheVarieties) {
  expect_corners(samples::jpeg({}), 12, "baseline");
  expect_corners(samples::jpeg({.sampling = 1}), 12, "4:4:4");
  expect_corners(samples::jpeg({.progressive = true}), 12, "progressive");
  expect_corners(samples::jpeg({.cmyk = true}), 12, "YCCK as Adobe writes it");
  expect_corners(samples::webp(64, 48, false), 16, "lossy");
  expect_corners(samples::webp(64, 48, true), 0, "lossless");
  expect_corners(samples::png(64, 48, true), 0, "interlaced");
  const auto grey = decode(bytes_of(samples::jpeg({.grey = true})));
  ASSERT_TRUE(grey.has_value());
  EXPECT_EQ(grey->values[0], grey->values[1]);
  EXPECT_EQ(grey->values[0], grey->values[2]);
}

TEST(Decode, InterlacedAndPlainGiveTheSameCanvas) {
  const auto plain = decode_and_fit(bytes_of(samples::png(123, 77)), Fit{});
  const auto interlaced = decode_and_fit(bytes_of(samples::png(123, 77, true)), Fit{});
  ASSERT_TRUE(plain && interlaced);
  EXPECT_EQ(*plain, *interlaced);
}

TEST(Decode, APictureCutAnywhereIsRefused) {
  for (const std::string& whole : {samples::png(40, 30), samples::jpeg({.width = 40, .height = 30}),
                                   samples::jpeg({.width = 40, .height = 30, .progressive = true}),
                                   samples::webp(40, 30, false), samples::webp(40, 30, true)}) {
    const size_t step = base::sanitized ? 7 : 1;
    // A JPEG's end mark of two bytes may be missing.
    for (size_t count = 0; count + 3 < whole.size(); count += step) {
      // A copy of its own, so that a sanitizer sees a read past it.
      const std::vector<uint8_t> cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(count));
      const auto read = decode_and_fit(cut, Fit{32, 8, 127});
      ASSERT_FALSE(read.has_value()) << count << " of " << whole.size();
      ASSERT_NE(read.error().next.find("PNG, JPEG or WebP"), std::string::npos);
    }
    ASSERT_TRUE(decode_and_fit(bytes_of(whole), Fit{32, 8, 127}).has_value());
    const std::string longer = whole + "and something after it";
    ASSERT_TRUE(decode_and_fit(bytes_of(longer), Fit{32, 8, 127}).has_value());
  }
}

TEST(Decode, SaysWhatItRefuses) {
  const auto error = [](const std::string& file) {
    const auto read = decode(bytes_of(file));
    return read ? std::string("read") : read.error().message();
  };
  EXPECT_NE(error("").find("it is empty"), std::string::npos);
  EXPECT_NE(error("GIF89a").find("neither PNG nor JPEG nor WebP"), std::string::npos);
  EXPECT_NE(error(samples::white_png(20'000, 10)).find("20000 x 10"), std::string::npos);
  EXPECT_NE(error(samples::png(40, 30).substr(0, 60)).find("too early"), std::string::npos);
  EXPECT_EQ(decode_and_fit(bytes_of(samples::png(4, 4)), Fit{0, 1, 0}).error().kind,
            base::ErrorKind::invalid_input);
}

TEST(Exif, NonsenseIsIgnored) {
  const std::string plain = samples::jpeg({});
  for (const int orientation : {0, 9, 255}) {
    EXPECT_EQ(orientation_of_jpeg(bytes_of(samples::with_orientation(plain, orientation))), 1);
  }
  const std::string turned = samples::with_orientation(plain, 6);
  EXPECT_EQ(orientation_of_jpeg(bytes_of(turned)), 6);
  for (size_t count = 0; count < 60; ++count) {  // cut inside EXIF: no read past the end
    const std::vector<uint8_t> cut(turned.begin(), turned.begin() + static_cast<ptrdiff_t>(count));
    const int found = orientation_of_jpeg(cut);
    EXPECT_TRUE(found == 1 || found == 6);
  }
}

// What a phone makes is welcome: time of the processor and memory as pictures.h promises.
TEST(Fit, LargePicturesStayWithinTheLimits) {
  if (base::sanitized) return;  // a sanitizer multiplies both
  auto reader = start_picture_reader();
  ASSERT_TRUE(reader.has_value());
  const std::pair<const char*, std::string> files[] = {
      {"12 MP", samples::jpeg({.width = 4000, .height = 3000})},
      {"12 MP, turned",
       samples::with_orientation(samples::jpeg({.width = 4000, .height = 3000}), 6)},
      {"12 MP, progressive", samples::jpeg({.width = 4000, .height = 3000, .progressive = true})},
      {"50 MP", samples::jpeg({.width = 8160, .height = 6120})},
      {"12 MP, lossy WebP", samples::webp(4000, 3000, false)},
      {"12 MP, lossless WebP", samples::webp(4000, 3000, true)},
      {"12 MP, PNG", samples::png(4000, 3000)},
      {"12 MP, interlaced", samples::png(4000, 3000, true)}};
  for (const auto& [what, file] : files) {
    ::malloc_trim(0);  // what the tests before have freed must not count as calm
    reset_peak_memory();
    const uint64_t calm = memory_now("VmRSS:");
    const double begin = cpu_seconds();
    const auto canvas = decode_and_fit(bytes_of(file), Fit{});
    const double took = cpu_seconds() - begin;
    const uint64_t peak = memory_now("VmHWM:") - calm;
    ASSERT_TRUE(canvas.has_value()) << what << ": " << canvas.error().message();
    std::printf("%-22s %.0f ms, %.1f MiB\n", what, took * 1000,
                static_cast<double>(peak) / (1 << 20));
    EXPECT_LT(took * 1000, read_ms_max) << what;
    EXPECT_LT(peak, child_memory_max) << what;
    // In the child the limit is one of address space, and it is enforced.
    const auto confined = (*reader)->fit(bytes_of(file), Fit{});
    ASSERT_TRUE(confined.has_value()) << what << ": " << confined.error().message();
    EXPECT_EQ(*confined, *canvas) << what;
    // Nearly the same picture, whatever way it took: the corners of what is shown.
    const bool turned = std::string_view(what).find("turned") != std::string_view::npos;
    const uint8_t* corner = canvas->data() + (turned ? (0 * 384 + 60) : (60 * 384 + 10)) * 3;
    const uint8_t wanted[2][3] = {{220, 30, 30}, {30, 40, 210}};
    EXPECT_LE(difference(corner, wanted[turned ? 1 : 0], 3).most, 12) << what;
  }
}

TEST(EncodePng, IsReadBackAndTheSameEveryTime) {
  const std::vector<uint8_t> rgb = samples::pixels(33, 21);
  const auto one = encode_png(33, 21, rgb, {{"prompt", "un bateau à voiles"}, {"seed", "42"}});
  const auto two = encode_png(33, 21, rgb, {{"prompt", "un bateau à voiles"}, {"seed", "42"}});
  ASSERT_TRUE(one && two);
  EXPECT_EQ(*one, *two);
  EXPECT_NE(one->find("un bateau à voiles"), std::string::npos);
  EXPECT_NE(one->find("iTXtseed"), std::string::npos);
  const auto read = decode(bytes_of(*one));
  ASSERT_TRUE(read.has_value());
  for (size_t i = 0; i < rgb.size(); ++i) ASSERT_EQ(read->values[i / 3 * 4 + i % 3], rgb[i]);
}

TEST(EncodePng, RefusesWhatTheFormatCannotHold) {
  const std::vector<uint8_t> rgb(12);
  EXPECT_FALSE(encode_png(2, 3, rgb, {}).has_value());
  EXPECT_FALSE(encode_png(0, 2, {}, {}).has_value());
  EXPECT_FALSE(encode_png(2, 2, rgb, {{"", "x"}}).has_value());
  EXPECT_FALSE(encode_png(2, 2, rgb, {{std::string(80, 'k'), "x"}}).has_value());
  EXPECT_FALSE(encode_png(2, 2, rgb, {{"k", "\xff"}}).has_value());
  EXPECT_TRUE(encode_png(2, 2, rgb, {{"k", ""}}).has_value());
}

// Columns given row by row are what the weights say, whatever their number.
TEST(Resample, ColumnsComeOutAsTheirSums) {
  for (const auto& sizes :
       {std::pair{1, 1}, {1, 40}, {40, 1}, {7, 5}, {5, 7}, {400, 14}, {3, 96}, {96, 96}}) {
    const int in = sizes.first, out = sizes.second;
    for (const bool turned : {false, true}) {
      const Taps plain = bicubic_taps(in, out);
      const Taps taps = turned ? reversed(plain) : plain;
      const std::vector<uint8_t> rows = samples::pixels(2, in);  // 6 values a row
      Columns columns(taps, 6);
      int emitted = 0;
      for (int y = 0; y < in; ++y) {
        columns.add(&rows[6 * static_cast<size_t>(y)], [&](const uint8_t* done) {
          const auto i = static_cast<size_t>(emitted++);
          for (size_t x = 0; x < 6; ++x) {
            int64_t sum = 1 << 21;
            for (size_t k = 0; k < static_cast<size_t>(taps.count[i]); ++k) {
              const size_t row = static_cast<size_t>(taps.first[i]) + k;
              sum +=
                  int64_t{taps.weights[i * static_cast<size_t>(taps.most) + k]} * rows[6 * row + x];
            }
            ASSERT_EQ(done[x], std::clamp<int64_t>(sum >> 22, 0, 255)) << in << " to " << out;
          }
        });
      }
      EXPECT_EQ(emitted, out) << in << " to " << out;
    }
  }
}

TEST(Resample, WeightsOfAPixelAddUpToOne) {
  for (const auto& [in, out] : {std::pair{1, 1},
                                {1, 384},
                                {384, 1},
                                {7, 5},
                                {5, 7},
                                {4000, 384},
                                {16384, 14},
                                {384, 384}}) {
    const Taps taps = bicubic_taps(in, out);
    for (size_t i = 0; i < static_cast<size_t>(out); ++i) {
      ASSERT_GE(taps.first[i], 0);
      ASSERT_GE(taps.count[i], 1);
      ASSERT_LE(taps.count[i], taps.most);
      ASSERT_LE(taps.first[i] + taps.count[i], in);
      int64_t sum = 0, positive = 0;
      for (size_t k = 0; k < static_cast<size_t>(taps.count[i]); ++k) {
        const int32_t weight = taps.weights[i * static_cast<size_t>(taps.most) + k];
        sum += weight;
        positive += std::abs(weight);
      }
      EXPECT_NEAR(static_cast<double>(sum), 1 << 22, taps.count[i]) << in << " to " << out;
      // 255 times that must fit beside the rounding in 32 bits.
      EXPECT_LT(255 * positive + (1 << 21), int64_t{1} << 31) << in << " to " << out;
    }
  }
}

}  // namespace
}  // namespace media
