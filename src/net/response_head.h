// Turns a status and fields into the bytes of a response head. Fields that the server itself is
// answerable for (content-length, transfer-encoding, connection, date) are not taken from the
// caller, and control bytes in values become spaces, so nothing can split a response.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "net/server.h"

namespace net {

struct HeadForm {
  int version_minor = 1;
  bool keep_alive = true;
  bool chunked = false;
  std::optional<int64_t> content_length;  // absent: none is sent
};
std::string response_head(int status, const Headers& headers, const HeadForm& form,
                          int64_t now_unix_s);
// "Sun, 06 Nov 1994 08:49:37 GMT"
std::string http_date(int64_t unix_s);
// True if the caller's fields ask for the connection to end.
bool asks_to_close(const Headers& headers);
// 1xx, 204 and 304 have no body and no length.
bool has_body(int status);

}  // namespace net
