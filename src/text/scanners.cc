#include "text/scanners.h"

#include <array>

#include "text/unicode.h"

namespace text::scanners {
namespace {

// What the expressions ask of a character.
enum Kind : uint8_t { letter = 1, mark = 2, number = 4, sign = 8, space = 16, newline = 32 };

constexpr uint8_t kind_of_mask(CategoryMask mask) {
  return static_cast<uint8_t>((mask & mask_letter ? letter : 0) | (mask & mask_mark ? mark : 0) |
                              (mask & mask_number ? number : 0) |
                              (mask & (mask_punctuation | mask_symbol) ? sign : 0) |
                              (mask & mask_separator ? space : 0));
}

constexpr std::array<uint8_t, 128> ascii_kinds = [] {
  std::array<uint8_t, 128> kinds{};
  for (int c = 0x21; c < 0x7f; ++c) kinds[static_cast<size_t>(c)] = sign;
  for (int c = '0'; c <= '9'; ++c) kinds[static_cast<size_t>(c)] = number;
  for (int c = 'a'; c <= 'z'; ++c) kinds[static_cast<size_t>(c)] = letter;
  for (int c = 'A'; c <= 'Z'; ++c) kinds[static_cast<size_t>(c)] = letter;
  for (int c = 9; c <= 13; ++c) kinds[static_cast<size_t>(c)] = space;
  kinds[' '] = space;
  kinds['\r'] = kinds['\n'] = space | newline;
  return kinds;
}();

struct Char {
  uint8_t kind;
  uint8_t bytes;  // 0: the text ends here
};

inline Char char_at(std::string_view text, size_t at) {
  if (at >= text.size()) return {0, 0};
  const auto byte = static_cast<uint8_t>(text[at]);
  if (byte < 0x80) return {ascii_kinds[byte], 1};
  const Decoded d = decode_at(text, at);
  if (d.code_point == 0x85) return {space, 2};
  return {kind_of_mask(mask_of(category_of(d.code_point))), static_cast<uint8_t>(d.bytes)};
}

// The end of the run of characters that have one of `wanted`, or none of `refused`.
inline size_t run_of(std::string_view text, size_t at, uint8_t wanted) {
  for (;;) {
    const Char c = char_at(text, at);
    if (!(c.kind & wanted)) return at;
    at += c.bytes;
  }
}
inline size_t run_without(std::string_view text, size_t at, uint8_t refused) {
  for (;;) {
    const Char c = char_at(text, at);
    if (c.bytes == 0 || (c.kind & refused)) return at;
    at += c.bytes;
  }
}
inline size_t run_of_newlines(std::string_view text, size_t at) {
  while (at < text.size() && (text[at] == '\r' || text[at] == '\n')) ++at;
  return at;
}

// `\s+(?!\S)|\s+`, with `\s*[\r\n]+|` before it if `by_lines`: up to the last newline of the run;
// else all of it at the end of the text, and all but its last character before something else.
size_t white_space(std::string_view text, size_t at, bool by_lines) {
  size_t end = at, last = at, line_end = at;
  for (;;) {
    const Char c = char_at(text, end);
    if (!(c.kind & space)) break;
    last = end;
    end += c.bytes;
    if (c.kind & newline) line_end = end;
  }
  if (by_lines && line_end > at) return line_end;
  if (end == text.size() || last == at) return end;
  return last;
}

// 's 't 're 've 'm 'll 'd after an apostrophe at `at`.
size_t contraction(std::string_view text, size_t at, bool any_case) {
  const auto lower = [&](size_t i) {
    if (i >= text.size()) return '\0';
    const char c = text[i];
    return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  };
  const char first = lower(at + 1), second = lower(at + 2);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return at + 2;
  if ((first == 'r' || first == 'v') && second == 'e') return at + 3;
  if (first == 'l' && second == 'l') return at + 3;
  // U+017F folds to s.
  if (any_case && text.substr(at + 1).starts_with("\u017f")) return at + 3;
  return at;
}

template <int digits_max>
size_t llama3_like(std::string_view text, size_t at) {
  if (text[at] == '\'') {
    const size_t end = contraction(text, at, true);
    if (end > at) return end;
  }
  const Char c = char_at(text, at);
  if (c.kind & letter) return run_of(text, at, letter);
  if (c.kind & number) {
    size_t end = at + c.bytes;
    for (int count = 1; count < digits_max; ++count) {
      const Char next = char_at(text, end);
      if (!(next.kind & number)) break;
      end += next.bytes;
    }
    return end;
  }
  const size_t after = at + c.bytes;
  const Char next = char_at(text, after);
  if (!(c.kind & newline) && (next.kind & letter)) return run_of(text, after, letter);
  constexpr uint8_t known = letter | number | space;
  if (!(c.kind & space)) return run_of_newlines(text, run_without(text, at, known));
  if (text[at] == ' ' && next.bytes > 0 && !(next.kind & known)) {
    return run_of_newlines(text, run_without(text, after, known));
  }
  return white_space(text, at, true);
}

}  // namespace

size_t gpt2(std::string_view text, size_t at) {
  if (text[at] == '\'') {
    const size_t end = contraction(text, at, false);
    if (end > at) return end;
  }
  const size_t start = text[at] == ' ' && at + 1 < text.size() ? at + 1 : at;
  const Char c = char_at(text, start);
  if (c.kind & letter) return run_of(text, start, letter);
  if (c.kind & number) return run_of(text, start, number);
  if (!(c.kind & space)) return run_without(text, start, letter | number | space);
  return white_space(text, at, false);
}

size_t llama3(std::string_view text, size_t at) { return llama3_like<3>(text, at); }
size_t qwen2(std::string_view text, size_t at) { return llama3_like<1>(text, at); }

size_t deepseek_v3(std::string_view text, size_t at) {
  constexpr uint8_t word = letter | mark;
  const Char c = char_at(text, at);
  const size_t after = at + c.bytes;
  if (c.bytes == 1 && (c.kind & sign)) {
    size_t end = after;
    while (end < text.size() && static_cast<uint8_t>(text[end]) < 0x80 &&
           ascii_kinds[static_cast<uint8_t>(text[end])] == letter) {
      ++end;
    }
    if (end > after) return end;
  }
  if (c.kind & word) return run_of(text, at, word);
  const Char next = char_at(text, after);
  if (!(c.kind & (newline | sign)) && (next.kind & word)) return run_of(text, after, word);
  if (c.kind & sign) return run_of_newlines(text, run_of(text, at, sign));
  if (text[at] == ' ' && (next.kind & sign)) {
    return run_of_newlines(text, run_of(text, after, sign));
  }
  if (c.kind & space) return white_space(text, at, true);
  return at;
}

}  // namespace text::scanners
