// WebP by libwebp: lossy, lossless and alpha; not animated ones. The library holds the whole
// picture (and all of it once more, at 4 bytes a pixel, where it is lossless): counted from the
// header before. A picture that is too large for the sink is reduced by the library's own scaler,
// which spares the second copy.
#include <algorithm>
#include <vector>
#include <webp/decode.h>

#include "media/decoders.h"
#include "media/exif.h"
#include "media/pictures.h"

namespace media {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr const char* name = "WebP";
constexpr int reductions_max = 8;
// Per column: predictions, filters and caches of some rows.
constexpr uint64_t column_bytes = 256;
enum Coding { mixed = 0, lossy = 1, lossless = 2 };  // WebPBitstreamFeatures::format

base::Result<void> failure(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
      return cut_short(name);
    case VP8_STATUS_OUT_OF_MEMORY:
      return too_large("it takes more memory than there is for one picture");
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      return damaged(name, "an unknown feature");
    default:
      return damaged(name, "bitstream error");
  }
}

uint64_t library_bytes(const WebPBitstreamFeatures& found) {
  const uint64_t width = static_cast<uint64_t>(found.width);
  const uint64_t pixels = width * static_cast<uint64_t>(found.height);
  uint64_t bytes = width * column_bytes;
  if (found.format != lossy) bytes += 4 * pixels;
  // The plane of alpha, and the same again while it is decoded.
  if (found.format != lossless && found.has_alpha) bytes += 2 * pixels;
  return bytes;
}

// The frame at the largest size that the sink takes.
base::Result<Frame> choose_size(const WebPBitstreamFeatures& found, const RowSink& sink,
                                int orientation) {
  Frame frame;
  frame.width = found.width;
  frame.height = found.height;
  frame.orientation = orientation;
  base::Result<Frame> first = base::fail(base::ErrorKind::internal, "no size was tried");
  for (int part = 1; part <= reductions_max; ++part) {
    frame.rows_width = (frame.width + part - 1) / part;
    frame.rows_height = (frame.height + part - 1) / part;
    if (part > 1 && (sink.reduced_side_min() == 0 ||
                     std::max(frame.rows_width, frame.rows_height) < sink.reduced_side_min())) {
      break;
    }
    frame.decoder_bytes = library_bytes(found) + static_cast<uint64_t>(sink.channels()) *
                                                     static_cast<uint64_t>(frame.rows_width) *
                                                     static_cast<uint64_t>(frame.rows_height);
    const auto accepted = sink.accepts(frame);
    if (accepted) return frame;
    if (part == 1) first = base::fail(accepted.error());
  }
  return first;
}

}  // namespace

base::Result<void> decode_webp(Bytes file, RowSink& sink) {
  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0) {
    return base::fail(base::ErrorKind::internal,
                      "libwebp has another interface than was built for");
  }
  const VP8StatusCode status = WebPGetFeatures(file.data(), file.size(), &config.input);
  if (status != VP8_STATUS_OK) return failure(status);
  if (config.input.has_animation) return refused("it is an animated WebP file");
  if (config.input.width < 1 || config.input.height < 1) return damaged(name, "it has no pixels");
  TRY(check_sides(static_cast<uint64_t>(config.input.width),
                  static_cast<uint64_t>(config.input.height)));
  ASSIGN(const Frame frame, choose_size(config.input, sink, orientation_of_webp(file)));
  const size_t stride =
      static_cast<size_t>(frame.rows_width) * static_cast<size_t>(sink.channels());
  std::vector<uint8_t> pixels(stride * static_cast<size_t>(frame.rows_height));
  config.options.use_scaling = frame.rows_width != frame.width;
  config.options.scaled_width = frame.rows_width;
  config.options.scaled_height = frame.rows_height;
  config.output.colorspace = sink.channels() == 4 ? MODE_RGBA : MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = pixels.data();
  config.output.u.RGBA.stride = static_cast<int>(stride);
  config.output.u.RGBA.size = pixels.size();
  const VP8StatusCode decoded = WebPDecode(file.data(), file.size(), &config);
  WebPFreeDecBuffer(&config.output);
  if (decoded != VP8_STATUS_OK) return failure(decoded);
  sink.begin(frame);
  for (int y = 0; y < frame.rows_height; ++y) {
    sink.row(pixels.data() + static_cast<size_t>(y) * stride);
  }
  return {};
}

}  // namespace media
