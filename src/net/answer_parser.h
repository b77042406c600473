// The strict HTTP/1.x answer parser of our own client: bytes in, an AnswerHead or a sentence out.
// No sockets, no clock. What two implementations could read in two ways is refused, as in
// http_parser.h: lines end in CRLF, no folding, no NUL; Content-Length once, digits only, never
// beside Transfer-Encoding, which is exactly "chunked". The body itself is BodyDecoder's, or
// everything up to the end of the connection.
//
// Threads: none of it is shared; each connection owns its own.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "net/client.h"

namespace net {

struct AnswerHead {
  enum class Body : uint8_t { none, counted, chunked, until_close };
  int status = 0;
  int version_minor = 1;
  Headers headers;  // names in lower case
  Body body = Body::none;
  int64_t content_length = 0;  // when counted
  bool keep_alive = true;
};

// The size of the head with its last CRLF CRLF; nothing: more bytes are needed. `checked` is how
// far earlier calls got.
tl::expected<std::optional<size_t>, const char*> find_answer_head(std::string_view buffer,
                                                                  size_t& checked,
                                                                  const ClientLimits& limits);
// `head` ends with CRLF CRLF. `asked_head`: the request was HEAD, so no body follows.
tl::expected<AnswerHead, const char*> parse_answer_head(std::string_view head, bool asked_head,
                                                        const ClientLimits& limits);

}  // namespace net
