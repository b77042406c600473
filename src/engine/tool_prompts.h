// ToolPrompts: how one model is told of tools and of the calls that were made, and what of it its
// answers are parsed by. Found out when the model is opened, by rendering a small conversation:
//
//   DeepSeek       the files' templates leave out the definitions, and some lose calls (none unless
//                  content is null; no end mark after one call; nothing of a second round). Chats
//                  with tools are written by a template of our own, in the format of the model
//   all others     the file's template, with the arguments as it wants them: text or object,
//                  content null or ""
//
// Immutable: any thread may use it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "engine/call_opening.h"
#include "engine/engine.h"
#include "engine/output.h"
#include "text/chat_template.h"
#include "text/tool_parser.h"

namespace engine {

class ToolPrompts {
 public:
  // Renders a context with the file's own template.
  using Render = std::function<base::Result<text::Rendered>(base::Json context)>;

  // `render` is used only during the call.
  static ToolPrompts of(const text::Tokenizer& tokenizer, std::string_view template_source,
                        const Render& render);

  bool supported() const { return markup_.kind != text::ToolMarkup::Kind::none; }
  // The chat has declared tools that may be called, or calls or results in its history.
  static bool involved(const ChatPrompt& prompt);
  // Chats with tools are rendered by this instead of the file's template; null: by the file's.
  const text::ChatTemplate* own_template() const { return own_.get(); }

  // As the template wants them; results stand in the order of their calls.
  base::Json messages(const std::vector<Message>& messages) const;
  // Null: none, so that a template sees no tools.
  base::Json definitions(const ChatPrompt& prompt) const;
  // What the answer is parsed by, and how it is made to begin.
  ToolUse use(const ChatPrompt& prompt) const;
  std::optional<CallOpening> opening(const ChatPrompt& prompt,
                                     const text::Tokenizer& tokenizer) const;

 private:
  using Kind = text::ToolMarkup::Kind;
  bool find_style(const Render& render);
  bool make_own(std::string_view template_source, const Render& render);
  base::Json message_json(const Message& message) const;
  std::pair<std::string, std::string> opening_marks(size_t calls) const;
  std::vector<Message> arranged(const std::vector<Message>& messages) const;

  text::ToolMarkup markup_;
  std::shared_ptr<const text::ChatTemplate> own_;
  bool fenced_ = false;             // DeepSeek: V3's and R1's form, not V3.1's
  bool arguments_as_text_ = false;  // else an object
  bool content_null_ = false;       // of a message that only calls; else ""
};

}  // namespace engine
