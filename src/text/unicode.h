// Unicode 16 for the tokeniser: reading UTF-8, general categories, white space. Pure functions over
// constant tables; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace text {

// The order of the generated table: a category is one bit of a CategoryMask.
enum class Category : uint8_t {
  Lu,
  Ll,
  Lt,
  Lm,
  Lo,
  Mn,
  Mc,
  Me,
  Nd,
  Nl,
  No,
  Pc,
  Pd,
  Ps,
  Pe,
  Pi,
  Pf,
  Po,
  Sm,
  Sc,
  Sk,
  So,
  Zs,
  Zl,
  Zp,
  Cc,
  Cf,
  Cs,
  Co,
  Cn
};
using CategoryMask = uint32_t;
constexpr CategoryMask mask_of(Category category) { return 1u << static_cast<int>(category); }
inline constexpr CategoryMask mask_letter = 0x1f;      // Lu Ll Lt Lm Lo
inline constexpr CategoryMask mask_mark = 0x7 << 5;    // Mn Mc Me
inline constexpr CategoryMask mask_number = 0x7 << 8;  // Nd Nl No
inline constexpr CategoryMask mask_punctuation = 0x7f << 11;
inline constexpr CategoryMask mask_symbol = 0xf << 18;
inline constexpr CategoryMask mask_separator = 0x7 << 22;
inline constexpr CategoryMask mask_other = 0x1f << 25;

inline constexpr uint32_t code_point_end = 0x110000;
// A byte that belongs to no well-formed sequence is read as the code point ill_formed + byte:
// unassigned (Cn), no white space, in no class but negated ones.
inline constexpr uint32_t ill_formed = code_point_end;

Category category_of(uint32_t code_point);
// White_Space of Unicode: the separators, U+0009-000D and U+0085.
bool is_white_space(uint32_t code_point);
// Letters, marks, digits, letter numbers, connectors, circled letters: what the words of added
// tokens are made of.
bool is_word(uint32_t code_point);

struct Decoded {
  uint32_t code_point;
  uint32_t bytes;  // 1 to 4
};
Decoded decode_longer(std::string_view text, size_t at);
// The character at `at` (< text.size()).
inline Decoded decode_at(std::string_view text, size_t at) {
  const auto byte = static_cast<uint8_t>(text[at]);
  return byte < 0x80 ? Decoded{byte, 1} : decode_longer(text, at);
}
// The character that ends at `end` (> 0).
Decoded decode_before(std::string_view text, size_t end);
// Appends the UTF-8 of a code point; an ill_formed one gives its byte back.
void append_utf8(std::string& out, uint32_t code_point);

// The byte alphabet of GPT-2: every byte as one printable code point.
uint32_t byte_symbol(uint8_t byte);
// The byte of a symbol, or -1.
int symbol_byte(uint32_t code_point);

}  // namespace text
