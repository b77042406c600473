#include "app/local_http.h"

#include <arpa/inet.h>
#include <cstdlib>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

namespace app {
namespace {

constexpr uint64_t answer_bytes_max = 1 << 20;
constexpr int timeout_s = 5;
constexpr uint64_t key_file_bytes_max = 4096;

base::Result<int> connect_to(const std::string& listen) {
  const size_t colon = listen.rfind(':');
  const auto unreachable = [&](std::string why) {
    return base::fail(base::ErrorKind::unavailable, "no server answers at " + listen,
                      std::move(why), "start it with `nautile serve`");
  };
  sockaddr_in address{};
  address.sin_family = AF_INET;
  std::string host = colon == std::string::npos ? "" : listen.substr(0, colon);
  if (host == "localhost") host = "127.0.0.1";
  if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1 ||
      (ntohl(address.sin_addr.s_addr) >> 24) != 127) {
    return unreachable("the address is not one of this machine's loopback addresses");
  }
  address.sin_port = htons(static_cast<uint16_t>(std::atoi(listen.c_str() + colon + 1)));
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return unreachable("no socket could be opened");
  const timeval timeout{timeout_s, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    close(fd);
    return unreachable("the connection was refused");
  }
  return fd;
}

}  // namespace

base::Result<base::Json> get_from_server(const Places& places, const std::string& listen,
                                         const std::string& path) {
  ASSIGN(const int fd, connect_to(listen));  // first: without a server there may be no key yet
  auto read = read_file(places.data + "/api-key", key_file_bytes_max);
  if (!read) {
    close(fd);
    return base::fail(read.error());
  }
  std::string key = std::move(*read);
  while (!key.empty() && (key.back() == '\n' || key.back() == ' ')) key.pop_back();
  const std::string request = "GET " + path + " HTTP/1.1\r\nHost: " + listen +
                              "\r\nAuthorization: Bearer " + key +
                              "\r\nAccept: application/json\r\nConnection: close\r\n\r\n";
  std::string answer;
  bool sent = send(fd, request.data(), request.size(), MSG_NOSIGNAL) ==
              static_cast<ssize_t>(request.size());
  char buffer[16 * 1024];
  ssize_t got = 0;
  while (sent && answer.size() < answer_bytes_max &&
         (got = recv(fd, buffer, sizeof buffer, 0)) > 0) {
    answer.append(buffer, static_cast<size_t>(got));
  }
  close(fd);
  const size_t body = answer.find("\r\n\r\n");
  if (!sent || body == std::string::npos || !answer.starts_with("HTTP/1.1 200")) {
    return base::fail(base::ErrorKind::unavailable,
                      "the server at " + listen + " did not answer as expected",
                      answer.substr(0, answer.find('\r')).substr(0, 64),
                      "check that it runs for the same user with `nautile doctor`");
  }
  return base::parse_json(std::string_view(answer).substr(body + 4), "the server's answer");
}

}  // namespace app
