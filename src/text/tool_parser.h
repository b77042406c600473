// ToolParser: what a model wrote, as content and tool calls. Only ids open or close markup where
// the vocabulary has control tokens for it, so text that looks like markup stays text. Bare markup
// (Llama) has none: there an answer that is one JSON object with a declared name is a call.
//
//   sections  open { call_open HEAD separator BODY call_close } close      DeepSeek, Kimi
//   tagged    call_open {"name":…,"arguments":{…}} call_close              Qwen
//   bare      [python_tag] {"name":…,"parameters":{…}} to the end          Llama
//
// A call is given out when it is whole: its name is declared and its arguments are a JSON object.
// A broken, cut, nested or too large call is dropped with all its text, what was valid before it
// stays; nothing throws. Text between calls is dropped, text after the last one is content.
// One stream, one thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/tokenizer.h"

namespace text {

struct ToolLimits {
  int calls_max = 128;
  size_t arguments_bytes_max = 1 << 20;  // of the whole body of a call, with its markup
  size_t name_bytes_max = 64;
};

struct ToolMarkup {
  enum class Kind : uint8_t { none, fenced, plain, kimi, tagged, bare };
  Kind kind = Kind::none;
  // -1: no such token.
  int32_t open = -1, close = -1, call_open = -1, separator = -1, call_close = -1;

  // By the vocabulary; the template tells V3's fences from V3.1's plain arguments.
  static ToolMarkup of(const Tokenizer& tokenizer, std::string_view template_source);
  bool marks(int32_t id) const;
};

// `name` empty: `text` is content; otherwise a whole call and `text` are its arguments.
struct ToolPiece {
  int index = -1;
  std::string name, text;
};

class ToolParser {
 public:
  // `names`: the declared functions. A call of another is dropped.
  ToolParser(ToolMarkup markup, std::vector<std::string> names, ToolLimits limits = {});

  // `text`: what the id brought, whole characters, maybe nothing.
  void push(int32_t id, std::string_view text, std::vector<ToolPiece>& out);
  void finish(std::vector<ToolPiece>& out);
  int calls() const { return calls_; }

 private:
  enum class State : uint8_t { start, content, between, head, body, bare };
  void mark(int32_t id, std::vector<ToolPiece>& out);
  void begin_bare(std::vector<ToolPiece>& out);
  void end_call(std::vector<ToolPiece>& out);
  bool give_call(std::string_view name, std::string_view arguments, std::vector<ToolPiece>& out);
  bool give_object(std::vector<ToolPiece>& out);

  ToolMarkup markup_;
  std::vector<std::string> names_;
  ToolLimits limits_;
  State state_ = State::start;
  std::string head_, body_;
  bool too_large_ = false, tagged_bare_ = false;
  int calls_ = 0;
};

}  // namespace text
