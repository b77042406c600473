// PNG by libpng: every colour type and depth to 8-bit RGB or RGBA. Of 16-bit samples the upper byte
// counts, as in Pillow for colours and for grey with alpha; grey of 16 bits alone Pillow takes for
// numbers and cuts off at 255, which would show a white picture. Colour profiles, gamma, texts and
// animation are passed over unread; a checksum that is wrong in what is read, or a file that lacks
// its end, is refused.
//
// A row is decoded into one buffer, except where rows are interlaced: those need the whole picture.
//
// libpng ends a failing call with longjmp: nothing that has a destructor may live in the frames
// between guarded() and the library. State is in Reader, outside of them.
#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <png.h>
#include <vector>

#include "media/decoders.h"
#include "media/exif.h"
#include "media/pictures.h"

namespace media {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr const char* name = "PNG";

struct Reader {
  explicit Reader(Bytes bytes) : file(bytes) {}
  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  Bytes file;
  size_t position = 0;
  bool cut = false;  // it wanted more bytes than there are
  char fault[200] = {};
  png_structp png = nullptr;
  png_infop info = nullptr;
};

[[noreturn]] void on_error(png_structp png, png_const_charp text) {
  auto* reader = static_cast<Reader*>(png_get_error_ptr(png));
  std::strncpy(reader->fault, text, sizeof(reader->fault) - 1);
  png_longjmp(png, 1);
}
void on_warning(png_structp, png_const_charp) {}

void on_read(png_structp png, png_bytep to, size_t count) {
  auto* reader = static_cast<Reader*>(png_get_io_ptr(png));
  if (count > reader->file.size() - reader->position) {
    reader->cut = true;
    png_error(png, "the file ends");
  }
  std::memcpy(to, reader->file.data() + reader->position, count);
  reader->position += count;
}

// False: the library gave up; reader.fault says why.
template <class Step>
bool guarded(Reader& reader, const Step& step) {
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  step();
  return true;
}

base::Result<void> failure(const Reader& reader) {
  if (reader.cut) return cut_short(name);
  return damaged(name, reader.fault);
}

bool make(Reader& reader) {
  reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, on_error, on_warning);
  if (reader.png == nullptr) return false;
  reader.info = png_create_info_struct(reader.png);
  return reader.info != nullptr;
}

// What is read of the file, and into which form.
void set_up(Reader& reader, int channels) {
  const png_structp png = reader.png;
  png_set_read_fn(png, &reader, on_read);
  png_set_user_limits(png, side_max, side_max);
  png_set_chunk_malloc_max(png, 0);  // nothing that would be kept is read
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);  // but tRNS
  png_read_info(png, reader.info);
  png_set_strip_16(png);
  png_set_expand(png);
  png_set_gray_to_rgb(png);
  if (channels == 3) {
    png_set_strip_alpha(png);
  } else {
    png_set_add_alpha(png, 0xFF, PNG_FILLER_AFTER);
  }
}

}  // namespace

base::Result<void> decode_png(Bytes file, RowSink& sink) {
  // The header by hand first, so that a size is refused with its numbers: name at 12, then width
  // and height, big-endian.
  const auto big = [&](size_t at) {
    return uint64_t{file[at]} << 24 | file[at + 1] << 16 | file[at + 2] << 8 | file[at + 3];
  };
  if (file.size() < 24) return cut_short(name);
  if (std::memcmp(file.data() + 12, "IHDR", 4) == 0) TRY(check_sides(big(16), big(20)));

  Reader reader(file);
  if (!make(reader)) return too_large("it takes more memory than there is for one picture");
  const int channels = sink.channels();
  int passes = 1;
  const bool ready = guarded(reader, [&] {
    set_up(reader, channels);
    passes = png_set_interlace_handling(reader.png);
    png_read_update_info(reader.png, reader.info);
  });
  if (!ready) return failure(reader);
  Frame frame;
  frame.width = frame.rows_width = static_cast<int>(png_get_image_width(reader.png, reader.info));
  frame.height = frame.rows_height =
      static_cast<int>(png_get_image_height(reader.png, reader.info));
  frame.orientation = orientation_of_png(file);
  const size_t stride = static_cast<size_t>(frame.width) * static_cast<size_t>(channels);
  if (png_get_rowbytes(reader.png, reader.info) != stride) {
    return damaged(name, "its rows have an unexpected length");
  }
  const size_t rows_held = passes > 1 ? static_cast<size_t>(frame.height) : 1;
  frame.decoder_bytes = rows_held * stride;
  TRY(sink.accepts(frame));
  sink.begin(frame);
  std::vector<uint8_t> held(rows_held * stride);

  const bool done = guarded(reader, [&] {
    for (int pass = 0; pass < passes; ++pass) {
      for (int y = 0; y < frame.height; ++y) {
        uint8_t* row = held.data() + (passes > 1 ? static_cast<size_t>(y) * stride : 0);
        png_read_row(reader.png, row, nullptr);
        if (pass == passes - 1) sink.row(row);
      }
    }
    png_read_end(reader.png, nullptr);
  });
  if (!done) return failure(reader);
  return {};
}

}  // namespace media
