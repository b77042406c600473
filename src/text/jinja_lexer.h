// Turns the source of a template into tokens, one at a time. Reads as Jinja2 does with trim_blocks
// and lstrip_blocks: see the head of jinja_lexer.cc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace text::jinja {

enum class TokenKind : uint8_t {
  data,
  print_begin,
  print_end,
  block_begin,
  block_end,
  name,
  integer,
  real,
  text,
  symbol,
  end
};

struct Token {
  TokenKind kind = TokenKind::end;
  int line = 1;
  std::string text;  // data, name, symbol, decoded string, digits as written without "_"
};

class Lexer {
 public:
  // CR and CRLF become LF, and one trailing line feed is dropped, before anything else.
  explicit Lexer(std::string_view source);

  // The next token; after the last, `end` again and again. False on a lexical error (see error()).
  bool next(Token& token);
  const std::string& error() const { return error_; }
  int line() const { return line_; }

 private:
  bool fail(std::string message);
  bool next_data(Token& token);
  bool open_tag(size_t at, Token& token);
  bool skip_comment(size_t at, char sign);
  bool read_raw(size_t after, char begin_sign, Token& token);
  bool next_code(Token& token);
  bool close_tag(Token& token);
  bool read_text(Token& token);
  bool read_escape(std::string& out);
  bool read_number(Token& token);
  bool read_symbol(Token& token);
  std::string_view data_before(size_t at, char sign, bool is_print) const;
  void move_to(size_t at);  // counts lines on the way
  void skip_space();

  enum class Mode : uint8_t { data, print, block };
  std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  Mode mode_ = Mode::data;
  bool line_starting_ = true;  // nothing but white space stands before at_ on its line
  std::vector<char> brackets_;
  std::string error_;
  bool pending_tag_ = false;  // data was given out; the tag at at_ is next
};

}  // namespace text::jinja
