// open_listener(): the one place where a listening socket is made, by the supervisor.
#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/server.h"

namespace net {
namespace {

// A flood of connections waits in the kernel, which is cheaper than refusing each.
constexpr int listen_backlog = 1024;

struct Target {
  sockaddr_storage address{};
  socklen_t size = 0;
  int family = AF_INET;
};

base::Result<Target> loopback_target(const std::string& host, int port) {
  Target target;
  std::string name = host == "localhost" ? "127.0.0.1" : host;
  if (name.size() > 2 && name.front() == '[' && name.back() == ']') {
    name = name.substr(1, name.size() - 2);
  }
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  bool loopback = false;
  if (::inet_pton(AF_INET, name.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(static_cast<uint16_t>(port));
    loopback = (ntohl(v4.sin_addr.s_addr) >> 24) == 127;
    std::memcpy(&target.address, &v4, sizeof(v4));
    target.size = sizeof(v4);
  } else if (::inet_pton(AF_INET6, name.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(static_cast<uint16_t>(port));
    loopback = IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
    std::memcpy(&target.address, &v6, sizeof(v6));
    target.size = sizeof(v6);
    target.family = AF_INET6;
  } else {
    return base::fail(base::ErrorKind::wrong_usage, "cannot listen on " + base::shown_name(host),
                      "it is not a numeric address", "use 127.0.0.1 or ::1");
  }
  if (!loopback) {
    return base::fail(base::ErrorKind::unsupported, "refusing to listen on " + name,
                      "other machines could reach it, and accounts and TLS, which would protect "
                      "the people on it, are not built yet",
                      "use 127.0.0.1, or an SSH tunnel to it from the other machine");
  }
  return target;
}

}  // namespace

base::Result<void> check_listen(const std::string& host, int port) {
  if (port < 0 || port > 65535) {
    return base::fail(base::ErrorKind::wrong_usage, fmt::format("port {} does not exist", port),
                      "ports go from 0 to 65535", "0 takes a free one");
  }
  TRY(loopback_target(host, port));
  return {};
}

base::Result<int> open_listener(const std::string& host, int port) {
  TRY(check_listen(host, port));
  ASSIGN(const Target target, loopback_target(host, port));
  const int fd = ::socket(target.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const auto give_up = [&](const char* step) {
    const int reason = errno;
    if (fd >= 0) ::close(fd);
    const std::string where = fmt::format("{}:{}", host, port);
    if (reason == EADDRINUSE) {
      return base::fail(base::ErrorKind::unavailable, "cannot listen on " + where,
                        "another program has that port",
                        "stop it, or choose another with --listen");
    }
    return base::fail(base::ErrorKind::io, "cannot listen on " + where,
                      fmt::format("{}: {}", step, std::strerror(reason)),
                      "choose another address or port with --listen");
  };
  if (fd < 0) return give_up("socket");
  const int one = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&target.address), target.size) != 0) {
    return give_up("bind");
  }
  if (::listen(fd, listen_backlog) != 0) return give_up("listen");
  return fd;
}

base::Result<int> listener_port(int listener) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return base::fail(base::ErrorKind::io, "the listening socket has no address",
                      std::strerror(errno));
  }
  sockaddr_in v4;
  std::memcpy(&v4, &address, sizeof(v4));  // sin_port and sin6_port lie at the same place
  return ntohs(v4.sin_port);
}

}  // namespace net
