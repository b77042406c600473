// Every line of tests/golden/hostile/manifest.json of the kinds png, jpeg, webp and disguise, as
// its README defines "handled": refused with what is accepted, or shown with the stated pixels; in
// the time and the memory that a line may take; here and in the confined child alike.
#include <algorithm>
#include <cstdlib>
#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/hostile_for_test.h"
#include "base/json.h"
#include "base/sanitized.h"
#include "media/pictures.h"

namespace media {
namespace {

using base::cpu_seconds;
using base::expand_hostile_cases;
using base::file_text;
using base::Json;
using base::memory_now;
using base::reset_peak_memory;
using base::sanitized;

constexpr double seconds_max = sanitized ? 5 : 1;

std::string text_of(const Json& line, std::string_view key) {
  const Json* value = line.find(key);
  return value == nullptr || !value->is_string() ? "" : value->as_string();
}
double number_of(const Json& line, std::string_view key, double otherwise) {
  const Json* value = line.find(key);
  return value == nullptr ? otherwise : value->as_number();
}

void expect_clear(const base::Error& error, const std::string& name) {
  EXPECT_TRUE(error.kind == base::ErrorKind::invalid_input ||
              error.kind == base::ErrorKind::limit_exceeded)
      << name << ": " << error.message();
  const std::string message = error.message();
  EXPECT_TRUE(base::is_utf8(message)) << name;
  EXPECT_LT(message.size(), 1024u) << name;
  for (const char c : message) EXPECT_FALSE(static_cast<unsigned char>(c) < 0x20) << name;
  EXPECT_NE(message.find("PNG, JPEG or WebP"), std::string::npos) << name << ": " << message;
}

void expect_pixels(const Rgba& picture, const Json& line, const std::string& name) {
  EXPECT_EQ(picture.width, number_of(line, "width", -1)) << name;
  EXPECT_EQ(picture.height, number_of(line, "height", -1)) << name;
  for (const Json& pixel : line.find("pixels")->as_array()) {
    const auto x = static_cast<int>(pixel.as_array()[0].as_integer());
    const auto y = static_cast<int>(pixel.as_array()[1].as_integer());
    ASSERT_TRUE(x < picture.width && y < picture.height) << name;
    const auto tolerance = static_cast<int>(pixel.as_array()[3].as_integer());
    const uint8_t* shown =
        &picture.values[4 * (static_cast<size_t>(y) * static_cast<size_t>(picture.width) +
                             static_cast<size_t>(x))];
    for (size_t c = 0; c < 4; ++c) {
      EXPECT_NEAR(shown[c], pixel.as_array()[2].as_array()[c].as_integer(), tolerance)
          << name << ": pixel " << x << ", " << y << ", channel " << c;
    }
  }
}

TEST(HostilePictures, EveryLineIsHandled) {
  auto reader = start_picture_reader();
  ASSERT_TRUE(reader.has_value());
  const std::string cases = expand_hostile_cases("hostile_pictures", "png jpeg webp disguise");
  ASSERT_FALSE(cases.empty()) << "expand.py failed";
  const auto manifest = base::parse_json(
      file_text(std::string(NAUTILE_SOURCE_DIR) + "/tests/golden/hostile/manifest.json"),
      "manifest.json");
  ASSERT_TRUE(manifest.has_value());
  int tried = 0;
  for (const Json& line : manifest->as_array()) {
    const std::string kind = text_of(line, "kind"), file = text_of(line, "file");
    if (kind != "png" && kind != "jpeg" && kind != "webp" && kind != "disguise") continue;
    ++tried;
    const std::string text = file_text(cases + "/" + file);
    const std::vector<uint8_t> bytes(text.begin(), text.end());
    reset_peak_memory();
    const uint64_t calm = memory_now("VmRSS:");
    const double begin = cpu_seconds();
    const auto canvas = decode_and_fit(bytes, Fit{});
    const double took = cpu_seconds() - begin;
    const uint64_t peak = memory_now("VmHWM:");
    const double limit_s = number_of(line, "max_seconds", seconds_max);
    EXPECT_LT(took, sanitized ? std::max(limit_s, seconds_max) : limit_s) << file;
    if (!sanitized) {
      EXPECT_LT(peak, calm + child_memory_max + bytes.size()) << file;
    }
    const std::string expect = text_of(line, "expect");
    if (std::getenv("NAUTILE_HOSTILE_PRINT") != nullptr) {
      printf("%-36s %-13s %4.0f ms %s\n", file.c_str(), expect.c_str(), took * 1000,
             canvas ? "ok" : canvas.error().message().c_str());
    }
    if (!canvas) expect_clear(canvas.error(), file);
    if (expect == "ok") {
      EXPECT_TRUE(canvas.has_value()) << file << ": " << canvas.error().message();
      const auto whole = decode(bytes);
      ASSERT_TRUE(whole.has_value()) << file << ": " << whole.error().message();
      expect_pixels(*whole, line, file);
    } else if (expect == "reject") {
      EXPECT_FALSE(canvas.has_value()) << file << ": " << text_of(line, "what");
      EXPECT_FALSE(decode(bytes).has_value()) << file << ": " << text_of(line, "what");
    }
    const auto confined = (*reader)->fit(bytes, Fit{});
    ASSERT_EQ(confined.has_value(), canvas.has_value())
        << file << ": " << (canvas ? confined.error().message() : canvas.error().message());
    if (canvas) {
      EXPECT_EQ(*confined, *canvas) << file;
    } else {
      EXPECT_EQ(confined.error().message(), canvas.error().message()) << file;
    }
  }
  EXPECT_EQ(tried, 137);
}

}  // namespace
}  // namespace media
