#include "media/fit.h"

#include <algorithm>
#include <cstring>

namespace media {
namespace {

// Of child_memory_max: for what the libraries hold besides pictures, and the allocator's slack.
constexpr uint64_t slack_bytes = 6ull << 20;
// Decoding and resizing take some 10 ns a pixel, and there is a second for both.
constexpr uint64_t pixels_max = 64'000'000;
// Weights of an axis: about four of 4 bytes a pixel, and their like while they are made.
constexpr uint64_t tap_bytes = 40;

uint64_t product(int a, int b) { return static_cast<uint64_t>(a) * static_cast<uint64_t>(b); }

}  // namespace

base::Result<void> check_fit(const Fit& fit) {
  const bool good = fit.side >= 1 && fit.side <= fit_side_max && fit.min_side >= 1 &&
                    fit.min_side <= fit.side && fit.background >= 0 && fit.background <= 255;
  if (good) return {};
  return base::fail(
      base::ErrorKind::invalid_input, "pictures cannot be put on such a canvas",
      fmt::format("side {}, least side {}, background {}", fit.side, fit.min_side, fit.background));
}

Canvas::Plan Canvas::plan(const Frame& frame) const {
  const double longest = std::max(frame.width, frame.height);
  const auto scaled = [&](int side) {
    return std::max(static_cast<int>(side / longest * fit_.side), fit_.min_side);
  };
  Plan plan{scaled(frame.width), scaled(frame.height), false};
  // The order of passes is the shown picture's; its rows are our columns if it is turned.
  const bool swap = turn_of(frame.orientation).swap;
  plan.columns_first =
      swap ? !columns_come_first(frame.rows_height, frame.rows_width, plan.height, plan.width)
           : columns_come_first(frame.rows_width, frame.rows_height, plan.width, plan.height);
  return plan;
}

uint64_t Canvas::bytes(const Frame& frame) const {
  const Plan plan = this->plan(frame);
  const int summed = 3 * (plan.columns_first ? frame.rows_width : plan.width);
  return frame.decoder_bytes + Columns::bytes(frame.rows_height, plan.height, summed) +
         tap_bytes * static_cast<uint64_t>(frame.rows_width + frame.rows_height) +
         product(fit_.side, fit_.side) * 3;
}

base::Result<void> Canvas::accepts(const Frame& frame) const {
  const uint64_t needed = bytes(frame);
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
  plan_ = plan(frame);
  // An axis is counted from its other end where the shown one is; reversing the weights keeps the
  // rounding of the shown picture.
  const bool x_reversed = turn_.swap ? turn_.flip_y : turn_.flip_x;
  const bool y_reversed = turn_.swap ? turn_.flip_x : turn_.flip_y;
  across_ = bicubic_taps(frame.rows_width, plan_.width);
  if (x_reversed) across_ = reversed(across_);
  Taps down = bicubic_taps(frame.rows_height, plan_.height);
  if (y_reversed) down = reversed(down);
  down_ = Columns(std::move(down), 3 * (plan_.columns_first ? frame.rows_width : plan_.width));
  row_.resize(product(plan_.width, 3));
  canvas_.assign(product(fit_.side, fit_.side) * 3, static_cast<uint8_t>(fit_.background));
}

void Canvas::row(const uint8_t* pixels) {
  if (plan_.columns_first) {
    down_.add(pixels, [&](const uint8_t* done) {
      resample_row(across_, done, row_.data());
      place(row_.data());
    });
  } else {
    resample_row(across_, pixels, row_.data());
    down_.add(row_.data(), [&](const uint8_t* done) { place(done); });
  }
}

// The next row of the result, as stored, to where it is shown.
void Canvas::place(const uint8_t* pixels) {
  const int width = turn_.swap ? plan_.height : plan_.width;
  const int height = turn_.swap ? plan_.width : plan_.height;
  const int left = (fit_.side - width) / 2, top = (fit_.side - height) / 2;
  const int y = placed_++;
  for (int x = 0; x < plan_.width; ++x, pixels += 3) {
    int u = turn_.swap ? y : x, v = turn_.swap ? x : y;
    if (turn_.flip_x) u = width - 1 - u;
    if (turn_.flip_y) v = height - 1 - v;
    std::memcpy(&canvas_[(product(top + v, fit_.side) + static_cast<uint64_t>(left + u)) * 3],
                pixels, 3);
  }
}

base::Result<std::vector<uint8_t>> decode_and_fit(std::span<const uint8_t> bytes, const Fit& fit) {
  TRY(check_fit(fit));
  Canvas canvas(fit);
  TRY(decode_rows(bytes, canvas));
  return canvas.take();
}

}  // namespace media
