// JanusPrompts: conversations and descriptions of pictures in the form that Janus-Pro was trained
// on (models.md §3.4, §3.5). The template is code: Janus's files carry none, or one that wants
// messages in pieces.
//
//   {system}\n\n<|User|>: <image_placeholder>\n{question}\n\n<|Assistant|>: {answer}<end>
//   <|User|>: {question}\n\n<|Assistant|>:
//
// (on one line; white space around a message is left out). After tokenising, each placeholder
// becomes begin_of_image, one placeholder for every row of the picture, end_of_image.
//
// A picture is drawn from two rows of equal length: the description, and as many pads between the
// first id and the last.
//
//   <bos><|User|>: {text}\n\n<|Assistant|>:<begin_of_image>
//   <bos><pad><pad> …                      <begin_of_image>
//
// Marks are found by their text, never by number. What a person typed never becomes one.
// Immutable: any thread may use it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace engine {

// What of its pictures stands in prompts.
struct PictureShape {
  int tokens = 0;  // rows of a picture that is seen
  int codes = 0;   // different codes of a picture that is drawn
  int grid = 0;    // codes of it, each way
};

class JanusPrompts {
 public:
  // invalid_input: the vocabulary lacks one of the marks. `tokenizer` must be that of all calls.
  static base::Result<JanusPrompts> of(const text::Tokenizer& tokenizer, PictureShape shape);

  const PictureShape& shape() const { return shape_; }

  struct Chat {
    std::vector<int32_t> ids;
    std::vector<int> pictures;  // position of the first row of each, in the messages' order
  };
  // Without a system message it begins with Janus's own. A last message with `prefix` is continued.
  // invalid_input: the vocabulary swallows the marks.
  base::Result<Chat> chat(const text::Tokenizer& tokenizer,
                          const std::vector<Message>& messages) const;

  struct Drawing {
    std::vector<int32_t> with_text, without_text;  // equally long
  };
  base::Result<Drawing> drawing(const text::Tokenizer& tokenizer, const std::string& text) const;

 private:
  std::vector<int32_t> encode(const text::Tokenizer& tokenizer,
                              const text::Rendered& rendered) const;
  void expand(std::vector<int32_t>& ids, Chat& chat) const;

  PictureShape shape_;
  std::string end_;  // of an answer
  int32_t bos_ = -1, pad_ = -1, placeholder_ = -1, begin_ = -1, end_of_image_ = -1;
};

}  // namespace engine
