#include "net/address.h"

#include <arpa/inet.h>
#include <cstring>
#include <netinet/in.h>

namespace net {
namespace {

PeerAddress from_v4(const unsigned char* bytes) {
  char text[INET_ADDRSTRLEN] = "";
  ::inet_ntop(AF_INET, bytes, text, sizeof(text));
  // The top 16 bits keep IPv4 prefixes apart from IPv6 ones: no /64 of a peer begins with zeros.
  return {text, uint64_t{bytes[0]} << 16 | uint64_t{bytes[1]} << 8 | bytes[2]};
}

}  // namespace

PeerAddress peer_address(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, &address, sizeof(v4));
    return from_v4(reinterpret_cast<const unsigned char*>(&v4.sin_addr));
  }
  if (address.ss_family != AF_INET6) return {"local", UINT64_MAX};
  sockaddr_in6 v6;
  std::memcpy(&v6, &address, sizeof(v6));
  const unsigned char* bytes = v6.sin6_addr.s6_addr;
  if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) return from_v4(bytes + 12);
  char text[INET6_ADDRSTRLEN] = "";
  ::inet_ntop(AF_INET6, bytes, text, sizeof(text));
  uint64_t prefix = uint64_t{1} << 40;  // ::1 and its /64 must not look like 0.0.0.0/24
  uint64_t high = 0;
  for (int i = 0; i < 8; ++i) high = high << 8 | bytes[i];
  return {text, high == 0 ? prefix : high};
}

}  // namespace net
