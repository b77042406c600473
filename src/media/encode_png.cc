// PNG out, by libpng: 8-bit RGB, texts as iTXt before the pixels, compressed with fixed settings
// and without a time, so that the same input gives the same bytes.
//
// As in png.cc nothing with a destructor lives between guarded() and the library.
#include "media/encode_png.h"

#include <csetjmp>
#include <cstring>
#include <png.h>

#include "base/bytes.h"
#include "media/pictures.h"

namespace media {
namespace {

// The format allows 79 bytes of Latin-1; ours are plain ASCII.
constexpr size_t key_bytes_max = 79, text_bytes_max = 1 << 20;
constexpr int compression_level = 6;

struct Writer {
  ~Writer() { png_destroy_write_struct(&png, &info); }
  png_structp png = nullptr;
  png_infop info = nullptr;
  char fault[200] = {};
  std::string out;
};

[[noreturn]] void on_error(png_structp png, png_const_charp text) {
  auto* writer = static_cast<Writer*>(png_get_error_ptr(png));
  std::strncpy(writer->fault, text, sizeof(writer->fault) - 1);
  png_longjmp(png, 1);
}
void on_warning(png_structp, png_const_charp) {}
void on_write(png_structp png, png_bytep bytes, size_t count) {
  static_cast<Writer*>(png_get_io_ptr(png))->out.append(reinterpret_cast<char*>(bytes), count);
}
void on_flush(png_structp) {}

template <class Step>
bool guarded(Writer& writer, const Step& step) {
  if (setjmp(png_jmpbuf(writer.png)) != 0) return false;
  step();
  return true;
}

using Texts = std::vector<std::pair<std::string, std::string>>;

base::Result<void> check(int width, int height, size_t values, const Texts& texts) {
  const auto wrong = [](const char* why) {
    return base::fail(base::ErrorKind::invalid_input, "the picture cannot be written as PNG", why);
  };
  if (width < 1 || height < 1 || width > side_max || height > side_max) {
    return wrong("a side is out of range");
  }
  if (values != 3 * static_cast<size_t>(width) * static_cast<size_t>(height)) {
    return wrong("the number of values does not fit its size");
  }
  for (const auto& [key, text] : texts) {
    bool plain = !key.empty() && key.size() <= key_bytes_max && key.front() != ' ' &&
                 key.back() != ' ' && key.find("  ") == std::string::npos;
    for (const char c : key) plain = plain && c >= ' ' && c <= '~';
    if (!plain) return wrong("a text's key is not plain ASCII of 1 to 79 characters");
    if (text.size() > text_bytes_max || !base::is_utf8(text) ||
        text.find('\0') != std::string::npos) {
      return wrong("a text is too long or no UTF-8");
    }
  }
  return {};
}

}  // namespace

base::Result<std::string> encode_png(int width, int height, std::span<const uint8_t> rgb,
                                     const Texts& texts) {
  TRY(check(width, height, rgb.size(), texts));
  std::vector<png_text> chunks;
  for (const auto& [key, text] : texts) {
    png_text chunk{};
    chunk.compression = PNG_ITXT_COMPRESSION_NONE;
    chunk.key = const_cast<char*>(key.c_str());  // the library only reads them
    chunk.text = const_cast<char*>(text.c_str());
    chunk.itxt_length = text.size();
    chunks.push_back(chunk);
  }
  Writer writer;
  writer.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &writer, on_error, on_warning);
  if (writer.png != nullptr) writer.info = png_create_info_struct(writer.png);
  if (writer.info == nullptr) {
    return base::fail(base::ErrorKind::out_of_memory, "the picture cannot be written as PNG");
  }
  const bool done = guarded(writer, [&] {
    const png_structp png = writer.png;
    png_set_write_fn(png, &writer, on_write, on_flush);
    png_set_compression_level(png, compression_level);
    png_set_IHDR(png, writer.info, static_cast<png_uint_32>(width),
                 static_cast<png_uint_32>(height), 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (!chunks.empty()) {
      png_set_text(png, writer.info, chunks.data(), static_cast<int>(chunks.size()));
    }
    png_write_info(png, writer.info);
    for (int y = 0; y < height; ++y) {
      png_write_row(png, rgb.data() + 3 * static_cast<size_t>(width) * static_cast<size_t>(y));
    }
    png_write_end(png, nullptr);
  });
  if (!done) {
    return base::fail(base::ErrorKind::internal, "the picture cannot be written as PNG",
                      writer.fault);
  }
  return std::move(writer.out);
}

}  // namespace media
