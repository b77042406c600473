// The strict HTTP/1.x request parser: bytes in, a Request or a fault out. No sockets, no clock.
//
// Strict means: where RFC 9112 lets two implementations read the same bytes in two ways, the
// request is refused (that difference is what request smuggling lives on). So: lines end in CRLF
// only; no obs-fold; no space before a colon; no NUL or other control byte anywhere; Content-Length
// once, digits only, never beside Transfer-Encoding; Transfer-Encoding is exactly "chunked", once,
// and only in HTTP/1.1; one Host, and an absolute target must name the same authority; fields whose
// repetition has two readings (Authorization, Cookie, ...) may not repeat.
//
// Threads: none of it is shared; each connection owns its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "net/server.h"

namespace net {

// Why a request was refused: the status to answer with and a constant sentence without any byte of
// the request in it. The connection is closed after the answer, always.
struct HttpFault {
  int status = 400;
  const char* reason = "";
};

// Looks for the end of the head in a buffer that grows. `checked` is how far earlier calls got.
struct HeadScan {
  size_t checked = 0;
  // The size of the head with its last CRLF CRLF; nothing: more bytes are needed.
  tl::expected<std::optional<size_t>, HttpFault> scan(std::string_view buffer,
                                                      const ServerLimits& limits);
};

struct RequestHead {
  Request request;         // without body and peer
  int version_minor = 1;   // HTTP/1.0 or HTTP/1.1
  bool keep_alive = true;  // what the client asked for
  bool expects_continue = false;
  bool chunked = false;
  int64_t content_length = 0;  // 0 when chunked
};

// `head` ends with CRLF CRLF.
tl::expected<RequestHead, HttpFault> parse_head(std::string_view head, const ServerLimits& limits);

// Takes a body apart, chunked or counted.
class BodyDecoder {
 public:
  BodyDecoder() = default;
  static BodyDecoder counted(int64_t length);
  static BodyDecoder chunked(int64_t body_bytes_max);

  // Appends decoded bytes to `out`, returns how much of `in` was consumed. Stops at done().
  tl::expected<size_t, HttpFault> feed(std::string_view in, std::string& out);
  bool done() const { return state_ == State::done; }

 private:
  enum class State : uint8_t {
    counted,
    size,
    extension,
    size_lf,
    data,
    data_cr,
    data_lf,
    trailer,
    done
  };
  std::optional<HttpFault> step(unsigned char c);
  std::optional<HttpFault> size_byte(unsigned char c);
  std::optional<HttpFault> extension_byte(unsigned char c);
  std::optional<HttpFault> trailer_byte(unsigned char c);

  State state_ = State::done;
  int64_t left_ = 0;           // of the counted body or of this chunk
  int64_t body_left_max_ = 0;  // what all chunks together may still bring
  int size_digits_ = 0;
  int overhead_bytes_ = 0;  // extensions and trailers of the whole body
  std::string line_;        // the trailer line that is being read
};

// "/a%20b/./c" -> "/a b/c". Nothing: malformed, or ambiguous ("..", "%2f", "\", control bytes,
// ill-formed UTF-8).
std::optional<std::string> normalised_path(std::string_view raw);

// Form decoding of one query component: '+' is a space, a broken escape stays as it is.
std::string form_decoded(std::string_view raw);

}  // namespace net
