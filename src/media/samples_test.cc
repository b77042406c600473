#include <cmath>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <gtest/gtest.h>
#include <jpeglib.h>
#include <png.h>
#include <webp/encode.h>
#include <zlib.h>

#include "media/pictures.h"
#include "media/samples_for_test.h"

namespace media::samples {
namespace {

void append_png(png_structp png, png_bytep bytes, size_t count) {
  static_cast<std::string*>(png_get_io_ptr(png))->append(reinterpret_cast<char*>(bytes), count);
}
void no_flush(png_structp) {}

std::string write_png(int width, int height, int depth, int colour, bool interlaced,
                      const std::vector<uint8_t>& rows, size_t stride) {
  std::string out;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(png, &out, append_png, no_flush);
  png_set_compression_level(png, 1);
  png_set_IHDR(png, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), depth,
               colour, interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  const int passes = png_set_interlace_handling(png);
  for (int pass = 0; pass < passes; ++pass) {
    for (int y = 0; y < height; ++y) {
      png_write_row(png, rows.data() + (stride == 0 ? 0 : static_cast<size_t>(y) * stride));
    }
  }
  png_write_end(png, nullptr);
  png_destroy_write_struct(&png, &info);
  return out;
}

std::string big32(size_t value) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xFF);
  return out;
}

}  // namespace

std::vector<uint8_t> pixels(int width, int height) {
  std::vector<uint8_t> out(3 * static_cast<size_t>(width) * static_cast<size_t>(height));
  const int mark_x = width / 4, mark_y = height / 4;
  const uint8_t marks[4][3] = {{220, 30, 30}, {30, 200, 40}, {30, 40, 210}, {230, 220, 40}};
  std::vector<uint8_t> red, green;
  for (int x = 0; x < width; ++x) {
    red.push_back(static_cast<uint8_t>(127 + 100 * std::sin(x * 6.0 / width)));
  }
  for (int y = 0; y < height; ++y) {
    green.push_back(static_cast<uint8_t>(127 + 100 * std::sin(y * 5.0 / height + 1)));
  }
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      uint8_t* at =
          &out[3 * (static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x))];
      at[0] = red[static_cast<size_t>(x)];
      at[1] = green[static_cast<size_t>(y)];
      at[2] = static_cast<uint8_t>(255 * x / width);
      const bool left = x < mark_x, right = x >= width - mark_x;
      const bool top = y < mark_y, bottom = y >= height - mark_y;
      if ((left || right) && (top || bottom)) {
        std::memcpy(at, marks[(bottom ? 2 : 0) + (right ? 1 : 0)], 3);
      }
    }
  }
  return out;
}

std::string jpeg(const Jpeg& how) {
  jpeg_compress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* bytes = nullptr;
  unsigned long count = 0;
  jpeg_mem_dest(&jpeg, &bytes, &count);
  jpeg.image_width = static_cast<unsigned>(how.width);
  jpeg.image_height = static_cast<unsigned>(how.height);
  jpeg.input_components = how.cmyk ? 4 : 3;
  jpeg.in_color_space = how.cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_set_defaults(&jpeg);
  if (how.grey) jpeg_set_colorspace(&jpeg, JCS_GRAYSCALE);
  if (how.cmyk) jpeg_set_colorspace(&jpeg, JCS_YCCK);
  jpeg_set_quality(&jpeg, how.quality, TRUE);
  jpeg.comp_info[0].h_samp_factor = jpeg.comp_info[0].v_samp_factor = how.grey ? 1 : how.sampling;
  if (how.progressive) jpeg_simple_progression(&jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  const std::vector<uint8_t> rgb = pixels(how.width, how.height);
  std::vector<uint8_t> row(4 * static_cast<size_t>(how.width));
  for (int y = 0; y < how.height; ++y) {
    const uint8_t* from = &rgb[3 * static_cast<size_t>(how.width) * static_cast<size_t>(y)];
    if (how.cmyk) {  // as Adobe does: inverted, so that a value is what is left of white
      for (size_t x = 0; x < static_cast<size_t>(how.width); ++x) {
        std::memcpy(&row[4 * x], from + 3 * x, 3);
        row[4 * x + 3] = 255;
      }
    } else {
      std::memcpy(row.data(), from, 3 * static_cast<size_t>(how.width));
    }
    JSAMPROW rows[] = {row.data()};
    jpeg_write_scanlines(&jpeg, rows, 1);
  }
  jpeg_finish_compress(&jpeg);
  std::string out(reinterpret_cast<char*>(bytes), count);
  jpeg_destroy_compress(&jpeg);
  std::free(bytes);
  return out;
}

std::string webp(int width, int height, bool lossless) {
  const std::vector<uint8_t> rgb = pixels(width, height);
  WebPConfig config;
  EXPECT_TRUE(WebPConfigInit(&config));
  config.quality = lossless ? 0 : 90;
  config.method = 0;  // the quickest
  config.lossless = lossless;
  WebPPicture picture;
  EXPECT_TRUE(WebPPictureInit(&picture));
  picture.use_argb = lossless;
  picture.width = width;
  picture.height = height;
  WebPMemoryWriter writer;
  WebPMemoryWriterInit(&writer);
  picture.writer = WebPMemoryWrite;
  picture.custom_ptr = &writer;
  EXPECT_TRUE(WebPPictureImportRGB(&picture, rgb.data(), 3 * width));
  EXPECT_TRUE(WebPEncode(&config, &picture));
  WebPPictureFree(&picture);
  std::string out(reinterpret_cast<char*>(writer.mem), writer.size);
  WebPMemoryWriterClear(&writer);
  return out;
}

std::string png(int width, int height, bool interlaced) {
  return write_png(width, height, 8, PNG_COLOR_TYPE_RGB, interlaced, pixels(width, height),
                   3 * static_cast<size_t>(width));
}

std::string white_png(int width, int height) {
  const std::vector<uint8_t> row(static_cast<size_t>(width) / 8 + 1, 0xFF);
  return write_png(width, height, 1, PNG_COLOR_TYPE_GRAY, false, row, 0);
}

std::string with_orientation(const std::string& file, int orientation) {
  const std::string tiff = std::string("MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0", 19) +
                           static_cast<char>(orientation) + std::string(6, '\0');
  if (file[0] == '\xff') {
    const std::string data = std::string("Exif\0\0", 6) + tiff;
    return file.substr(0, 2) + "\xff\xe1" + big32(data.size() + 2).substr(2) + data +
           file.substr(2);
  }
  const std::string named = "eXIf" + tiff;
  const auto* bytes = reinterpret_cast<const Bytef*>(named.data());
  const size_t after_header = 33;
  return file.substr(0, after_header) + big32(tiff.size()) + named +
         big32(crc32(0, bytes, static_cast<uInt>(named.size()))) + file.substr(after_header);
}

// The samples are what they say: everything else is tested with them.
TEST(Samples, AreReadBackAsTheyWereMade) {
  const std::string file = png(40, 24);
  const auto picture = decode({reinterpret_cast<const uint8_t*>(file.data()), file.size()});
  ASSERT_TRUE(picture.has_value()) << picture.error().message();
  const std::vector<uint8_t> made = pixels(40, 24);
  for (size_t i = 0; i < made.size() / 3; ++i) {
    ASSERT_EQ(std::memcmp(&picture->values[4 * i], &made[3 * i], 3), 0) << i;
    ASSERT_EQ(picture->values[4 * i + 3], 255);
  }
}

}  // namespace media::samples
