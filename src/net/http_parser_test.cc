#include "net/http_parser.h"

#include <gtest/gtest.h>

namespace net {
namespace {

// Status 0: accepted. Feeds the head in pieces of `step` bytes, then the body.
struct Read {
  int status = 0;
  bool whole = false;
  RequestHead head;
  std::string body, rest;
};
Read read(std::string_view bytes, size_t step = 1, const ServerLimits& limits = {}) {
  Read out;
  HeadScan scan;
  std::string buffer;
  size_t size = 0;
  for (size_t at = 0; at < bytes.size() && size == 0; at += step) {
    buffer.append(bytes.substr(at, step));
    auto found = scan.scan(buffer, limits);
    if (!found) return out.status = found.error().status, out;
    if (*found) size = **found;
  }
  if (size == 0) return out;
  auto head = parse_head(std::string_view(buffer).substr(0, size), limits);
  if (!head) return out.status = head.error().status, out;
  out.head = std::move(*head);
  auto decoder = out.head.chunked ? BodyDecoder::chunked(limits.body_bytes_max)
                                  : BodyDecoder::counted(out.head.content_length);
  std::string_view rest = bytes.substr(size);
  while (!decoder.done() && !rest.empty()) {
    auto used = decoder.feed(rest.substr(0, step), out.body);
    if (!used) return out.status = used.error().status, out;
    rest.remove_prefix(*used);
  }
  out.whole = decoder.done();
  out.rest = rest;
  return out;
}
Read read_line(const std::string& line) { return read(line + "\r\nHost: a\r\n\r\n"); }
Read read_field(const std::string& field) {
  return read("POST / HTTP/1.1\r\nHost: a\r\n" + field + "\r\n\r\n");
}
Read read_chunks(const std::string& chunks) {
  return read("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks);
}

TEST(HttpParser, ReadsAnOrdinaryRequest) {
  for (size_t step : {1u, 2u, 7u, 4096u}) {
    const auto got = read(
        "POST /v1/chat%20x?a=1&b=%41+c HTTP/1.1\r\nHost: localhost:8080\r\nX-One:  two \r\n"
        "Content-Length: 5\r\n\r\nhelloGET",
        step);
    ASSERT_TRUE(got.whole) << got.status;
    EXPECT_EQ(got.head.request.method, "POST");
    EXPECT_EQ(got.head.request.path, "/v1/chat x");
    EXPECT_EQ(got.head.request.header("x-one"), "two");
    std::string storage;
    EXPECT_EQ(got.head.request.query_value("b", storage), "A c");
    EXPECT_EQ(got.head.request.query_value("none", storage), "");
    EXPECT_EQ(got.body, "hello");
    EXPECT_EQ(got.rest, "GET");
    EXPECT_TRUE(got.head.keep_alive);
  }
}

TEST(HttpParser, KnowsWhenAConnectionStays) {
  EXPECT_FALSE(read("GET / HTTP/1.0\r\n\r\n").head.keep_alive);
  EXPECT_TRUE(read("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").head.keep_alive);
  EXPECT_FALSE(read_field("Connection: upgrade, close").head.keep_alive);
  EXPECT_TRUE(read_field("Expect: 100-Continue").head.expects_continue);
  EXPECT_EQ(read_field("Expect: 200-ok").status, 417);
}

TEST(HttpParser, RefusesRequestLinesWithTwoReadings) {
  for (const char* line :
       {"GET  / HTTP/1.1", "GET /\tHTTP/1.1", "GET / HTTP/1.1 ", " GET / HTTP/1.1",
        "get / HTTP/1.1", "GET / http/1.1", "GET /", "GET / HTTP/1", "GET / HTTP/1.10",
        "GET / HTTP/x.1", "GET x HTTP/1.1", "GET /a#b HTTP/1.1", "GET /a b HTTP/1.1",
        "G\x01T / HTTP/1.1", "GET /\x80 HTTP/1.1", "GET ftp://a/ HTTP/1.1", "OPTIONS * HTTP/1.1",
        "AVERYLONGMETHODNAMEINDEED / HTTP/1.1"}) {
    EXPECT_EQ(read_line(line).status, 400) << line;
  }
  EXPECT_EQ(read_line("GET / HTTP/1.2").status, 505);
  EXPECT_EQ(read_line("PRI / HTTP/2.0").status, 505);
  EXPECT_EQ(read_line("CONNECT a:80 HTTP/1.1").status, 405);
  EXPECT_EQ(read("\x16\x03\x01\x02").status, 400);  // a TLS hello on the plain port
  EXPECT_EQ(read("\r\n\r\n").status, 400);
}

TEST(HttpParser, RefusesPathsWithTwoReadings) {
  for (const char* path : {"/a/../b", "/..", "/a/%2e%2E/b", "/a%2Fb", "/a%2fb", "/a\\b", "/a%5cb",
                           "/%00", "/%", "/%4", "/%zz", "/%0a", "/%ff", "/%7f"}) {
    EXPECT_EQ(read_line(std::string("GET ") + path + " HTTP/1.1").status, 400) << path;
  }
  EXPECT_EQ(read_line("GET /a//b/./c/. HTTP/1.1").head.request.path, "/a/b/c/");
  EXPECT_EQ(read_line("GET /%C3%A9 HTTP/1.1").head.request.path, "/é");
  EXPECT_EQ(read_line("GET /... HTTP/1.1").head.request.path, "/...");
}

TEST(HttpParser, AnAbsoluteTargetNamesTheSameHost) {
  const auto same = read("GET http://LocalHost:8080/x?y HTTP/1.1\r\nHost: localhost:8080\r\n\r\n");
  EXPECT_TRUE(same.whole);
  EXPECT_EQ(same.head.request.path, "/x");
  EXPECT_EQ(same.head.request.query, "y");
  EXPECT_EQ(read("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n").status, 400);
  EXPECT_EQ(read("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n").status, 400);
  EXPECT_EQ(read("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n").status, 400);
  EXPECT_EQ(read("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n").head.request.path, "/");
}

TEST(HttpParser, RefusesHeadersWithTwoReadings) {
  for (const char* field : {"X : y",
                            " X: y",
                            "X y: z",
                            "X:\r\n folded",
                            ": y",
                            "X",
                            "X\x01: y",
                            "X: a\x01",
                            "X: \x7f",
                            "Host: a",
                            "Host: b",
                            "Content-Length: 1\r\nContent-Length: 1",
                            "Content-Length: +1",
                            "Content-Length: 1, 1",
                            "Content-Length: 0x1",
                            "Content-Length: 01",
                            "Content-Length:",
                            "Content-Length: -1",
                            "Content-Length: 1 ,",
                            "Content-Length: 99999999999999999999",
                            "Content-Length: 1\r\nTransfer-Encoding: chunked",
                            "Transfer-Encoding: identity",
                            "Transfer-Encoding: chunked, identity",
                            "Transfer-Encoding: gzip, chunked",
                            "Transfer-Encoding: xchunked",
                            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                            "Transfer-Encoding: \"chunked\"",
                            "Transfer-Encoding:",
                            "Authorization: a\r\nauthorization: b",
                            "Cookie: a=b\r\nCookie: a=c",
                            "X: a\nY: b",
                            "X: a\rY: b",
                            "X: a\r\r\nY: b"}) {
    EXPECT_EQ(read_field(field).status, 400) << field;
  }
  EXPECT_EQ(read(std::string_view("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 33)).status, 400);
  EXPECT_EQ(read("GET / HTTP/1.1\r\n\r\n").status, 400);
  EXPECT_EQ(read("GET / HTTP/1.1\nHost: a\n\n").status, 400);
  EXPECT_EQ(read("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").status, 400);
  for (const char* host :
       {"", "a b", "a,b", "a/b", "a:b", "a:", "a:1234567", "u@a", "[::1", "[]", "[::1]x", "é"}) {
    EXPECT_EQ(read("GET / HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n").status, 400)
        << host;
  }
  EXPECT_TRUE(read("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n").whole);
  EXPECT_TRUE(read_field("Transfer-Encoding: Chunked").head.chunked);
}

TEST(HttpParser, LimitsAreKept) {
  ServerLimits limits;
  limits.header_bytes_max = 300;
  limits.target_bytes_max = 100;
  limits.header_fields_max = 3;
  limits.body_bytes_max = 10;
  const auto get = [&](std::string target, std::string fields) {
    return read("GET /" + target + " HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n", 4096, limits)
        .status;
  };
  EXPECT_EQ(get(std::string(99, 'a'), ""), 0);
  EXPECT_EQ(get(std::string(100, 'a'), ""), 414);
  EXPECT_EQ(get(std::string(4000, 'a'), ""), 414);
  EXPECT_EQ(read("GET /" + std::string(200, 'a'), 1, limits).status, 414);  // without its end
  EXPECT_EQ(get("", "A: b\r\nC: d\r\n"), 0);
  EXPECT_EQ(get("", "A: b\r\nC: d\r\nE: f\r\n"), 431);
  EXPECT_EQ(get("", "A: " + std::string(400, 'b') + "\r\n"), 431);
  EXPECT_EQ(read("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", 1, limits).status,
            413);
  const std::string chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(read(chunked + "5\r\nhello\r\n6\r\n", 1, limits).status, 413);
  EXPECT_TRUE(read(chunked + "5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n", 1, limits).whole);
}

TEST(HttpParser, ReadsChunksStrictly) {
  const auto got = read_chunks("5;a=\"b\"\r\nhello\r\nA\r\n0123456789\r\n0\r\nX-T: y\r\n\r\nrest");
  ASSERT_TRUE(got.whole);
  EXPECT_EQ(got.body, "hello0123456789");
  EXPECT_EQ(got.rest, "rest");
  EXPECT_EQ(got.head.request.header("x-t"), "");  // trailers never become headers
  for (const char* chunks : {"\r\n",
                             "x\r\n",
                             "-1\r\n",
                             "+1\r\n",
                             "0x1\r\n",
                             " 1\r\n",
                             "1 \r\na\r\n",
                             "1\na\r\n0\r\n\r\n",
                             "1\r\nab\r\n",
                             "1\r\na\n",
                             "1\r\na\rX",
                             "1;\x01\r\n",
                             "1;a\nb\r\n",
                             "123456789\r\n",
                             "fffffffffffffffff\r\n",
                             "0\r\n bad: x\r\n\r\n",
                             "0\r\nX y\r\n\r\n",
                             "0\r\n\n",
                             "0\n\n",
                             "0\r\nX: a\nY: b\r\n\r\n"}) {
    const int status = read_chunks(chunks).status;
    EXPECT_EQ(status, 400) << chunks;
  }
  EXPECT_EQ(read_chunks("ffffffff\r\n").status, 413);
  EXPECT_EQ(read_chunks("1;" + std::string(5000, 'x')).status, 400);
  EXPECT_EQ(read_chunks("0\r\nX: " + std::string(5000, 'x')).status, 431);
}

TEST(HttpParser, DecodesQueries) {
  Request request;
  request.query = "a=1&&b&c=x=y&a=2&%64=%e2%82%ac&e=%zz%";
  std::string storage;
  EXPECT_EQ(request.query_value("a", storage), "1");
  EXPECT_EQ(request.query_value("b", storage), "");
  EXPECT_EQ(request.query_value("c", storage), "x=y");
  EXPECT_EQ(request.query_value("d", storage), "€");
  EXPECT_EQ(request.query_value("e", storage), "%zz%");
}

}  // namespace
}  // namespace net
