// OutputStream: sampled ids to the text that leaves the engine, in one place and by token id:
//
//   id -> bytes -> whole characters -> reasoning | answer -> tool calls -> stop strings -> Delta
//
// Text is held back while a character is unfinished or while it may be the beginning of a stop
// string; the ids wait with it, so that a Delta accounts for the ids that its text is made of.
// Stop strings are looked for in the answer, not in the reasoning nor in calls; calls are looked
// for in the answer, not in the reasoning.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "text/splitter.h"
#include "text/tool_parser.h"

namespace engine {

// Where the sampled text begins.
enum class ThinkingStart : uint8_t {
  never,    // everything is answer: completions without a template, models that do not think
  outside,  // the model may open its thinking itself
  inside    // the prompt ended inside an open marker
};

// What an answer of a chat with tools is parsed by.
struct ToolUse {
  text::ToolMarkup markup;
  std::vector<std::string> names;  // calls of others are dropped
  int calls_max = 128;             // after so many the answer ends
};

class OutputStream {
 public:
  // `tokenizer` outlives the stream. Without `tools` all markup is text.
  OutputStream(const text::Tokenizer& tokenizer, const text::ThinkMarkers& markers,
               ThinkingStart start, const std::vector<std::string>& stop_strings,
               const std::optional<ToolUse>& tools = {});
  ~OutputStream();

  struct Pushed {
    std::vector<Delta> deltas;
    bool stopped = false;  // by a stop string, or by the last call that was asked for
  };
  // `token` present: log-probabilities were asked for (then always).
  Pushed push(int32_t id, std::optional<Token> token);
  // The answer ends otherwise: what was held back.
  std::vector<Delta> finish();

  bool in_reasoning() const;
  bool may_open_reasoning() const;
  bool opens_reasoning(int32_t id) const;
  int reasoning_tokens() const { return reasoning_tokens_; }  // given out; markers included
  int thinking_tokens() const { return thinking_tokens_; }    // pushed so far inside the thinking

 private:
  struct Parts;
  Pushed hand_on(std::vector<text::Piece> split);
  std::vector<Delta> to_deltas(std::vector<text::Piece> pieces);

  std::unique_ptr<Parts> parts_;
  int calls_ = 0;
  int reasoning_tokens_ = 0;
  int thinking_tokens_ = 0;
};

}  // namespace engine
