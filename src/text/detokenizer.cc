// Well-formed sequences (Unicode 16, table 3-7): the second byte has a range of its own after E0,
// ED, F0 and F4, so an ill-formed start is known before the sequence would be complete.
#include "text/detokenizer.h"

namespace text {
namespace {

constexpr std::string_view replacement = "\ufffd";

}  // namespace

void Utf8Stream::push(std::string_view bytes, std::string& out) {
  for (size_t at = 0; at < bytes.size();) {
    const auto byte = static_cast<uint8_t>(bytes[at]);
    if (held_bytes_ > 0) {
      if (byte < next_low_ || byte > next_high_) {  // read again as a new start
        out += replacement;
        held_bytes_ = 0;
        continue;
      }
      held_[held_bytes_++] = bytes[at++];
      next_low_ = 0x80;
      next_high_ = 0xbf;
      if (held_bytes_ == wanted_bytes_) {
        out.append(held_, static_cast<size_t>(held_bytes_));
        held_bytes_ = 0;
      }
      continue;
    }
    ++at;
    if (byte < 0x80) {
      out.push_back(static_cast<char>(byte));
      continue;
    }
    if (byte < 0xc2 || byte > 0xf4) {
      out += replacement;
      continue;
    }
    held_[0] = static_cast<char>(byte);
    held_bytes_ = 1;
    wanted_bytes_ = byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
    next_low_ = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
    next_high_ = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
  }
}

void Utf8Stream::flush(std::string& out) {
  if (held_bytes_ > 0) out += replacement;
  held_bytes_ = 0;
}

}  // namespace text
