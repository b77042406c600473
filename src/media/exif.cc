// EXIF is a TIFF without pixels: "II" or "MM" (the order of bytes of all that follows), 42, the
// offset of the first directory. A directory is a count and so many entries of 12 bytes: tag, type,
// number of values, and the value itself if it fits in 4 bytes. Orientation is tag 0x0112, type 3
// (16 bits), one value. Offsets count from the order mark. No other directory is followed, so
// there is no loop to be caught in.
//
// Where it lies: PNG chunk eXIf (the TIFF alone); JPEG segment APP1 that begins with "Exif\0\0";
// WebP chunk EXIF, with or without that beginning.
#include "media/exif.h"

#include <algorithm>
#include <optional>
#include <string_view>

namespace media {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr uint16_t orientation_tag = 0x0112, short_type = 3;
constexpr size_t entry_bytes = 12;

bool begins_with(Bytes bytes, std::string_view text) {
  return bytes.size() >= text.size() &&
         std::equal(text.begin(), text.end(), bytes.begin(),
                    [](char a, uint8_t b) { return static_cast<uint8_t>(a) == b; });
}

constexpr std::string_view exif_mark("Exif\0\0", 6);

// `count` bytes (at most 4) from `at` on as a number.
std::optional<uint32_t> number(Bytes bytes, size_t at, size_t count, bool big) {
  if (at > bytes.size() || bytes.size() - at < count) return std::nullopt;
  uint32_t value = 0;
  for (size_t i = 0; i < count; ++i) {
    value = value << 8 | bytes[at + (big ? i : count - 1 - i)];
  }
  return value;
}

int orientation_in(Bytes tiff) {
  if (begins_with(tiff, exif_mark)) tiff = tiff.subspan(exif_mark.size());
  const bool big = begins_with(tiff, "MM");
  if (!big && !begins_with(tiff, "II")) return 1;
  const auto at = [&](size_t where, size_t count) { return number(tiff, where, count, big); };
  if (at(2, 2) != 42u) return 1;
  const auto directory = at(4, 4);
  const auto entries = directory ? at(*directory, 2) : std::nullopt;
  if (!entries) return 1;
  for (size_t i = 0; i < *entries; ++i) {
    const size_t entry = size_t{*directory} + 2 + i * entry_bytes;
    const auto tag = at(entry, 2);
    if (!tag) return 1;  // the directory runs past the end
    if (*tag != orientation_tag) continue;
    const auto value = at(entry + 8, 2);
    if (at(entry + 2, 2) != short_type || at(entry + 4, 4) != 1u || !value) return 1;
    return *value >= 1 && *value <= 8 ? static_cast<int>(*value) : 1;
  }
  return 1;
}

}  // namespace

Turn turn_of(int orientation) {
  const bool swap = orientation >= 5;
  const bool flip_x = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
  const bool flip_y = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
  return {swap, flip_x, flip_y};
}

int orientation_of_png(Bytes file) {
  // After the signature: length, name, data, checksum; numbers are big-endian.
  size_t at = 8;
  while (file.size() > at && file.size() - at >= 12) {
    const uint64_t length = *number(file, at, 4, true);
    if (length > file.size() - at - 12) return 1;
    if (begins_with(file.subspan(at + 4), "eXIf"))
      return orientation_in(file.subspan(at + 8, length));
    at += 12 + length;
  }
  return 1;
}

int orientation_of_jpeg(Bytes file) {
  // Segments: 0xFF (any number of them), what it is, length with its own two bytes, data. Those
  // that we are after stand before the scan (0xDA).
  size_t at = 2;
  while (at < file.size()) {
    if (file[at] != 0xFF) return 1;
    while (at < file.size() && file[at] == 0xFF) ++at;
    if (at >= file.size()) return 1;
    const uint8_t kind = file[at++];
    if (kind == 0xDA || kind == 0xD9) return 1;
    const auto length = number(file, at, 2, true);
    if (!length || *length < 2 || *length > file.size() - at) return 1;
    const Bytes data = file.subspan(at + 2, *length - 2);
    if (kind == 0xE1 && begins_with(data, exif_mark)) return orientation_in(data);
    at += *length;
  }
  return 1;
}

int orientation_of_webp(Bytes file) {
  // After "RIFF", size, "WEBP": name, length (little-endian), data, padded to an even length. Only
  // the extended form, whose first chunk is VP8X, has such chunks.
  size_t at = 12;
  if (file.size() < at || !begins_with(file.subspan(at), "VP8X")) return 1;
  while (file.size() > at && file.size() - at >= 8) {
    const uint64_t length = *number(file, at + 4, 4, false);
    if (length > file.size() - at - 8) return 1;
    if (begins_with(file.subspan(at), "EXIF")) return orientation_in(file.subspan(at + 8, length));
    at += 8 + length + length % 2;
  }
  return 1;
}

}  // namespace media
