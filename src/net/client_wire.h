// One connection of the client: TCP, or TLS over it, perhaps through a proxy's tunnel. Every call
// returns within its time, and soon after `cancelled` says yes. Asio stays behind this header.
//
// Threads: one at a time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "net/proxy.h"
#include "net/url.h"

namespace net {

class Wire {
 public:
  virtual ~Wire() = default;  // closes
  virtual base::Result<void> write(std::string_view bytes, int timeout_ms) = 0;
  // Appends what has come to `in`; false: the server ended the connection properly.
  virtual base::Result<bool> read(std::string& in, int timeout_ms) = 0;
};

// What TLS needs to know of this machine; made once, when the first https address is asked.
class WireMaker {
 public:
  virtual ~WireMaker() = default;
  // Connected, the tunnel made, the certificate checked for url.host: all within `timeout_ms`.
  virtual base::Result<std::unique_ptr<Wire>> connect(const Url& url, const Proxy* proxy,
                                                      int timeout_ms) = 0;
};
std::unique_ptr<WireMaker> make_wire_maker(std::function<bool()> cancelled);

}  // namespace net
