// How a picture is to be turned before it is shown: EXIF's orientation, which cameras write instead
// of turning the pixels. Looked for in the container's bytes before they are decoded; whatever
// makes no sense counts as 1, "as stored".
#pragma once

#include <cstdint>
#include <span>

namespace media {

// 1 to 8. The bytes of a whole file.
int orientation_of_png(std::span<const uint8_t> file);
int orientation_of_jpeg(std::span<const uint8_t> file);
int orientation_of_webp(std::span<const uint8_t> file);

// What an orientation does: the pixel (x, y) of a picture as it is stored is shown at (u, v), where
// (u, v) = swap ? (y, x) : (x, y), then u is counted from the right if flip_x, v from below if
// flip_y. (6, a phone held upright: swap and flip_x, a quarter turn clockwise.)
struct Turn {
  bool swap = false, flip_x = false, flip_y = false;
};
Turn turn_of(int orientation);

}  // namespace media
