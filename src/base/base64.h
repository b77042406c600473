// Base64 of RFC 4648, section 4, in both directions. No state; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace base {

std::string base64(std::string_view bytes);

// Nothing but the alphabet, padded to a multiple of four characters, unused bits zero: one text for
// each string of bytes, so that nobody smuggles anything beside them. Absent: it is not that.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace base
