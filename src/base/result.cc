#include "base/result.h"

#include "base/bytes.h"
#include "base/limits.h"

namespace base {

std::string Error::message() const {
  std::string text = what;
  if (!why.empty()) text += ": " + why;
  if (!next.empty()) text += ". " + next;
  return text;
}

std::string shown_name(std::string_view foreign) {
  std::string out = "\"";
  std::string_view shown = foreign.substr(0, limits::foreign_name_shown_bytes_max);
  // Never end inside a character: drop up to three continuation bytes and their lead.
  while (shown.size() < foreign.size() && !shown.empty() && !is_utf8(shown) &&
         foreign.substr(0, limits::foreign_name_shown_bytes_max).size() - shown.size() < 4) {
    shown.remove_suffix(1);
  }
  const bool utf8 = is_utf8(shown);
  for (unsigned char c : shown) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8)) {
      out += fmt::format("\\x{:02x}", c);
    } else {
      out += static_cast<char>(c);
    }
  }
  out += shown.size() < foreign.size() ? "…\"" : "\"";
  return out;
}

}  // namespace base
