#include "engine/mixed_pairs.h"

#include <algorithm>

#include "engine/picture_work.h"

namespace engine {
namespace {

constexpr int pair = 2;
constexpr double smoothing = 0.2;        // weight of the newest step
constexpr double longer_than_least = 2;  // than with one picture
constexpr int patience_steps = 200;      // so that fewer than one gap in a hundred is too long

}  // namespace

void MixedPairs::note_step(int text_rows, int pair_rows, double ms) {
  if (text_rows <= 0 || pair_rows < pair || !(ms > 0)) return;
  if (pair_rows == pair) {
    const double before = one_picture_ms_ > 0 ? one_picture_ms_ : ms;
    one_picture_ms_ = before + smoothing * (ms - before);
  }
  patience_ -= patience_ > 0;
  const bool one_fits = one_picture_ms_ <= gap_target_ms - slice_ms_min;
  const double step_ms_max = one_fits ? gap_aim_ms : longer_than_least * one_picture_ms_;
  if (ms > step_ms_max) {
    rows_max_ = std::max(pair, std::min(rows_max_, pair_rows) - pair);
    patience_ = patience_steps;
    return;
  }
  // At worst a step takes as long as it has rows, as if it read the weights for each.
  const double rows = text_rows + pair_rows;
  const bool fits = ms * (rows + pair) / rows <= step_ms_max + slice_ms_min;
  if (fits && patience_ == 0 && pair_rows >= rows_max_) rows_max_ = pair_rows + pair;
}

}  // namespace engine
