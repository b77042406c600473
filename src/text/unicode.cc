#include "text/unicode.h"

#include "text/unicode_tables.h"

namespace text {

Category category_of(uint32_t code_point) {
  if (code_point >= code_point_end) return Category::Cn;
  const size_t middle = unicode_tables::category_top[code_point >> 12] * size_t{64};
  const size_t leaf = unicode_tables::category_middle[middle + (code_point >> 6 & 63)];
  return static_cast<Category>(unicode_tables::category_leaves[leaf * 64 + (code_point & 63)] -
                               'a');
}

bool is_white_space(uint32_t code_point) {
  if (code_point < 0x80) return code_point == ' ' || (code_point >= 9 && code_point <= 13);
  if (code_point == 0x85) return true;
  return (mask_of(category_of(code_point)) & mask_separator) != 0;
}

bool is_word(uint32_t code_point) {
  constexpr CategoryMask mask = mask_letter | mask_mark | mask_of(Category::Nd) |
                                mask_of(Category::Nl) | mask_of(Category::Pc);
  if (mask_of(category_of(code_point)) & mask) return true;
  // Other_Alphabetic outside the marks: letters in circles and squares.
  return (code_point >= 0x24b6 && code_point <= 0x24e9) ||
         (code_point >= 0x1f130 && code_point <= 0x1f149) ||
         (code_point >= 0x1f150 && code_point <= 0x1f169) ||
         (code_point >= 0x1f170 && code_point <= 0x1f189);
}

Decoded decode_longer(std::string_view text, size_t at) {
  const auto* p = reinterpret_cast<const uint8_t*>(text.data()) + at;
  const size_t left = text.size() - at;
  const uint32_t lead = p[0];
  const auto tail = [&](size_t i) { return i < left && (p[i] & 0xc0) == 0x80; };
  if (lead >= 0xc2 && lead <= 0xdf && tail(1)) return {(lead & 0x1f) << 6 | (p[1] & 0x3fu), 2};
  if ((lead & 0xf0) == 0xe0 && tail(1) && tail(2)) {
    const uint32_t c = (lead & 0xf) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
    if (c >= 0x800 && (c < 0xd800 || c > 0xdfff)) return {c, 3};
  }
  if (lead >= 0xf0 && lead <= 0xf4 && tail(1) && tail(2) && tail(3)) {
    const uint32_t c =
        (lead & 0x7) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
    if (c >= 0x10000 && c < code_point_end) return {c, 4};
  }
  return {ill_formed + lead, 1};
}

Decoded decode_before(std::string_view text, size_t end) {
  for (uint32_t bytes = 1; bytes <= 4 && bytes <= end; ++bytes) {
    const Decoded decoded = decode_at(text.substr(0, end), end - bytes);
    if (decoded.bytes == bytes && (bytes > 1 || decoded.code_point < 0x80)) return decoded;
  }
  return {ill_formed + static_cast<uint8_t>(text[end - 1]), 1};
}

void append_utf8(std::string& out, uint32_t c) {
  if (c < 0x80) {
    out.push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out.push_back(static_cast<char>(0xc0 | c >> 6));
    out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
  } else if (c < 0x10000) {
    out.push_back(static_cast<char>(0xe0 | c >> 12));
    out.push_back(static_cast<char>(0x80 | (c >> 6 & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
  } else if (c < code_point_end) {
    out.push_back(static_cast<char>(0xf0 | c >> 18));
    out.push_back(static_cast<char>(0x80 | (c >> 12 & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (c >> 6 & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
  } else {
    out.push_back(static_cast<char>(c - ill_formed));
  }
}

// Bytes 21-7E, A1-AC and AE-FF stand for themselves, the other 68 follow from U+0100 on.
uint32_t byte_symbol(uint8_t byte) {
  if (byte <= 0x20) return 0x100u + byte;
  if (byte >= 0x7f && byte <= 0xa0) return 0x121u + (byte - 0x7fu);
  if (byte == 0xad) return 0x143u;
  return byte;
}

int symbol_byte(uint32_t c) {
  if ((c > 0x20 && c < 0x7f) || (c > 0xa0 && c < 0x100 && c != 0xad)) return static_cast<int>(c);
  if (c >= 0x100 && c <= 0x120) return static_cast<int>(c - 0x100);
  if (c >= 0x121 && c <= 0x142) return static_cast<int>(c - 0x121 + 0x7f);
  return c == 0x143 ? 0xad : -1;
}

}  // namespace text
