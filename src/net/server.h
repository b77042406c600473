// The HTTP/1.1 server: bytes, limits and deadlines; it knows no members and no routes. Boost stays
// behind this header. Strict: what RFC 9112 leaves open to two readings is refused.
//
// Threads: handlers run on the server's event-loop thread and must not block; an Exchange may be
// answered later from any thread. Every deadline is absolute: a client that sends one byte a
// second gains nothing by it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace net {

struct ServerLimits {
  int header_bytes_max = 16 * 1024;
  int header_fields_max = 64;
  int target_bytes_max = 4096;
  int64_t body_bytes_max = 8ll << 20;
  int64_t large_body_bytes_max = 64ll << 20;   // of a request that LargeBody vouches for
  int64_t body_bytes_total_max = 256ll << 20;  // unfinished bodies of all connections together
  int header_deadline_ms = 5'000;        // from the first byte (or accept) to the end of the header
  int body_rate_bytes_per_s_min = 4096;  // after a grace of body_grace_ms
  int body_grace_ms = 2'000;
  int idle_keep_alive_ms = 60'000;
  int write_deadline_ms = 10'000;  // a client that takes nothing for so long is dropped
  // Unsent bytes of one stream: a client that has more of them waiting when the next bytes come is
  // dropped. One write may be larger, where nothing waits: a whole picture.
  int stream_buffer_bytes_max = 256 * 1024;
  int connections_max = 4096;
  int connections_per_prefix_max = 1024;  // IPv4 /24, IPv6 /64; loopback counts too
};

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Request {
  std::string method;  // upper case
  std::string path;    // percent-decoded, normalised, starts with '/', no ".."
  std::string query;   // raw, without '?'
  Headers headers;     // names in lower case
  std::string body;
  std::string peer;  // numeric address
  // The first value, or empty.
  std::string_view header(std::string_view lower_case_name) const;
  std::string_view query_value(std::string_view key, std::string& storage) const;  // decoded
};

struct Response {
  int status = 200;
  Headers headers;  // content-length and date are added
  std::string body;
  // Sent instead of `body` when not empty, and never copied: for files that many clients fetch. The
  // bytes outlive the server.
  std::string_view static_body;
};

// One request being answered. Exactly one of respond() or begin_stream() is called; if neither is
// called before the last reference goes, the client gets a 500.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual const Request& request() const = 0;
  virtual void respond(Response response) = 0;

  // Chunked streaming. write() returns false once the client is gone or was dropped; after that
  // nothing more is sent. It never blocks: where more than stream_buffer_bytes_max wait already,
  // the client is dropped.
  virtual void begin_stream(int status, Headers headers) = 0;
  virtual bool write(std::string_view bytes) = 0;
  virtual void end_stream() = 0;

  // Called once, on the loop thread, when the client goes away before the answer is complete (or
  // the server stops). Dropped without a call once the answer is complete.
  virtual void on_disconnect(std::function<void()> callback) = 0;
};

using Handler = std::function<void(std::shared_ptr<Exchange>)>;

// The answer to a request that no handler ever sees, since it breaks a rule or a limit: 400, 408,
// 413, 431, 501, 503, 505. `reason` is a sentence. Called on the loop thread; the connection closes
// behind the answer.
using FaultForm = std::function<Response(int status, std::string_view reason)>;

// True: the body of this request may have large_body_bytes_max bytes. Asked on the loop thread when
// the head is there and says that the body is larger than body_bytes_max (or is chunked); `head`
// has no body yet. Without one nobody's may.
using LargeBody = std::function<bool(const Request& head)>;

struct ServerStats {  // all but `open` only grow
  int64_t accepted = 0, refused_full = 0, timed_out = 0, malformed = 0, requests = 0;
  int64_t evicted = 0;     // given up for a newcomer: slow headers first, then the longest idle
  int64_t overflowed = 0;  // streams dropped because the client did not read
  int open = 0;
};

class Server {
 public:
  virtual ~Server() = default;
  // Serves until stop(); runs the event loop on the calling thread.
  virtual void run() = 0;
  virtual void stop() = 0;  // any thread; open streams are ended, then run() returns
  virtual void post(std::function<void()> callback) = 0;  // any thread: run it on the loop thread
  virtual void after_ms(int64_t delay_ms, std::function<void()> callback) = 0;  // loop thread
  virtual ServerStats stats() const = 0;
};

// `listener` is a listening socket that the server adopts (the supervisor opened it). Without a
// `fault_form` faults are answered as plain text.
base::Result<std::unique_ptr<Server>> make_server(int listener, ServerLimits limits,
                                                  Handler handler, FaultForm fault_form = {},
                                                  LargeBody large_body = {});
// What open_listener() refuses without trying: an address that is not numeric or not loopback, a
// port that does not exist.
base::Result<void> check_listen(const std::string& host, int port);
// Binds and listens. Anything but loopback is refused with the reason until accounts and TLS exist.
// Port 0 takes a free one; listener_port() tells which.
base::Result<int> open_listener(const std::string& host, int port);
base::Result<int> listener_port(int listener);

}  // namespace net
