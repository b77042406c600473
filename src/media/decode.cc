// Which decoder a file is for, what is refused and how that is said, and decode(): a whole picture
// as shown.
#include <cstring>
#include <new>

#include "media/decoders.h"
#include "media/exif.h"
#include "media/pictures.h"

namespace media {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr const char* cannot_read = "the picture cannot be read";

std::string accepted() {
  return fmt::format("send a PNG, JPEG or WebP picture of at most {} MiB and {} pixels a side",
                     picture_bytes_max >> 20, side_max);
}

bool has(Bytes file, size_t at, std::string_view text) {
  return file.size() >= at + text.size() &&
         std::memcmp(file.data() + at, text.data(), text.size()) == 0;
}

// A whole picture, turned as it is shown.
class WholePicture final : public RowSink {
 public:
  int channels() const override { return 4; }
  int reduced_side_min() const override { return 0; }
  base::Result<void> accepts(const Frame& frame) const override {
    const uint64_t bytes =
        4ull * static_cast<uint64_t>(frame.rows_width) * static_cast<uint64_t>(frame.rows_height);
    if (bytes <= child_memory_max && frame.decoder_bytes <= child_memory_max) return {};
    return too_large(fmt::format("it has {} x {} pixels, too many to be shown whole", frame.width,
                                 frame.height));
  }
  void begin(const Frame& frame) override {
    turn_ = turn_of(frame.orientation);
    stored_width_ = frame.rows_width;
    picture.width = turn_.swap ? frame.rows_height : frame.rows_width;
    picture.height = turn_.swap ? frame.rows_width : frame.rows_height;
    picture.values.resize(4ull * static_cast<size_t>(picture.width) *
                          static_cast<size_t>(picture.height));
  }
  void row(const uint8_t* pixels) override {
    for (int x = 0; x < stored_width_; ++x) {
      int u = turn_.swap ? y_ : x, v = turn_.swap ? x : y_;
      if (turn_.flip_x) u = picture.width - 1 - u;
      if (turn_.flip_y) v = picture.height - 1 - v;
      const size_t at =
          static_cast<size_t>(v) * static_cast<size_t>(picture.width) + static_cast<size_t>(u);
      std::memcpy(&picture.values[4 * at], pixels + 4 * static_cast<size_t>(x), 4);
    }
    ++y_;
  }

  Rgba picture;

 private:
  Turn turn_;
  int stored_width_ = 0, y_ = 0;
};

}  // namespace

tl::unexpected<base::Error> refused(std::string why) {
  return base::fail(base::ErrorKind::invalid_input, cannot_read, std::move(why), accepted());
}
tl::unexpected<base::Error> too_large(std::string why) {
  return base::fail(base::ErrorKind::limit_exceeded, cannot_read, std::move(why), accepted());
}
tl::unexpected<base::Error> cut_short(std::string_view format) {
  return refused(fmt::format("the {} file ends too early", format));
}
tl::unexpected<base::Error> damaged(std::string_view format, std::string_view library_text) {
  return refused(
      fmt::format("the {} file is damaged ({})", format, base::shown_name(library_text)));
}

base::Result<void> check_size(uint64_t bytes) {
  if (bytes == 0) return refused("it is empty");
  if (bytes > picture_bytes_max) return too_large(fmt::format("the file has {} bytes", bytes));
  return {};
}

base::Result<void> check_sides(uint64_t width, uint64_t height) {
  if (width <= side_max && height <= side_max) return {};
  return too_large(fmt::format("it has {} x {} pixels", width, height));
}

Format format_of(Bytes file) {
  if (has(file, 0, std::string_view("\x89PNG\r\n\x1a\n", 8))) return Format::png;
  if (has(file, 0, "\xff\xd8\xff")) return Format::jpeg;
  if (has(file, 0, "RIFF") && has(file, 8, "WEBP")) return Format::webp;
  return Format::none;
}

base::Result<void> decode_rows(Bytes file, RowSink& sink) {
  TRY(check_size(file.size()));
  try {
    switch (format_of(file)) {
      case Format::png:
        return decode_png(file, sink);
      case Format::jpeg:
        return decode_jpeg(file, sink);
      case Format::webp:
        return decode_webp(file, sink);
      case Format::none:
        break;
    }
  } catch (const std::bad_alloc&) {  // the child has a limit of its own
    return too_large("it takes more memory than there is for one picture");
  }
  return refused("it is neither PNG nor JPEG nor WebP");
}

base::Result<Rgba> decode(Bytes bytes) {
  WholePicture sink;
  TRY(decode_rows(bytes, sink));
  return std::move(sink.picture);
}

}  // namespace media
