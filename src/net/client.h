// The HTTP/1.1 client: for `nautile pull` and nothing else (the sealed processes could not use it;
// tools/tidy.py lists who may include this). It asks one address, follows redirects, and hands the
// body to a sink piece by piece. TLS checks the certificate and the name against the machine's
// authorities. Everything that an answer can be has a limit; nothing throws past this door.
//
// Promises: `authorization` is sent to the origin it was given for and to no other; an answer over
// https is never followed to http; a body is never decompressed (a compressed one is refused).
// Threads: a Client belongs to one thread; `cancelled` may be asked from any.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "net/proxy.h"
#include "net/url.h"

namespace net {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct ClientLimits {
  int header_bytes_max = 64 * 1024;
  int header_fields_max = 128;
  int redirects_max = 8;
  int connect_timeout_ms = 20'000;  // name, connection and TLS together
  int stall_timeout_ms = 30'000;    // without one byte from the server
  int64_t body_bytes_max = int64_t{1} << 50;
};

struct ClientRequest {
  std::string method = "GET";  // or HEAD
  Url url;
  Headers headers;            // host, connection, accept-encoding and user-agent are the client's
  std::string authorization;  // value of Authorization, for url's origin only; may be empty
  bool follow = true;         // redirects
};

struct ClientAnswer {
  int status = 0;
  Headers headers;  // names in lower case
  Url url;          // the last one asked
  int redirects = 0;
  int64_t content_length = -1;  // -1: not said
  // The first value, or empty.
  std::string_view header(std::string_view lower_case_name) const;
};

// Takes the body. head() is called once, before any byte, for the answer that is not followed;
// false there or in bytes() ends the transfer early, which is no error.
class BodySink {
 public:
  virtual ~BodySink() = default;
  virtual base::Result<bool> head(const ClientAnswer& answer) = 0;
  virtual base::Result<bool> bytes(std::string_view piece) = 0;
};

class Client {
 public:
  virtual ~Client() = default;
  // Errors: unavailable (no connection, no name, stalled, cut: `next` says what to look at),
  // invalid_input (no acceptable HTTP, a certificate that does not hold, a redirect that must not
  // be followed), interrupted. Any status is an answer, not an error.
  virtual base::Result<ClientAnswer> fetch(const ClientRequest& request, BodySink& sink) = 0;
};

struct ClientOptions {
  ClientLimits limits;
  ProxySettings proxy;
  std::string user_agent;
  std::function<bool()> cancelled;  // asked at least ten times a second; may be empty
};
// One connection is kept for the next request to the same place.
base::Result<std::unique_ptr<Client>> make_client(ClientOptions options);

// A whole small body, at most `bytes_max`; a longer one is limit_exceeded.
struct SmallAnswer {
  ClientAnswer head;
  std::string body;
};
base::Result<SmallAnswer> fetch_small(Client& client, const ClientRequest& request,
                                      size_t bytes_max);

}  // namespace net
