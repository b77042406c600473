// Ids to text while they come: only whole characters are given out. One stream, one thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace text {

// Bytes in any portions to well-formed UTF-8. A character that is not complete yet is held back
// (at most 3 bytes); every maximal ill-formed part becomes one U+FFFD as soon as it is proven.
class Utf8Stream {
 public:
  // Appends what `bytes` completes.
  void push(std::string_view bytes, std::string& out);
  // The stream ends: U+FFFD for a character left unfinished. Ready for the next stream.
  void flush(std::string& out);
  bool pending() const { return held_bytes_ > 0; }

 private:
  char held_[4] = {};
  int held_bytes_ = 0;
  int wanted_bytes_ = 0;                  // of the held character
  uint8_t next_low_ = 0, next_high_ = 0;  // what its next byte may be
};

// Ids without text give nothing. A hidden control token adds no bytes and does not break a
// character that is pending.
class Detokenizer {
 public:
  explicit Detokenizer(const Tokenizer& tokenizer, bool show_control = true)
      : tokenizer_(&tokenizer), show_control_(show_control) {}
  std::string push(int32_t id) {
    std::string out;
    stream_.push(tokenizer_->bytes(id, show_control_), out);
    return out;
  }
  std::string flush() {
    std::string out;
    stream_.flush(out);
    return out;
  }
  bool pending() const { return stream_.pending(); }

 private:
  const Tokenizer* tokenizer_;
  bool show_control_;
  Utf8Stream stream_;
};

}  // namespace text
