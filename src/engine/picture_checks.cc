#include "engine/picture_checks.h"

#include <algorithm>

namespace engine {
namespace {

// A byte that begins a character, or the end of the text.
bool between_characters(const std::string& text, uint64_t at) {
  return at == text.size() || (static_cast<uint8_t>(text[at]) & 0xc0) != 0x80;
}

base::Result<void> check_message(const Message& message) {
  auto bad = [](std::string what) {
    return base::fail(base::ErrorKind::invalid_input, std::move(what));
  };
  if (message.pictures.empty()) return {};
  if (message.role != "user") return bad("only messages of the user may have pictures");
  uint64_t before = 0;
  for (const Picture& picture : message.pictures) {
    if (picture.at < before) return bad("the pictures of a message are not in order");
    if (picture.at > message.content.size() || !between_characters(message.content, picture.at)) {
      return bad("a picture stands outside of its message's text");
    }
    before = picture.at;
  }
  return {};
}

}  // namespace

base::Result<void> check_pictures(const ChatPrompt& prompt) {
  uint64_t bytes = 0, count = 0;
  for (const Message& message : prompt.messages) {
    TRY(check_message(message));
    for (const Picture& picture : message.pictures) {
      if (picture.bytes.size() > picture_bytes_max) {
        return base::fail(base::ErrorKind::invalid_input, "a picture is too large",
                          fmt::format("it takes {} bytes, the limit is {}", picture.bytes.size(),
                                      picture_bytes_max),
                          "make it smaller");
      }
      bytes += picture.bytes.size();
      ++count;
    }
  }
  if (count > pictures_seen_max) {
    return base::fail(
        base::ErrorKind::invalid_input, "there are too many pictures",
        fmt::format("the conversation has {}, the limit is {}", count, pictures_seen_max),
        "leave some out, or ask in a new conversation");
  }
  if (bytes > pictures_bytes_max) {
    return base::fail(base::ErrorKind::invalid_input, "the pictures are too large together",
                      fmt::format("they take {} bytes, the limit is {}", bytes, pictures_bytes_max),
                      "make them smaller, or leave some out");
  }
  return {};
}

bool has_pictures(const ChatPrompt& prompt) {
  return std::any_of(prompt.messages.begin(), prompt.messages.end(),
                     [](const Message& m) { return !m.pictures.empty(); });
}

}  // namespace engine
