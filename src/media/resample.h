// Resizing as Pillow does it, level for level: bicubic (a = -0.5), widened to the pixels that fall
// on one of the result (antialias), rows first and columns then, each pass rounded to 8 bits, with
// weights of 22 fractional bits. Janus was trained on pictures that were resized so.
//
//   in   0   1   2   3   4   5   6   7   8   9      10 pixels to 4: one of the result is 2.5 wide
//        |-------+-------|                          and looks at 2 x 2.5 to either side of its
//   out      0         1         2         3        centre
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace media {

// For each of `out` pixels of an axis, which of the `in` pixels count how much.
struct Taps {
  int in = 0, out = 0;
  int most = 0;                    // room for so many weights a pixel
  std::vector<int32_t> first;      // (out): the first one that counts
  std::vector<int32_t> count;      // (out)
  std::vector<int32_t> weights;    // (out, most): times 2^22
};
Taps bicubic_taps(int in, int out);  // both at least 1

// A row: (taps.in, 3) to (taps.out, 3).
void resample_row(const Taps& taps, const uint8_t* in, uint8_t* out);
// All rows: (taps.in, width, 3) to (taps.out, width, 3), the latter with `stride` bytes a row.
void resample_columns(const Taps& taps, int width, const uint8_t* in, uint8_t* out, size_t stride);

}  // namespace media
