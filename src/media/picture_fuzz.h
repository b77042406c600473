// For the fuzz targets of the decoders: sinks that read every byte that they are given, so that a
// sanitizer sees one that was never written.
#pragma once

#include <cstdlib>

#include "media/decoders.h"

namespace media {

class ReadingSink final : public RowSink {
 public:
  // Takes at most `pixels_max` pixels a row-set, and lets the decoder reduce what has more.
  ReadingSink(int channels, uint64_t pixels_max) : channels_(channels), pixels_max_(pixels_max) {}
  int channels() const override { return channels_; }
  int reduced_side_min() const override { return 1; }
  base::Result<void> accepts(const Frame& frame) const override {
    const uint64_t pixels =
        static_cast<uint64_t>(frame.rows_width) * static_cast<uint64_t>(frame.rows_height);
    if (pixels <= pixels_max_ && frame.decoder_bytes <= (64u << 20)) return {};
    return too_large("more than this test takes");
  }
  void begin(const Frame& frame) override {
    if (frame.rows_width < 1 || frame.rows_height < 1 || frame.orientation < 1 ||
        frame.orientation > 8) {
      std::abort();
    }
    row_bytes_ = static_cast<size_t>(frame.rows_width) * static_cast<size_t>(channels_);
    rows_left_ = frame.rows_height;
  }
  void row(const uint8_t* pixels) override {
    if (rows_left_-- < 1) std::abort();
    for (size_t i = 0; i < row_bytes_; ++i) sum_ = static_cast<uint8_t>(sum_ + pixels[i]);
  }
  bool complete() const { return rows_left_ == 0; }

 private:
  int channels_;
  uint64_t pixels_max_;
  size_t row_bytes_ = 0;
  int rows_left_ = 0;
  volatile uint8_t sum_ = 0;
};

template <class Decoder>
void decode_as(const Decoder& decoder, std::span<const uint8_t> file) {
  for (const int channels : {3, 4}) {
    for (const uint64_t pixels_max : {uint64_t{4'000'000}, uint64_t{100}}) {
      ReadingSink sink(channels, pixels_max);
      if (decoder(file, sink) && !sink.complete()) std::abort();
    }
  }
}

}  // namespace media
