// The sink that puts a picture on a canvas (Fit of pictures.h), row by row, so that a phone's
// photograph takes a few megabytes: each row is resized at once to the width that it will have,
// the columns at the end.
//
// A picture that is shown turned by a quarter is collected first, because its rows come last
// column by column; one for which there is no memory to do that is resized as stored and the
// result is turned, which may differ by a level or two.
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

  std::vector<uint8_t> finish();  // (side, side, 3), once all rows are in

 private:
  struct Size {
    int width = 0, height = 0;
  };
  // What the picture becomes, from its size as shown.
  Size target(const Frame& frame) const;
  bool collects(const Frame& frame) const;
  uint64_t bytes(const Frame& frame, bool collected) const;
  void take(int y, const uint8_t* pixels);

  Fit fit_;
  Turn turn_;              // still to be applied to the rows that come
  bool turn_last_ = false;  // or to the result
  Size rows_;              // as they are resized
  Size size_;              // of the result, as resized
  Taps across_, down_;
  int y_ = 0;
  std::vector<uint8_t> collected_;  // (rows_.height, rows_.width, 3)
  std::vector<uint8_t> mirrored_;   // (rows_.width, 3)
  std::vector<uint8_t> narrow_;     // (rows_.height, size_.width, 3)
};

}  // namespace media
