// What the client takes for an answer, and every form that could be read in two ways.
#include "net/answer_parser.h"

#include <gtest/gtest.h>

namespace net {
namespace {

struct Read {
  std::string fault;
  bool whole = false;
  AnswerHead head;
  size_t size = 0;
};
Read read(std::string_view bytes, size_t step = 1, bool asked_head = false) {
  ClientLimits limits;
  limits.header_bytes_max = 512;
  limits.header_fields_max = 4;
  Read out;
  std::string buffer;
  size_t checked = 0;
  for (size_t at = 0; at < bytes.size(); at += step) {
    buffer.append(bytes.substr(at, step));
    const auto found = find_answer_head(buffer, checked, limits);
    if (!found) return out.fault = found.error(), out;
    if (!*found) continue;
    out.size = **found;
    auto head = parse_answer_head(std::string_view(buffer).substr(0, out.size), asked_head, limits);
    if (!head) return out.fault = head.error(), out;
    out.head = *head;
    out.whole = true;
    return out;
  }
  return out;
}
using Body = AnswerHead::Body;

TEST(AnswerParser, ReadsAnOrdinaryAnswer) {
  for (const size_t step : {1u, 3u, 4096u}) {
    const auto got = read(
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/9\r\nETag:  \"x\" \r\n"
        "Content-Length: 5\r\n\r\nhello",
        step);
    ASSERT_TRUE(got.whole) << got.fault;
    EXPECT_EQ(got.head.status, 206);
    EXPECT_EQ(got.head.body, Body::counted);
    EXPECT_EQ(got.head.content_length, 5);
    EXPECT_TRUE(got.head.keep_alive);
    EXPECT_EQ(got.head.headers[1], (std::pair<std::string, std::string>("etag", "\"x\"")));
  }
}

TEST(AnswerParser, FramesBodies) {
  EXPECT_EQ(read("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n").head.body, Body::chunked);
  const auto open_end = read("HTTP/1.0 200\r\n\r\n");
  EXPECT_EQ(open_end.head.body, Body::until_close);
  EXPECT_FALSE(open_end.head.keep_alive);
  EXPECT_EQ(read("HTTP/1.1 204 x\r\nContent-Length: 9\r\n\r\n").head.body, Body::none);
  const auto head = read("HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\n", 1, true);
  EXPECT_EQ(head.head.body, Body::none);
  EXPECT_TRUE(head.head.keep_alive);
  EXPECT_FALSE(
      read("HTTP/1.1 200 x\r\nContent-Length: 9\r\nConnection: Close\r\n\r\n").head.keep_alive);
}

TEST(AnswerParser, RefusesEverythingElse) {
  for (const char* text :
       {"HTTP/2 200 OK\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000\r\n\r\n",
        "HTTP/1.1  200\r\n\r\n", "HTTP/1.1 099 x\r\n\r\n", "http/1.1 200 OK\r\n\r\n", "<html>",
        "HTTP/1.1 200 OK\n\n", "HTTP/1.1 200 OK\r\nA: b\r\n c: d\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "HTTP/1.1 200 OK\r\nA: \x01\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\ne: 5\r\n\r\n"}) {
    EXPECT_FALSE(read(text).fault.empty()) << text;
  }
  EXPECT_FALSE(read("HTTP/1.1 200 OK\r\na: " + std::string(600, 'x')).fault.empty());
  EXPECT_FALSE(read(std::string_view("HTTP/1.1 200 OK\r\na: \0\r\n\r\n", 24)).fault.empty());
}

}  // namespace
}  // namespace net
