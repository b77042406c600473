// Pictures made for tests: smooth colours with a mark in each corner, written by the libraries that
// also read them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace media::samples {

// (height, width, 3): a gradient, and in the corners a square of red, green, blue, yellow (top
// left, top right, bottom left, bottom right).
std::vector<uint8_t> pixels(int width, int height);

struct Jpeg {
  int width = 64, height = 48;
  bool progressive = false, grey = false, cmyk = false;
  int quality = 90, sampling = 2;  // 2: 4:2:0, 1: 4:4:4
};
std::string jpeg(const Jpeg& how);
std::string webp(int width, int height, bool lossless);
// 8-bit RGB, or one bit of grey (white) for large ones; interlaced (Adam7) or not.
std::string png(int width, int height, bool interlaced = false);
std::string white_png(int width, int height);

// The same file with EXIF that states an orientation. PNG gets a chunk, JPEG a segment.
std::string with_orientation(const std::string& file, int orientation);

}  // namespace media::samples
