#include "engine/janus_prompts.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "text/unicode.h"

namespace engine {
namespace {

constexpr std::string_view user = "<|User|>", assistant = "<|Assistant|>";
constexpr std::string_view placeholder = "<image_placeholder>";
constexpr std::string_view begin_of_image = "<begin_of_image>";
constexpr std::string_view own_system =
    "You are a helpful language and vision assistant. You are able to understand the visual "
    "content that the user provides, and assist the user with a variety of tasks using natural "
    "language.";

// As Python's strip() sees it: White_Space, and the four separators below the space.
bool is_space(uint32_t code_point) {
  return text::is_white_space(code_point) || (code_point >= 0x1c && code_point <= 0x1f);
}

size_t first_word(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const text::Decoded decoded = text::decode_at(text, at);
    if (!is_space(decoded.code_point)) break;
    at += decoded.bytes;
  }
  return at;
}

// Where the white space at the end begins.
size_t last_word_end(std::string_view text) {
  size_t end = 0;
  for (size_t at = 0; at < text.size();) {
    const text::Decoded decoded = text::decode_at(text, at);
    at += decoded.bytes;
    if (!is_space(decoded.code_point)) end = at;
  }
  return end;
}

void append_typed(text::Rendered& to, std::string_view typed) {
  if (typed.empty()) return;
  to.user_text.push_back({to.text.size(), to.text.size() + typed.size()});
  to.text += typed;
}

// Appends the part without the white space around it; false: nothing was left.
bool append_stripped(text::Rendered& to, const text::Rendered& part, bool right = true) {
  const size_t begin = first_word(part.text);
  const size_t end = right ? last_word_end(part.text) : part.text.size();
  if (begin >= end) return false;
  const size_t moved = to.text.size();
  for (const auto& span : part.user_text) {
    const size_t from = std::max(span.begin, begin), until = std::min(span.end, end);
    if (from < until) to.user_text.push_back({moved + from - begin, moved + until - begin});
  }
  to.text += std::string_view(part.text).substr(begin, end - begin);
  return true;
}

// A message's text with a placeholder and a line break where a picture stands.
text::Rendered with_placeholders(const Message& message) {
  text::Rendered part;
  const std::string_view content = message.content;
  size_t done = 0;
  for (const Picture& picture : message.pictures) {
    const size_t at = std::clamp<size_t>(picture.at, done, content.size());
    append_typed(part, content.substr(done, at - done));
    part.text += placeholder;
    part.text += '\n';
    done = at;
  }
  append_typed(part, content.substr(done));
  return part;
}

void append_turn(text::Rendered& to, std::string_view role, const text::Rendered& part,
                 std::string_view after) {
  text::Rendered turn;
  if (!append_stripped(turn, part)) {
    to.text += role;
    to.text += ':';
    return;
  }
  to.text += role;
  to.text += ": ";
  append_stripped(to, turn);
  to.text += after;
}

void append_system(text::Rendered& to, const std::vector<Message>& messages) {
  bool given = false;
  for (const Message& message : messages) {
    if (message.role != "system") continue;
    given = true;
    text::Rendered part;
    append_typed(part, message.content);
    if (append_stripped(to, part)) to.text += "\n\n";
  }
  if (given) return;
  to.text += own_system;
  to.text += "\n\n";
}

base::Error not_of_janus(std::string why) {
  return {base::ErrorKind::invalid_input, "the model's vocabulary is not that of Janus",
          std::move(why), "fetch the model's tokenizer.json again"};
}

}  // namespace

base::Result<JanusPrompts> JanusPrompts::of(const text::Tokenizer& tokenizer, PictureShape shape) {
  JanusPrompts janus;
  janus.shape_ = shape;
  const struct {
    std::string_view text;
    int32_t* id;
  } marks[] = {{placeholder, &janus.placeholder_},
               {begin_of_image, &janus.begin_},
               {"<end_of_image>", &janus.end_of_image_},
               {"<｜▁pad▁｜>", &janus.pad_}};
  for (const auto& mark : marks) {
    *mark.id = tokenizer.id_of(mark.text);
    if (*mark.id >= 0) continue;
    return base::fail(not_of_janus(fmt::format("it has no {}", mark.text)));
  }
  const text::TokenizerSpec& spec = tokenizer.spec();
  janus.bos_ = spec.bos_id;
  if (spec.eos_id >= 0) janus.end_ = tokenizer.bytes(spec.eos_id);
  return janus;
}

std::vector<int32_t> JanusPrompts::encode(const text::Tokenizer& tokenizer,
                                          const text::Rendered& rendered) const {
  std::vector<text::Tokenizer::Span> spans;
  for (const auto& span : rendered.user_text) spans.push_back({span.begin, span.end});
  std::vector<int32_t> ids = tokenizer.encode_rendered(rendered.text, spans);
  if (bos_ >= 0 && (ids.empty() || ids.front() != bos_)) ids.insert(ids.begin(), bos_);
  return ids;
}

void JanusPrompts::expand(std::vector<int32_t>& ids, Chat& chat) const {
  for (int32_t id : ids) {
    if (id != placeholder_) {
      chat.ids.push_back(id);
      continue;
    }
    chat.ids.push_back(begin_);
    chat.pictures.push_back(static_cast<int>(chat.ids.size()));
    chat.ids.insert(chat.ids.end(), static_cast<size_t>(shape_.tokens), placeholder_);
    chat.ids.push_back(end_of_image_);
  }
}

base::Result<JanusPrompts::Chat> JanusPrompts::chat(const text::Tokenizer& tokenizer,
                                                    const std::vector<Message>& messages) const {
  text::Rendered rendered;
  append_system(rendered, messages);
  const bool continues =
      !messages.empty() && messages.back().role == "assistant" && messages.back().prefix;
  for (size_t i = 0; i + (continues ? 1 : 0) < messages.size(); ++i) {
    const Message& message = messages[i];
    if (message.role == "system") continue;
    const bool answer = message.role == "assistant";
    append_turn(rendered, answer ? assistant : user, with_placeholders(message),
                answer ? std::string_view(end_) : "\n\n");
  }
  rendered.text += assistant;
  rendered.text += ':';
  if (continues) {
    text::Rendered typed, begun;
    append_typed(typed, messages.back().content);
    // What it ends with is the answer's own.
    if (append_stripped(begun, typed, false)) {
      rendered.text += ' ';
      append_stripped(rendered, begun, false);
    }
  }
  Chat chat;
  std::vector<int32_t> ids = encode(tokenizer, rendered);
  expand(ids, chat);
  size_t pictures = 0;
  for (const Message& message : messages) pictures += message.pictures.size();
  if (chat.pictures.size() != pictures) return base::fail(not_of_janus("its marks are not whole"));
  return chat;
}

base::Result<JanusPrompts::Drawing> JanusPrompts::drawing(const text::Tokenizer& tokenizer,
                                                          const std::string& text) const {
  text::Rendered rendered, typed;
  append_typed(typed, text);
  append_turn(rendered, user, typed, "\n\n");
  rendered.text += assistant;
  rendered.text += ':';
  rendered.text += begin_of_image;
  Drawing drawing;
  drawing.with_text = encode(tokenizer, rendered);
  if (drawing.with_text.size() < 2 || drawing.with_text.back() != begin_) {
    return base::fail(not_of_janus("its marks are not whole"));
  }
  drawing.without_text = drawing.with_text;
  std::fill(drawing.without_text.begin() + 1, drawing.without_text.end() - 1, pad_);
  return drawing;
}

}  // namespace engine
