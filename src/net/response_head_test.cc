#include "net/response_head.h"

#include <cstring>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include "net/address.h"

namespace net {
namespace {

TEST(ResponseHead, WritesDatesAsRfc9110Does) {
  EXPECT_EQ(http_date(784111777), "Sun, 06 Nov 1994 08:49:37 GMT");
}

TEST(ResponseHead, NoHeaderCanSplitAResponse) {
  const std::string head = response_head(200,
                                         {{"X-A", "b\r\nSet-Cookie: c"},
                                          {"X\r\nY", "z"},
                                          {"", "z"},
                                          {"Content-Length", "99"},
                                          {"Transfer-Encoding", "chunked"},
                                          {"date", "never"},
                                          {"Connection", "keep-alive"}},
                                         {.keep_alive = false, .content_length = 3}, 784111777);
  EXPECT_EQ(head,
            "HTTP/1.1 200 OK\r\nX-A: b  Set-Cookie: c\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
            "content-length: 3\r\nconnection: close\r\n\r\n");
}

TEST(ResponseHead, FormsFollowStatusAndVersion) {
  EXPECT_EQ(response_head(204, {}, {.content_length = 0}, 0).find("content-length"),
            std::string::npos);
  EXPECT_NE(response_head(200, {}, {.version_minor = 0}, 0).find("connection: keep-alive"),
            std::string::npos);
  EXPECT_NE(response_head(200, {}, {.chunked = true}, 0).find("transfer-encoding: chunked"),
            std::string::npos);
  EXPECT_TRUE(asks_to_close({{"Connection", "Close"}}));
}

PeerAddress v6(std::initializer_list<int> bytes) {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  int i = 0;
  for (int byte : bytes) address.sin6_addr.s6_addr[i++] = static_cast<uint8_t>(byte);
  sockaddr_storage storage{};
  std::memcpy(&storage, &address, sizeof(address));
  return peer_address(storage);
}

TEST(Address, PrefixesAreSlash24AndSlash64) {
  const auto a = v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 1, 2, 3});
  const auto b = v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 1, 2, 200});
  const auto c = v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 1, 3, 3});
  EXPECT_EQ(a.text, "10.1.2.3");
  EXPECT_EQ(a.prefix, b.prefix);
  EXPECT_NE(a.prefix, c.prefix);
  const auto d = v6({32, 1, 13, 184, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9});
  const auto e = v6({32, 1, 13, 184, 0, 0, 0, 1, 8, 8, 8, 8, 8, 8, 8, 8});
  const auto f = v6({32, 1, 13, 184, 0, 0, 0, 2, 9, 9, 9, 9, 9, 9, 9, 9});
  EXPECT_EQ(d.text, "2001:db8:0:1:909:909:909:909");
  EXPECT_EQ(d.prefix, e.prefix);
  EXPECT_NE(d.prefix, f.prefix);
}

}  // namespace
}  // namespace net
