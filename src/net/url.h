// Addresses that our own client may ask: http or https, a host, a port, a target. Nothing else is a
// Url: no user info, no fragment, no byte that would need a second reading.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace net {

inline constexpr size_t url_bytes_max = 16 * 1024;  // signed addresses of file stores reach 4 KiB

struct Url {
  bool tls = false;
  std::string host;    // lower case; an IPv6 address without its brackets
  int port = 80;       // 1 to 65535
  std::string target;  // "/path?query", starts with '/'

  std::string authority() const;  // as the Host field has it: the usual port is left out
  std::string origin() const;     // "https://host" or "http://host:8080"
  std::string text() const { return origin() + target; }
  bool same_origin(const Url& other) const {
    return tls == other.tls && host == other.host && port == other.port;
  }
  // "localhost", 127.0.0.0/8 or ::1: what is said to it does not leave the machine.
  bool is_loopback() const;
};

std::optional<Url> parse_url(std::string_view text);
// What a Location or Link field means that came with the answer of `base`. Nothing: no such Url.
std::optional<Url> resolve_url(const Url& base, std::string_view reference);
// A path for a target: every byte but unreserved ones and '/' becomes %XX.
std::string percent_encoded(std::string_view path);

}  // namespace net
