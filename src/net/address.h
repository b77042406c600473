// A peer's numeric address and the prefix that limits are counted by.
#pragma once

#include <cstdint>
#include <string>
#include <sys/socket.h>

namespace net {

struct PeerAddress {
  std::string text;     // "127.0.0.1", "2001:db8::1"; "local" for what has no address
  uint64_t prefix = 0;  // IPv4 /24 or IPv6 /64; equal prefixes share their limits
};
// IPv4 inside IPv6 (::ffff:a.b.c.d) counts as the IPv4 address.
PeerAddress peer_address(const sockaddr_storage& address);

}  // namespace net
