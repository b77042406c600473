// The sink that puts a picture on a canvas (Fit of pictures.h) row by row, so that a phone's
// photograph takes a few megabytes.
//
// Rows come as stored, and a picture may be shown turned. Resizing works on the stored axes with
// the weights of the shown ones, in the order of passes that the shown picture has, so that the
// result is that of turning first; the small result is turned when it is placed.
#pragma once

#include <vector>

#include "media/decoders.h"
#include "media/exif.h"
#include "media/pictures.h"
#include "media/resample.h"

namespace media {

inline constexpr int fit_side_max = 1024;  // pixels; canvases of our models have 384
// invalid_input if its numbers make no sense.
base::Result<void> check_fit(const Fit& fit);

class Canvas final : public RowSink {
 public:
  explicit Canvas(const Fit& fit) : fit_(fit) {}  // checked

  int channels() const override { return 3; }
  base::Result<void> accepts(const Frame& frame) const override;
  int reduced_side_min() const override { return 2 * fit_.side; }
  void begin(const Frame& frame) override;
  void row(const uint8_t* pixels) override;

  std::vector<uint8_t> take() { return std::move(canvas_); }  // (side, side, 3), after all rows

 private:
  struct Plan {
    int width = 0, height = 0;  // of the result, as stored
    bool columns_first = false;
  };
  Plan plan(const Frame& frame) const;
  uint64_t bytes(const Frame& frame) const;
  void place(const uint8_t* pixels);

  Fit fit_;
  Turn turn_;
  Plan plan_;
  Taps across_;
  Columns down_;
  std::vector<uint8_t> row_;  // (plan_.width, 3)
  int placed_ = 0;            // rows of the result
  std::vector<uint8_t> canvas_;
};

}  // namespace media
