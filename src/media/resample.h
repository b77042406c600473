// Resizing as Pillow does it, level for level: bicubic (a = -0.5), widened to the pixels that fall
// on one of the result (antialias), in two passes that are each rounded to 8 bits, with weights of
// 22 fractional bits. Janus was trained on pictures that were resized so.
//
//   in   0   1   2   3   4   5   6   7   8   9      10 pixels to 4: one of the result is 2.5 wide
//        |-------+-------|                          and looks at 2 x 2.5 to either side of its
//   out      0         1         2         3        centre
//
// Either pass takes a picture row by row, so that none is ever held whole.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace media {

// For each of `out` pixels of an axis, which of the `in` pixels count how much.
struct Taps {
  int in = 0, out = 0;
  int most = 0;                  // room for so many weights a pixel
  std::vector<int32_t> first;    // (out): the first one that counts; never falls
  std::vector<int32_t> count;    // (out)
  std::vector<int32_t> weights;  // (out, most): times 2^22
};
Taps bicubic_taps(int in, int out);  // both at least 1
// The same for an axis that is counted from its other end, on both sides.
Taps reversed(const Taps& taps);

// Which pass Pillow makes first. Rounding between them makes the difference; measured with
// Pillow 13 on 1,375 random sizes, of which this rule fits all (older ones took rows always).
inline bool columns_come_first(int width, int height, int to_width, int to_height) {
  return to_height < height && height - to_height > 2 * (width - to_width);
}

// A row: (taps.in, 3) to (taps.out, 3).
void resample_row(const Taps& taps, const uint8_t* in, uint8_t* out);

// The pass over columns: rows come in one by one and the result's leave as soon as the last that
// counts is in. Only the sums of those that are under way are held.
class Columns {
 public:
  Columns() = default;
  Columns(Taps taps, int values);  // of a row

  // The next of taps.in rows. Rows of the result that are complete are handed to `emit(row)`, in
  // order; they hold until it returns.
  template <class Emit>
  void add(const uint8_t* row, const Emit& emit) {
    sum_up(row);
    while (const uint8_t* done = next_complete()) emit(done);
  }

  // What one for such sizes holds, about.
  static uint64_t bytes(int in, int out, int values);

 private:
  void sum_up(const uint8_t* row);
  const uint8_t* next_complete();  // null: none yet
  int32_t* sums_of(int out) { return sums_.data() + static_cast<size_t>(out % slots_) * values_; }

  Taps taps_;
  size_t values_ = 0;
  int slots_ = 1;                // results under way at the same time, at most
  int in_ = 0;                   // rows that have come
  int begun_ = 0, emitted_ = 0;  // results
  std::vector<int32_t> sums_;    // (slots, values)
  std::vector<uint8_t> row_;     // (values)
};

}  // namespace media
