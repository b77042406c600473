// Feeds bytes as a connection would: the head found piecewise, parsed, then the body decoded in two
// cuts. Reads every accepted byte, and checks that cutting changes nothing.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "net/http_parser.h"

namespace {

struct Outcome {
  bool accepted = false;
  std::string text;
  bool operator==(const Outcome&) const = default;
};

Outcome drive(std::string_view bytes, size_t step) {
  net::ServerLimits limits;
  limits.header_bytes_max = 2048;
  limits.target_bytes_max = 256;
  limits.header_fields_max = 8;
  limits.body_bytes_max = 4096;
  std::string buffer;
  net::HeadScan scan;
  size_t fed = 0, head_size = 0;
  while (head_size == 0) {
    if (fed == bytes.size()) return {};
    const size_t take = std::min(step, bytes.size() - fed);
    buffer.append(bytes.substr(fed, take));
    fed += take;
    auto found = scan.scan(buffer, limits);
    if (!found) return {};
    if (*found) head_size = **found;
  }
  auto head = net::parse_head(std::string_view(buffer).substr(0, head_size), limits);
  if (!head) return {};
  if (head->request.path.empty() || head->request.path[0] != '/') std::abort();
  if (head->request.path.find("/../") != std::string::npos) std::abort();
  auto decoder = head->chunked ? net::BodyDecoder::chunked(limits.body_bytes_max)
                               : net::BodyDecoder::counted(head->content_length);
  Outcome outcome;
  std::string body;
  std::string_view rest = bytes.substr(head_size);
  while (!decoder.done() && !rest.empty()) {
    auto used = decoder.feed(rest.substr(0, step), body);
    if (!used) return {};
    rest.remove_prefix(*used);
  }
  if (!decoder.done()) return {};
  if (body.size() > static_cast<size_t>(limits.body_bytes_max)) std::abort();
  outcome.accepted = true;
  outcome.text = head->request.method + head->request.path + head->request.query + body;
  for (const auto& [name, value] : head->request.headers) outcome.text += name + value;
  std::string storage;
  outcome.text += head->request.query_value("a", storage);
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (!(drive(bytes, 1) == drive(bytes, 4096))) std::abort();
  return 0;
}
