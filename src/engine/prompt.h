// PromptBuilder: structured messages to token ids, by the template and vocabulary of one model file
// (untrusted: both run under limits). It also knows how the model thinks:
//
//   never     the template never mentions <think>, or there is no template
//   optional  the template writes another prompt when enable_thinking (or thinking) changes
//   always    R1 and its kind: the prompt ends with an open <think>, or the model opens it itself
//
// Janus has a template of its own, in code (janus_prompts.h); it never thinks and calls no tools.
//
// Immutable after make(): any thread may use it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"
#include "engine/janus_prompts.h"
#include "engine/output.h"
#include "engine/tool_prompts.h"
#include "text/chat_template.h"
#include "text/splitter.h"
#include "text/tokenizer.h"

namespace engine {

struct PreparedPrompt {
  std::vector<int32_t> ids;
  ThinkingStart start = ThinkingStart::never;
  std::optional<ToolUse> tools;        // present: the answer is looked through for calls
  std::optional<CallOpening> opening;  // present: the answer is made to begin with a call
  std::vector<int> pictures;           // first position of each that is seen, in messages' order
  std::vector<int32_t> without_text;   // of a drawing: its other row, as long as `ids`
};

class PromptBuilder {
 public:
  // `chat_template` may be null: then chat prompts are refused. `vocab`: ids that the model has.
  // `janus` present: it writes the chats, and pictures may be seen and drawn.
  static std::unique_ptr<const PromptBuilder> make(
      std::shared_ptr<const text::Tokenizer> tokenizer,
      std::shared_ptr<const text::ChatTemplate> chat_template, std::string_view template_source,
      int vocab, std::optional<JanusPrompts> janus = {});

  // unsupported: no template, or none for tools, or no pictures; invalid_input: the template
  // refuses these messages, or an id is not in the vocabulary, or nothing is left to read. The
  // bytes of pictures are not looked at. A DrawPrompt with codes gives no ids.
  base::Result<PreparedPrompt> build(const Prompt& prompt, int64_t now_unix) const;
  // `fits_below`: the context. See PromptSize.
  base::Result<PromptSize> measure(const ChatPrompt& prompt, int context_tokens,
                                   int64_t now_unix) const;

  const text::Tokenizer& tokenizer() const { return *tokenizer_; }
  ThinkingSupport thinking() const { return thinking_; }
  const text::ThinkMarkers& markers() const { return markers_; }
  bool has_template() const { return chat_template_ != nullptr || janus_; }
  const std::optional<JanusPrompts>& janus() const { return janus_; }
  bool is_r1_family() const { return r1_family_; }
  bool has_tools() const { return tools_.supported(); }

 private:
  PromptBuilder() = default;
  base::Result<text::Rendered> render(const ChatPrompt& prompt, Thinking thinking,
                                      int64_t now_unix) const;
  base::Result<text::Rendered> render_with(const text::ChatTemplate& with, base::Json context,
                                           Thinking thinking, const base::Json& arguments,
                                           int64_t now_unix) const;
  base::Result<PreparedPrompt> build_chat(const ChatPrompt& prompt, int64_t now_unix) const;
  base::Result<PreparedPrompt> build_janus(const ChatPrompt& prompt) const;
  base::Result<PreparedPrompt> build_drawing(const DrawPrompt& prompt) const;
  base::Result<void> check_ids(const std::vector<int32_t>& ids) const;
  void open_or_close_thinking(text::Rendered& rendered, Thinking thinking) const;
  // Appends what the answer already has; true: it breaks off inside the thinking.
  bool continue_answer(text::Rendered& rendered, const Message& begun) const;
  bool ends_in_reasoning(const text::Rendered& rendered) const;
  bool switched_by(std::string_view argument) const;
  ThinkingSupport detect_thinking(std::string_view template_source) const;

  std::shared_ptr<const text::Tokenizer> tokenizer_;
  std::shared_ptr<const text::ChatTemplate> chat_template_;
  text::ThinkMarkers markers_;
  ToolPrompts tools_;
  std::optional<JanusPrompts> janus_;
  ThinkingSupport thinking_ = ThinkingSupport::never;
  bool r1_family_ = false;
  int vocab_ = 0;
};

}  // namespace engine
