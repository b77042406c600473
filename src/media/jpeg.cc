// JPEG by libjpeg-turbo: baseline and progressive, grey, YCbCr, RGB, and CMYK or YCCK as Adobe
// writes them (inverted, which is also how Pillow reads every CMYK JPEG). Profiles and thumbnails
// are passed over; data that is damaged or ends too early is refused, except that the end mark
// alone may be missing, as some cameras leave it out.
//
// Baseline pictures are decoded row by row. Where a picture has several scans the library holds
// all its coefficients (2 bytes each): their number is in the header and counted before. A picture
// that is too large for the sink is decoded at 1/2, 1/4 or 1/8, which libjpeg does by transforming
// fewer coefficients.
//
// The library ends a failing call with longjmp: nothing that has a destructor may live in the
// frames between guarded() and the library. State is in Reader, outside of them.
#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <vector>
// In this order: jpeglib.h wants cstdio, and what jerror.h has depends on jpeglib.h.
// clang-format off
#include <cstdio>
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#include "media/decoders.h"
#include "media/exif.h"
#include "media/pictures.h"

namespace media {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr const char* name = "JPEG";
// Every scan goes over the whole picture again. Encoders make about ten.
constexpr int scans_max = 64;
// Above it even a sink that has the memory gets a reduced picture, if it allows that: there is a
// second for all.
constexpr uint64_t whole_pixels_max = 24'000'000;
// Rows that the library holds while it decodes, for each pixel of a row and component.
constexpr uint64_t row_bytes_per_sample = 64;

struct Reader {
  jpeg_decompress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg_progress_mgr progress{};
  std::jmp_buf back;
  char fault[JMSG_LENGTH_MAX] = {};
  bool cut = false;  // the library wanted more bytes than there are
  bool created = false;
  ~Reader() {
    if (created) jpeg_destroy_decompress(&jpeg);
  }
};

Reader& reader_of(j_common_ptr jpeg) { return *static_cast<Reader*>(jpeg->client_data); }

[[noreturn]] void on_error(j_common_ptr jpeg) {
  Reader& reader = reader_of(jpeg);
  jpeg->err->format_message(jpeg, reader.fault);
  std::longjmp(reader.back, 1);
}

// The library's warnings: those about the picture's data end it.
void on_message(j_common_ptr jpeg, int level) {
  if (level >= 0) return;  // a trace
  Reader& reader = reader_of(jpeg);
  switch (jpeg->err->msg_code) {
    case JWRN_JPEG_EOF:
      reader.cut = true;
      return;  // what is missing may be the end mark alone
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_MUST_RESYNC:
    case JWRN_BOGUS_PROGRESSION:
    case JWRN_NOT_SEQUENTIAL:
    case JWRN_ARITH_BAD_CODE:
      on_error(jpeg);
    default:
      return;
  }
}
void on_output(j_common_ptr) {}

void on_progress(j_common_ptr jpeg) {
  if (reinterpret_cast<j_decompress_ptr>(jpeg)->input_scan_number <= scans_max) return;
  Reader& reader = reader_of(jpeg);
  std::strncpy(reader.fault, "too many scans", sizeof(reader.fault) - 1);
  std::longjmp(reader.back, 1);
}

// False: the library gave up; reader.fault says why.
template <class Step>
bool guarded(Reader& reader, const Step& step) {
  if (setjmp(reader.back) != 0) return false;
  step();
  return true;
}

base::Result<void> failure(const Reader& reader) {
  if (reader.cut) return cut_short(name);
  return damaged(name, reader.fault);
}

void read_header(Reader& reader, Bytes file) {
  reader.jpeg.err = jpeg_std_error(&reader.errors);
  reader.errors.error_exit = on_error;
  reader.errors.emit_message = on_message;
  reader.errors.output_message = on_output;
  reader.jpeg.client_data = &reader;
  jpeg_create_decompress(&reader.jpeg);
  reader.created = true;
  reader.progress.progress_monitor = on_progress;
  reader.jpeg.progress = &reader.progress;
  reader.jpeg.mem->max_memory_to_use = static_cast<long>(child_memory_max);
  jpeg_mem_src(&reader.jpeg, file.data(), file.size());
  jpeg_read_header(&reader.jpeg, TRUE);
}

// Whether the library can give what we ask for; sets the form of the rows.
base::Result<void> choose_form(jpeg_decompress_struct& jpeg, int channels) {
  if (jpeg.arith_code) return refused("it is a JPEG file with arithmetic coding");
  switch (jpeg.num_components) {
    case 1:
    case 3:
      jpeg.out_color_space = channels == 3 ? JCS_RGB : JCS_EXT_RGBA;
      return {};
    case 4:
      jpeg.out_color_space = JCS_CMYK;
      return {};
    default:
      return refused(fmt::format("it is a JPEG file of {} components", jpeg.num_components));
  }
}

uint64_t decoder_bytes(jpeg_decompress_struct& jpeg) {
  uint64_t bytes = row_bytes_per_sample * jpeg.image_width *
                   static_cast<uint64_t>(std::max(jpeg.num_components, 1));
  if (!jpeg_has_multiple_scans(&jpeg)) return bytes;
  for (int i = 0; i < jpeg.num_components; ++i) {
    const jpeg_component_info& part = jpeg.comp_info[i];
    // Whole blocks of the sampling, which the last column and row are filled up to.
    const uint64_t width = part.width_in_blocks + static_cast<uint64_t>(part.h_samp_factor);
    const uint64_t height = part.height_in_blocks + static_cast<uint64_t>(part.v_samp_factor);
    bytes += width * height * sizeof(JBLOCK);
  }
  return bytes;
}

bool scale_to(Reader& reader, unsigned part, Frame& frame) {
  jpeg_decompress_struct& jpeg = reader.jpeg;
  jpeg.scale_num = 1;
  jpeg.scale_denom = part;
  if (!guarded(reader, [&] { jpeg_calc_output_dimensions(&jpeg); })) return false;
  frame.rows_width = static_cast<int>(jpeg.output_width);
  frame.rows_height = static_cast<int>(jpeg.output_height);
  return true;
}

// The frame at the largest scale that the sink takes, or the next that is quick enough.
base::Result<Frame> choose_scale(Reader& reader, const RowSink& sink, int orientation) {
  Frame frame;
  frame.width = static_cast<int>(reader.jpeg.image_width);
  frame.height = static_cast<int>(reader.jpeg.image_height);
  frame.orientation = orientation;
  frame.decoder_bytes = decoder_bytes(reader.jpeg);
  const int least = sink.reduced_side_min();
  unsigned chosen = 0;  // none yet
  base::Result<void> refusal;
  for (unsigned part = 1; part <= 8; part *= 2) {
    if (!scale_to(reader, part, frame)) return damaged(name, reader.fault);
    const int longer = std::max(frame.rows_width, frame.rows_height);
    if (part > 1 && (least == 0 || longer < least)) break;
    const auto accepted = sink.accepts(frame);
    if (!accepted && part == 1) refusal = accepted;
    if (!accepted) continue;
    chosen = part;
    if (uint64_t{reader.jpeg.output_width} * reader.jpeg.output_height <= whole_pixels_max) break;
  }
  if (chosen == 0) return base::fail(refusal.error());
  if (!scale_to(reader, chosen, frame)) return damaged(name, reader.fault);
  return frame;
}

// CMYK with each value inverted to RGB(A): what is left of white under black and each ink.
void from_cmyk(const uint8_t* in, int width, int channels, uint8_t* out) {
  for (int x = 0; x < width; ++x, in += 4, out += channels) {
    const unsigned white = in[3];
    for (int c = 0; c < 3; ++c) {
      const unsigned product = (255u - in[c]) * white + 128;
      out[c] = static_cast<uint8_t>(white - ((product + (product >> 8)) >> 8));
    }
    if (channels == 4) out[3] = 255;
  }
}

}  // namespace

base::Result<void> decode_jpeg(Bytes file, RowSink& sink) {
  Reader reader;
  jpeg_decompress_struct& jpeg = reader.jpeg;
  if (!guarded(reader, [&] { read_header(reader, file); })) return failure(reader);
  TRY(check_sides(jpeg.image_width, jpeg.image_height));
  const int channels = sink.channels();
  TRY(choose_form(jpeg, channels));
  ASSIGN(const Frame frame, choose_scale(reader, sink, orientation_of_jpeg(file)));
  sink.begin(frame);
  const bool scans = jpeg_has_multiple_scans(&jpeg) != FALSE;
  const bool cmyk = jpeg.out_color_space == JCS_CMYK;
  std::vector<uint8_t> read(static_cast<size_t>(frame.rows_width) * 4);
  std::vector<uint8_t> shown(cmyk ? read.size() : 0);

  const bool done = guarded(reader, [&] {
    jpeg_start_decompress(&jpeg);
    JSAMPROW row = read.data();
    while (jpeg.output_scanline < jpeg.output_height) {
      if (jpeg_read_scanlines(&jpeg, &row, 1) != 1) continue;
      if (cmyk) from_cmyk(read.data(), frame.rows_width, channels, shown.data());
      sink.row(cmyk ? shown.data() : read.data());
    }
    jpeg_finish_decompress(&jpeg);
  });
  if (!done) return failure(reader);
  if (reader.cut && scans) return cut_short(name);  // later scans may be missing
  return {};
}

}  // namespace media
