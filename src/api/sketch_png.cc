// PNG: 8 bytes of signature; chunks of length (big-endian), name, data, CRC-32 of name and data:
// IHDR (width, height, 8 bits, colour type 2), IDAT (a zlib stream of the filtered rows), IEND. The
// rows of one line of squares are equal, so all but the first are a row of zeros under the filter
// "up"; what is left are runs of one colour. One block of DEFLATE with its fixed codes, whose only
// matches go 1 byte (zeros) or 3 bytes (a colour) back, makes little of that.
#include "api/sketch_png.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace api {
namespace {

constexpr char missing = 0x7f;
constexpr int channels = 3;

constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> out{};
  for (uint32_t i = 0; i < out.size(); ++i) {
    uint32_t value = i;
    for (int k = 0; k < 8; ++k) value = (value & 1) != 0 ? 0xedb88320u ^ value >> 1 : value >> 1;
    out[i] = value;
  }
  return out;
}
constexpr std::array<uint32_t, 256> crc_table = make_crc_table();

uint32_t crc_of(std::string_view bytes) {
  uint32_t crc = 0xffffffffu;
  for (const unsigned char byte : bytes) crc = crc_table[(crc ^ byte) & 0xff] ^ crc >> 8;
  return ~crc;
}

uint32_t adler_of(std::string_view bytes) {
  constexpr uint32_t modulus = 65'521;
  uint32_t a = 1, b = 0;
  for (const unsigned char byte : bytes) {
    a = (a + byte) % modulus;
    b = (b + a) % modulus;
  }
  return b << 16 | a;
}

void put_big(std::string& out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xff);
}

void put_chunk(std::string& out, std::string_view name, std::string_view data) {
  put_big(out, static_cast<uint32_t>(data.size()));
  const size_t start = out.size();
  out.append(name).append(data);
  put_big(out, crc_of(std::string_view(out).substr(start)));
}

// DEFLATE (RFC 1951) with the fixed codes of its section 3.2.6.
class Deflater {
 public:
  std::string run(std::string_view bytes) {
    put(0b011, 3);  // the last block, fixed codes
    for (size_t at = 0; at < bytes.size();) {
      const size_t zeros = match(bytes, at, 1), colours = match(bytes, at, channels);
      const size_t length = std::max(zeros, colours);
      if (length < length_least) {
        put_symbol(static_cast<unsigned char>(bytes[at++]));
        continue;
      }
      put_length(static_cast<int>(length));
      // Distance 1 is code 0, distance 3 code 2; neither has more bits.
      put_code(zeros == length ? 0 : 2, 5);
      at += length;
    }
    put_symbol(256);
    put(0, 7);  // fills the last byte
    return std::move(out_);
  }

 private:
  static constexpr size_t length_least = 3, length_most = 258;

  static size_t match(std::string_view bytes, size_t at, size_t back) {
    if (at < back) return 0;
    const size_t most = std::min(length_most, bytes.size() - at);
    size_t length = 0;
    while (length < most && bytes[at + length] == bytes[at + length - back]) ++length;
    return length;
  }

  // Numbers stand with their lowest bit first, codes with their highest.
  void put(uint32_t bits, int count) {
    held_ |= bits << held_count_;
    held_count_ += count;
    while (held_count_ >= 8) {
      out_ += static_cast<char>(held_ & 0xff);
      held_ >>= 8;
      held_count_ -= 8;
    }
  }
  void put_code(uint32_t code, int count) {
    for (int i = count - 1; i >= 0; --i) put(code >> i & 1, 1);
  }
  void put_symbol(uint32_t symbol) {
    if (symbol < 144) return put_code(0x30 + symbol, 8);
    if (symbol < 256) return put_code(0x190 + symbol - 144, 9);
    if (symbol < 280) return put_code(symbol - 256, 7);
    put_code(0xc0 + symbol - 280, 8);
  }
  // Four symbols for each number of further bits; 258 has one of its own.
  void put_length(int length) {
    if (length == static_cast<int>(length_most)) return put_symbol(285);
    int symbol = 257, least = 3, extra = 0;
    while (length >= least + (1 << extra)) {
      least += 1 << extra;
      ++symbol;
      if (symbol >= 265 && (symbol - 265) % 4 == 0) ++extra;
    }
    put_symbol(static_cast<uint32_t>(symbol));
    put(static_cast<uint32_t>(length - least), extra);
  }

  std::string out_;
  uint32_t held_ = 0;
  int held_count_ = 0;
};

// (side, 1 + side * 3): each row with its filter before it.
std::string filtered_rows(int grid, std::string_view colours, int side) {
  std::string rows;
  const auto row_bytes = static_cast<size_t>(side) * channels;
  rows.reserve((row_bytes + 1) * static_cast<size_t>(side));
  int above = -1;
  for (int y = 0; y < side; ++y) {
    const int line = y * grid / side;
    if (line == above) {
      rows += '\x02';
      rows.append(row_bytes, '\0');
      continue;
    }
    above = line;
    rows += '\0';
    for (int x = 0; x < side; ++x) {
      const auto from = static_cast<size_t>(line * grid + x * grid / side) * channels;
      for (size_t c = 0; c < channels; ++c) {
        rows += from + c < colours.size() ? colours[from + c] : missing;
      }
    }
  }
  return rows;
}

}  // namespace

std::string sketch_png(int grid, std::string_view colours, int side) {
  grid = std::clamp(grid, 1, sketch_grid_max);
  side = std::clamp(side, 1, sketch_side_max);
  const std::string rows = filtered_rows(grid, colours, side);
  std::string head;
  put_big(head, static_cast<uint32_t>(side));
  put_big(head, static_cast<uint32_t>(side));
  head.append("\x08\x02\x00\x00\x00", 5);
  std::string data = "\x78\x01";  // zlib: DEFLATE, a window of 32 KiB, the fastest level
  data += Deflater().run(rows);
  put_big(data, adler_of(rows));
  std::string out = "\x89PNG\r\n\x1a\n";
  put_chunk(out, "IHDR", head);
  put_chunk(out, "IDAT", data);
  put_chunk(out, "IEND", "");
  return out;
}

}  // namespace api
