// The outer language: text, and tags of three sorts: {{ print }}, {% block %}, {# comment #}.
//
//  * "-" inside a tag's opening drops all white space before it, inside its closing all after it.
//  * trim_blocks: the line feed right after %} or #} is dropped, unless it is written +%} or +#}.
//  * lstrip_blocks: white space before {% or {# is dropped if nothing else stands before it on the
//    line, unless it is written {%+ or {#+. Print tags are left alone.
//  * {% raw %} … {% endraw %} is text.
//  * Inside brackets a closing tag is not one: {{ {'a': {}}['a'] }}.
//
// The inner language: names, numbers (1_000, 0x1f, 1.5e3; a number does not begin after a dot with
// a fraction), strings in ' or " with Python's escapes, and symbols.
#include "text/jinja_lexer.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>

#include "text/unicode.h"

namespace text::jinja {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}
bool is_name_part(char c) { return is_name_start(c) || is_digit(c); }

// Python's str.isspace, which has four more than White_Space.
bool is_python_space(uint32_t c) { return is_white_space(c) || (c >= 0x1c && c <= 0x1f); }

std::string normal_lines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
    } else {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

// The end of `text` without trailing white space.
size_t stripped_end(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    const Decoded last = decode_before(text, end);
    if (!is_python_space(last.code_point)) break;
    end -= last.bytes;
  }
  return end;
}

size_t space_end(std::string_view text, size_t at) {
  while (at < text.size()) {
    const Decoded next = decode_at(text, at);
    if (!is_python_space(next.code_point)) break;
    at += next.bytes;
  }
  return at;
}

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

Lexer::Lexer(std::string_view source) : source_(normal_lines(source)) {}

bool Lexer::fail(std::string message) {
  error_ = std::move(message);
  return false;
}

void Lexer::move_to(size_t at) {
  line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                       source_.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
  if (at > at_) line_starting_ = source_[at - 1] == '\n';
  at_ = at;
}

void Lexer::skip_space() { move_to(space_end(source_, at_)); }

bool Lexer::next(Token& token) {
  token.text.clear();
  if (mode_ == Mode::data) return next_data(token);
  return next_code(token);
}

// The text between at_ and the tag at `at`, less what the tag's opening drops of it.
std::string_view Lexer::data_before(size_t at, char sign, bool is_print) const {
  std::string_view data = std::string_view(source_).substr(at_, at - at_);
  if (sign == '-') return data.substr(0, stripped_end(data));
  if (sign == '+' || is_print) return data;
  const size_t line_feed = data.rfind('\n');
  if (line_feed == std::string_view::npos && !line_starting_) return data;
  const size_t line_begin = line_feed == std::string_view::npos ? 0 : line_feed + 1;
  if (space_end(data, line_begin) == data.size()) return data.substr(0, line_begin);
  return data;
}

// Gives out the text before the next tag, then the tag's opening.
bool Lexer::next_data(Token& token) {
  while (true) {
    size_t at = source_.find('{', at_);
    while (at != std::string::npos && at + 1 < source_.size() && source_[at + 1] != '{' &&
           source_[at + 1] != '%' && source_[at + 1] != '#') {
      at = source_.find('{', at + 1);
    }
    token.line = line_;
    if (at == std::string::npos || at + 1 >= source_.size()) {
      token.text = source_.substr(at_);
      token.kind = token.text.empty() ? TokenKind::end : TokenKind::data;
      move_to(source_.size());
      return true;
    }
    const char sort = source_[at + 1];
    const char sign = at + 2 < source_.size() ? source_[at + 2] : ' ';
    const std::string_view data = data_before(at, sign, sort == '{');
    if (!data.empty() && !pending_tag_) {
      token.kind = TokenKind::data;
      token.text = data;
      pending_tag_ = true;
      move_to(at);
      return true;
    }
    pending_tag_ = false;
    move_to(at);
    token.line = line_;
    if (sort == '#') {
      if (!skip_comment(at, sign)) return false;
      continue;
    }
    const bool was_raw = sort == '%';
    if (!open_tag(at, token)) return false;
    if (was_raw && token.kind == TokenKind::end) continue;  // an empty raw block
    return true;
  }
}

bool Lexer::skip_comment(size_t at, char) {
  const size_t close = source_.find("#}", at + 2);
  if (close == std::string::npos) return fail("missing end of comment tag");
  const char sign = close > at + 2 ? source_[close - 1] : ' ';
  size_t after = close + 2;
  if (sign == '-') {
    after = space_end(source_, after);
  } else if (sign != '+' && after < source_.size() && source_[after] == '\n') {
    ++after;
  }
  move_to(after);
  return true;
}

bool Lexer::open_tag(size_t at, Token& token) {
  size_t after = at + 2;
  const bool print = source_[at + 1] == '{';
  if (after < source_.size() && (source_[after] == '-' || source_[after] == '+')) {
    // "{{+1}}" is a number with a sign; "{{-1}}" drops white space.
    if (!print || source_[after] == '-') ++after;
  }
  if (!print) {
    const size_t word = space_end(source_, after);
    if (source_.compare(word, 3, "raw") == 0) {
      const size_t close = space_end(source_, word + 3);
      if (source_.compare(close, 2, "%}") == 0 || source_.compare(close, 3, "-%}") == 0) {
        return read_raw(close, source_[close], token);
      }
    }
  }
  move_to(after);
  mode_ = print ? Mode::print : Mode::block;
  brackets_.clear();
  token.kind = print ? TokenKind::print_begin : TokenKind::block_begin;
  return true;
}

// `close`: where the closing of {% raw %} begins. Gives out the text up to {% endraw %} as data.
bool Lexer::read_raw(size_t close, char begin_sign, Token& token) {
  size_t begin = close + (begin_sign == '-' ? 3 : 2);
  if (begin_sign == '-') begin = space_end(source_, begin);
  move_to(begin);
  for (size_t at = source_.find("{%", at_); at != std::string::npos;
       at = source_.find("{%", at + 2)) {
    size_t word = at + 2;
    const char sign = word < source_.size() ? source_[word] : ' ';
    if (sign == '-' || sign == '+') ++word;
    word = space_end(source_, word);
    if (source_.compare(word, 6, "endraw") != 0) continue;
    size_t end = space_end(source_, word + 6);
    const char end_sign = end < source_.size() ? source_[end] : ' ';
    if (end_sign == '-' || end_sign == '+') ++end;
    if (source_.compare(end, 2, "%}") != 0) continue;
    end += 2;
    token.text = data_before(at, sign, false);
    token.kind = token.text.empty() ? TokenKind::end : TokenKind::data;
    if (end_sign == '-') {
      end = space_end(source_, end);
    } else if (end_sign != '+' && end < source_.size() && source_[end] == '\n') {
      ++end;
    }
    move_to(end);
    return true;
  }
  return fail("missing end of raw directive");
}

bool Lexer::next_code(Token& token) {
  skip_space();
  token.line = line_;
  if (at_ >= source_.size()) {
    token.kind = TokenKind::end;
    return true;
  }
  if (brackets_.empty() && close_tag(token)) return true;
  const char c = source_[at_];
  if (is_name_start(c)) {
    size_t end = at_;
    while (end < source_.size() && is_name_part(source_[end])) ++end;
    token.kind = TokenKind::name;
    token.text = source_.substr(at_, end - at_);
    move_to(end);
    return true;
  }
  if (is_digit(c)) return read_number(token);
  if (c == '\'' || c == '"') return read_text(token);
  return read_symbol(token);
}

bool Lexer::close_tag(Token& token) {
  const std::string_view close = mode_ == Mode::print ? "}}" : "%}";
  size_t at = at_;
  const char sign = source_[at];
  if (sign == '-' || (sign == '+' && mode_ == Mode::block)) ++at;
  if (source_.compare(at, 2, close) != 0) return false;
  at += 2;
  if (sign == '-') {
    at = space_end(source_, at);
  } else if (mode_ == Mode::block && sign != '+' && at < source_.size() && source_[at] == '\n') {
    ++at;
  }
  token.kind = mode_ == Mode::print ? TokenKind::print_end : TokenKind::block_end;
  mode_ = Mode::data;
  move_to(at);
  return true;
}

bool Lexer::read_number(Token& token) {
  const auto digits = [&](size_t at, auto is_part) {
    while (at < source_.size() &&
           (is_part(source_[at]) ||
            (source_[at] == '_' && at + 1 < source_.size() && is_part(source_[at + 1])))) {
      ++at;
    }
    return at;
  };
  size_t end = at_;
  token.kind = TokenKind::integer;
  const char next = at_ + 1 < source_.size() ? source_[at_ + 1] : ' ';
  if (source_[at_] == '0' && std::string_view("xXoObB").find(next) != std::string_view::npos) {
    end = digits(at_ + 2, [](char c) { return hex_digit(c) >= 0; });
  } else {
    end = digits(at_, is_digit);
    const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';
    size_t more = end;
    if (!after_dot && more + 1 < source_.size() && source_[more] == '.' &&
        is_digit(source_[more + 1])) {
      more = digits(more + 1, is_digit);
    }
    if (!after_dot && more < source_.size() && (source_[more] == 'e' || source_[more] == 'E')) {
      size_t exponent = more + 1;
      if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-')) {
        ++exponent;
      }
      if (exponent < source_.size() && is_digit(source_[exponent])) {
        more = digits(exponent, is_digit);
      }
    }
    if (more != end) token.kind = TokenKind::real;
    end = more;
  }
  for (size_t i = at_; i < end; ++i) {
    if (source_[i] != '_') token.text += source_[i];
  }
  move_to(end);
  return true;
}

bool Lexer::read_symbol(Token& token) {
  constexpr std::array<std::string_view, 29> symbols = {
      "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(",
      ")",  "{",  "}",  ">",  "<",  "=",  ".", ":", "|", ",", ";", "@", "&", "^"};
  for (const std::string_view symbol : symbols) {
    if (source_.compare(at_, symbol.size(), symbol) != 0) continue;
    const char c = symbol[0];
    if (c == '@' || c == '&' || c == '^') break;
    if (c == '(' || c == '[' || c == '{')
      brackets_.push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
    if (c == ')' || c == ']' || c == '}') {
      if (brackets_.empty()) return fail(fmt::format("unexpected '{}'", c));
      if (brackets_.back() != c) {
        return fail(fmt::format("unexpected '{}', expected '{}'", c, brackets_.back()));
      }
      brackets_.pop_back();
    }
    token.kind = TokenKind::symbol;
    token.text = symbol;
    move_to(at_ + symbol.size());
    return true;
  }
  return fail(fmt::format("unexpected character at byte {}", at_));
}

bool Lexer::read_text(Token& token) {
  const char quote = source_[at_];
  size_t at = at_ + 1;
  token.kind = TokenKind::text;
  const int line = line_;
  while (true) {
    const size_t stop = source_.find_first_of(quote == '"' ? "\"\\" : "'\\", at);
    if (stop == std::string::npos) return fail("a string is not closed");
    token.text.append(source_, at, stop - at);
    move_to(stop);
    if (source_[stop] == quote) {
      move_to(stop + 1);
      token.line = line;
      return true;
    }
    move_to(stop + 1);
    if (!read_escape(token.text)) return false;
    at = at_;
  }
}

// at_ stands behind the backslash. An escape that Python does not know stays as it is.
bool Lexer::read_escape(std::string& out) {
  if (at_ >= source_.size()) return fail("a string is not closed");
  const char c = source_[at_];
  constexpr std::string_view simple = "\\'\"abfnrtv";
  constexpr std::string_view meaning = "\\'\"\a\b\f\n\r\t\v";
  const size_t known = simple.find(c);
  if (known != std::string_view::npos || c == '\n') {
    if (c != '\n') out += meaning[known];
    move_to(at_ + 1);
    return true;
  }
  if (c >= '0' && c <= '7') {
    uint32_t value = 0;
    size_t end = at_;
    for (; end < source_.size() && end < at_ + 3 && source_[end] >= '0' && source_[end] <= '7';
         ++end) {
      value = value * 8 + static_cast<uint32_t>(source_[end] - '0');
    }
    append_utf8(out, value);
    move_to(end);
    return true;
  }
  const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
  if (digits == 0) {
    if (c == 'N') return fail("\\N escapes are not supported");
    out += '\\';
    return true;
  }
  uint32_t value = 0;
  for (size_t i = 1; i <= digits; ++i) {
    const int digit = at_ + i < source_.size() ? hex_digit(source_[at_ + i]) : -1;
    if (digit < 0) return fail(fmt::format("a \\{} escape is cut short", c));
    value = value * 16 + static_cast<uint32_t>(digit);
  }
  if (value >= code_point_end || (value >= 0xd800 && value < 0xe000)) {
    return fail(fmt::format("a \\{} escape names no character", c));
  }
  append_utf8(out, value);
  move_to(at_ + 1 + digits);
  return true;
}

}  // namespace text::jinja
