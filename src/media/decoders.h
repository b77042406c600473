// The three decoders, each of which gives a picture row by row to a RowSink. The sink decides what
// it takes, from the sizes in the file's header, before anything is allocated by them.
//
// A decoder holds no state between pictures; any thread may run one. Errors are those of
// pictures.h: `refused()` for what the file is, `too_large()` for what it would take.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace media {

struct Frame {
  int width = 0, height = 0;            // of the picture as stored
  int rows_width = 0, rows_height = 0;  // of what comes: less where the decoder reduces it
  int orientation = 1;                  // EXIF's, 1 to 8; the rows come as stored
  uint64_t decoder_bytes = 0;           // what decoding itself allocates
};

class RowSink {
 public:
  virtual ~RowSink() = default;
  virtual int channels() const = 0;  // 3: RGB, 4: RGBA, not premultiplied
  // limit_exceeded with the numbers, if the sink does not take such a picture.
  virtual base::Result<void> accepts(const Frame& frame) const = 0;
  // To how many pixels the longer side may be reduced while decoding, if the whole picture is not
  // accepted; 0: not at all.
  virtual int reduced_side_min() const = 0;
  // Once, with an accepted frame; then each row, (rows_width, channels), from the top.
  virtual void begin(const Frame& frame) = 0;
  virtual void row(const uint8_t* pixels) = 0;
};

enum class Format { none, png, jpeg, webp };
Format format_of(std::span<const uint8_t> file);  // by its first bytes

base::Result<void> decode_png(std::span<const uint8_t> file, RowSink& sink);
base::Result<void> decode_jpeg(std::span<const uint8_t> file, RowSink& sink);
base::Result<void> decode_webp(std::span<const uint8_t> file, RowSink& sink);
// By format_of(); looks at the number of bytes first.
base::Result<void> decode_rows(std::span<const uint8_t> file, RowSink& sink);

// The decoders' errors: `why` in words; what is accepted is added.
tl::unexpected<base::Error> refused(std::string why);
tl::unexpected<base::Error> too_large(std::string why);
tl::unexpected<base::Error> cut_short(std::string_view format);
tl::unexpected<base::Error> damaged(std::string_view format, std::string_view library_text);
// Of a file, before anything is read of it.
base::Result<void> check_size(uint64_t bytes);
// limit_exceeded if a side is longer than side_max.
base::Result<void> check_sides(uint64_t width, uint64_t height);

}  // namespace media
