// Feeds bytes as a server would: the head found piecewise, parsed, then a chunked body decoded.
// Reads every accepted byte, and checks that cutting changes nothing.
#include <cstdint>
#include <cstdlib>

#include "net/answer_parser.h"
#include "net/http_parser.h"
#include "net/proxy.h"

namespace {

std::string drive(std::string_view bytes, size_t step) {
  net::ClientLimits limits;
  limits.header_bytes_max = 2048;
  limits.header_fields_max = 8;
  std::string buffer;
  size_t checked = 0, fed = 0, size = 0;
  while (size == 0) {
    if (fed == bytes.size()) return "short";
    const size_t take = std::min(step, bytes.size() - fed);
    buffer.append(bytes.substr(fed, take));
    fed += take;
    const auto found = net::find_answer_head(buffer, checked, limits);
    if (!found) return "refused";
    if (*found) size = **found;
  }
  const auto head = net::parse_answer_head(std::string_view(buffer).substr(0, size), false, limits);
  if (!head) return "refused";
  if (head->status < 100 || head->status > 999 || head->content_length < 0) std::abort();
  std::string outcome = std::to_string(head->status);
  for (const auto& [name, value] : head->headers) {
    if (name == "location") {
      const auto next = net::resolve_url(*net::parse_url("https://a.example/b/c?d"), value);
      if (next && (next->host.empty() || next->port < 1 || next->target[0] != '/')) std::abort();
      if (next && !net::parse_url(next->text())) std::abort();
    }
    outcome += name + value;
  }
  if (head->body != net::AnswerHead::Body::chunked) return outcome;
  auto decoder = net::BodyDecoder::chunked(4096);
  std::string body;
  std::string_view rest = bytes.substr(size);
  while (!decoder.done() && !rest.empty()) {
    const auto used = decoder.feed(rest.substr(0, step), body);
    if (!used) return outcome + "refused";
    rest.remove_prefix(*used);
  }
  return outcome + body;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::string whole = drive(bytes, 4096);
  const std::string pieces = drive(bytes, 1);
  // A head that is refused late may have been refused for another reason early; bodies likewise.
  if (whole != pieces && whole.find("refused") == std::string::npos) std::abort();
  return 0;
}
