#include "media/fit.h"

#include <algorithm>
#include <cstring>

namespace media {
namespace {

// Of child_memory_max: for what the libraries hold besides pictures, and the allocator's slack.
constexpr uint64_t slack_bytes = 6ull << 20;
// Decoding and resizing take some 10 ns a pixel, and there is a second for both.
constexpr uint64_t pixels_max = 64'000'000;

uint64_t product(int a, int b) { return static_cast<uint64_t>(a) * static_cast<uint64_t>(b); }

}  // namespace

base::Result<void> check_fit(const Fit& fit) {
  const bool good = fit.side >= 1 && fit.side <= fit_side_max && fit.min_side >= 1 &&
                    fit.min_side <= fit.side && fit.background >= 0 && fit.background <= 255;
  if (good) return {};
  return base::fail(base::ErrorKind::invalid_input, "pictures cannot be put on such a canvas",
                    fmt::format("side {}, least side {}, background {}", fit.side, fit.min_side,
                                fit.background));
}

Canvas::Size Canvas::target(const Frame& frame) const {
  const bool swap = turn_of(frame.orientation).swap;
  const int width = swap ? frame.height : frame.width, height = swap ? frame.width : frame.height;
  const double longest = std::max(width, height);
  const auto scaled = [&](int side) {
    return std::max(static_cast<int>(side / longest * fit_.side), fit_.min_side);
  };
  return {scaled(width), scaled(height)};
}

uint64_t Canvas::bytes(const Frame& frame, bool collected) const {
  const bool swap = turn_of(frame.orientation).swap;
  const Size size = target(frame);
  const bool as_stored = swap && !collected;
  const int width = swap && collected ? frame.rows_height : frame.rows_width;
  const int height = swap && collected ? frame.rows_width : frame.rows_height;
  const int narrow = as_stored ? size.height : size.width;
  uint64_t total = frame.decoder_bytes + product(height, narrow) * 3;
  if (collected && swap) total += product(frame.rows_width, frame.rows_height) * 3;
  // The weights: about 4 of 4 bytes for each pixel of a side. The canvas, twice.
  total += 20 * (product(width, 1) + product(height, 1)) + product(fit_.side, fit_.side) * 6;
  return total;
}

bool Canvas::collects(const Frame& frame) const {
  return turn_of(frame.orientation).swap && bytes(frame, true) <= child_memory_max - slack_bytes;
}

base::Result<void> Canvas::accepts(const Frame& frame) const {
  const uint64_t needed = bytes(frame, collects(frame));
  if (needed > child_memory_max - slack_bytes) {
    return too_large(fmt::format("its {} x {} pixels take {} MiB to read, more than {}",
                                 frame.width, frame.height, (needed >> 20) + 1,
                                 (child_memory_max - slack_bytes) >> 20));
  }
  if (product(frame.rows_width, frame.rows_height) > pixels_max) {
    return too_large(fmt::format("its {} x {} pixels are more than {} million", frame.width,
                                 frame.height, pixels_max / 1'000'000));
  }
  return {};
}

void Canvas::begin(const Frame& frame) {
  turn_ = turn_of(frame.orientation);
  size_ = target(frame);
  turn_last_ = turn_.swap && !collects(frame);
  const bool swap = turn_.swap && !turn_last_;
  rows_ = swap ? Size{frame.rows_height, frame.rows_width}
               : Size{frame.rows_width, frame.rows_height};
  if (turn_last_) std::swap(size_.width, size_.height);
  across_ = bicubic_taps(rows_.width, size_.width);
  down_ = bicubic_taps(rows_.height, size_.height);
  if (swap) collected_.resize(product(rows_.width, rows_.height) * 3);
  if (turn_.flip_x && !turn_.swap) mirrored_.resize(product(rows_.width, 3));
  narrow_.resize(product(rows_.height, size_.width) * 3);
}

// The row that is shown as the y-th, whole.
void Canvas::take(int y, const uint8_t* pixels) {
  resample_row(across_, pixels, narrow_.data() + product(y, size_.width) * 3);
}

void Canvas::row(const uint8_t* pixels) {
  const int y = y_++;
  if (turn_last_) return take(y, pixels);
  if (turn_.swap) {  // this row is a column of what is shown
    const int u = turn_.flip_x ? rows_.width - 1 - y : y;
    for (int v = 0; v < rows_.height; ++v, pixels += 3) {
      const int row = turn_.flip_y ? rows_.height - 1 - v : v;
      std::memcpy(&collected_[(product(row, rows_.width) + static_cast<uint64_t>(u)) * 3], pixels,
                  3);
    }
    return;
  }
  if (turn_.flip_x) {
    for (int x = 0; x < rows_.width; ++x, pixels += 3) {
      std::memcpy(&mirrored_[product(rows_.width - 1 - x, 3)], pixels, 3);
    }
    pixels = mirrored_.data();
  }
  take(turn_.flip_y ? rows_.height - 1 - y : y, pixels);
}

std::vector<uint8_t> Canvas::finish() {
  for (int y = 0; !collected_.empty() && y < rows_.height; ++y) {
    take(y, collected_.data() + product(y, rows_.width) * 3);
  }
  std::vector<uint8_t> canvas(product(fit_.side, fit_.side) * 3,
                              static_cast<uint8_t>(fit_.background));
  const size_t stride = product(fit_.side, 3);
  const auto place = [&](const Size& size) {
    return canvas.data() + product((fit_.side - size.height) / 2, 1) * stride +
           product((fit_.side - size.width) / 2, 3);
  };
  if (!turn_last_) {
    resample_columns(down_, size_.width, narrow_.data(), place(size_), stride);
    return canvas;
  }
  std::vector<uint8_t> stored(product(size_.width, size_.height) * 3);
  resample_columns(down_, size_.width, narrow_.data(), stored.data(), product(size_.width, 3));
  const Size shown{size_.height, size_.width};
  uint8_t* const corner = place(shown);
  for (int y = 0; y < size_.height; ++y) {
    const int u = turn_.flip_x ? shown.width - 1 - y : y;
    for (int x = 0; x < size_.width; ++x) {
      const int v = turn_.flip_y ? shown.height - 1 - x : x;
      std::memcpy(corner + static_cast<size_t>(v) * stride + product(u, 3),
                  &stored[(product(y, size_.width) + static_cast<uint64_t>(x)) * 3], 3);
    }
  }
  return canvas;
}

base::Result<std::vector<uint8_t>> decode_and_fit(std::span<const uint8_t> bytes, const Fit& fit) {
  TRY(check_fit(fit));
  Canvas canvas(fit);
  TRY(decode_rows(bytes, canvas));
  return canvas.finish();
}

}  // namespace media
