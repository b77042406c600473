#include "api/sketch_png.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "media/encode_png.h"

namespace api {
namespace {

constexpr uint8_t missing = 0x7f;
constexpr size_t channels = 3;

}  // namespace

std::string sketch_png(int grid, std::string_view colours, int side) {
  grid = std::clamp(grid, 1, sketch_grid_max);
  side = std::clamp(side, 1, sketch_side_max);
  std::vector<uint8_t> pixels;
  pixels.reserve(static_cast<size_t>(side) * static_cast<size_t>(side) * channels);
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) {
      const int square = y * grid / side * grid + x * grid / side;
      const size_t from = static_cast<size_t>(square) * channels;
      for (size_t c = from; c < from + channels; ++c) {
        pixels.push_back(c < colours.size() ? static_cast<uint8_t>(colours[c]) : missing);
      }
    }
  }
  auto png = media::encode_png(side, side, pixels, {});
  return png ? std::move(*png) : std::string();
}

}  // namespace api
