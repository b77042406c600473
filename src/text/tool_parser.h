// ToolParser: what a model wrote outside its reasoning, as content and tool calls.
//
//   sections  open { call_open HEAD separator BODY call_close } close      DeepSeek, Kimi
//   tagged    { call_open {"name":…,"arguments":{…}} call_close }          Qwen
//   bare      [open] {"name":…,"parameters":{…}} { ; {…} }                 Llama
//
// A mark counts by its id where the vocabulary has one for it, and then its text is plain text;
// otherwise (the distills write DeepSeek's marks with the tokens of another vocabulary) by its
// text, found across token borders with no more held back than may still become a mark.
//
// A call is given out when it is whole, as one piece: its name is declared and its arguments are a
// JSON object. A call that is broken, cut, nested, too large or of an unknown function is dropped
// with all its text; what was whole before and after it stays. Text between calls and what a model
// makes up as a result are dropped too; white space before markup belongs to it. So nothing of
// markup is ever content, and nothing throws.
//
// Bare calls have no marks, so an answer that begins with `{` is held until it ends: it is content
// if it is no call and does not look like the beginning of one. One stream, one thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/pieces.h"
#include "text/tokenizer.h"

namespace text {

struct ToolLimits {
  int calls_max = 128;
  size_t call_bytes_max = 1 << 20;  // of the body of one call
};

struct ToolMarkup {
  enum class Kind : uint8_t { none, deepseek, kimi, tagged, bare };
  enum class Role : uint8_t { open, close, call_open, separator, call_close, result };
  struct Mark {
    Role role;
    std::string text;
    int32_t id = -1;  // -1: no such token, the text counts
  };
  Kind kind = Kind::none;
  std::vector<Mark> marks;

  // The template says which markup the model writes, the vocabulary how.
  static ToolMarkup of(const Tokenizer& tokenizer, std::string_view template_source);
  std::vector<int32_t> ids() const;
};

class ToolParser {
 public:
  // `names`: the declared functions. None: every call is dropped.
  ToolParser(ToolMarkup markup, std::vector<std::string> names, ToolLimits limits = {});

  // Pieces of the answer, as the Splitter gives them. Every id comes out again, in order.
  void push(Piece piece, std::vector<Piece>& out);
  void finish(std::vector<Piece>& out);

  int calls() const { return calls_; }

 private:
  // start: nothing but white space so far. between: a call may follow; inside a section only a
  // call. dropped: nothing counts until a mark opens something.
  enum class State : uint8_t { start, content, between, head, body, bare, dropped };
  using Role = ToolMarkup::Role;

  void scan(std::vector<Piece>& out);
  void read(size_t bytes, bool mark_follows, std::vector<Piece>& out);
  void on_mark(Role role, std::vector<Piece>& out);
  void give(size_t bytes, std::vector<Piece>& out);
  void swallow(size_t bytes, std::vector<Piece>& out);
  void end_call(std::vector<Piece>& out);
  void end_bare(std::vector<Piece>& out);
  bool give_call(std::string_view name, std::string_view arguments, std::vector<Piece>& out);
  bool give_object(std::string_view object, std::vector<Piece>& out);
  bool looks_called(std::string_view text) const;

  ToolMarkup markup_;
  std::vector<std::string> names_;
  ToolLimits limits_;
  bool has_separator_ = false;
  State state_ = State::start;
  HeldText held_;
  std::string head_, body_;
  bool broken_ = false;   // the open call
  bool section_ = false;  // inside open … close
  bool marked_ = false;   // a bare answer that its mark announced
  bool finishing_ = false;
  int calls_ = 0;
};

}  // namespace text
