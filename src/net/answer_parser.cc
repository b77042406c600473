#include "net/answer_parser.h"

#include "net/http_text.h"

namespace net {
namespace {

tl::unexpected<const char*> fault(const char* reason) {
  return tl::unexpected<const char*>(reason);
}

// "HTTP/1.1 206 Partial Content"
const char* parse_status_line(std::string_view line, AnswerHead& head) {
  if (!line.starts_with("HTTP/1.") || line.size() < 12) return "it does not begin like HTTP/1.1";
  const char minor = line[7];
  if (minor != '0' && minor != '1') return "its HTTP version is unknown";
  head.version_minor = minor - '0';
  if (line[8] != ' ' || (line.size() > 12 && line[12] != ' ')) return "its status line is broken";
  for (const char c : line.substr(9, 3)) {
    if (!is_digit(static_cast<unsigned char>(c))) return "its status is no number";
    head.status = head.status * 10 + (c - '0');
  }
  if (head.status < 100) return "its status is out of range";
  for (const unsigned char c : line.substr(12)) {
    if (!is_value_char(c)) return "its status line holds a control byte";
  }
  return nullptr;
}

const char* parse_field(std::string_view text, Headers& headers) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0) return "a header line has no name";
  const std::string_view name = text.substr(0, colon);
  if (!std::all_of(name.begin(), name.end(), [](unsigned char c) { return is_token_char(c); })) {
    return "a header name holds a byte that may not stand there";
  }
  const std::string_view value = trimmed(text.substr(colon + 1));
  if (!std::all_of(value.begin(), value.end(), [](unsigned char c) { return is_value_char(c); })) {
    return "a header value holds a control byte";
  }
  headers.emplace_back(lower_case(name), std::string(value));
  return nullptr;
}

const char* frame_body(AnswerHead& head) {
  const std::string* length = nullptr;
  const std::string* encoding = nullptr;
  for (const auto& [name, value] : head.headers) {
    if (name == "content-length") {
      if (length != nullptr && *length != value) return "it has two different lengths";
      length = &value;
    }
    if (name == "transfer-encoding") {
      if (encoding != nullptr) return "it names its transfer encoding twice";
      encoding = &value;
    }
  }
  if (length != nullptr && encoding != nullptr) return "it has a length and a transfer encoding";
  if (encoding != nullptr) {
    if (head.version_minor == 0 || !equal_ignoring_case(*encoding, "chunked")) {
      return "its transfer encoding is not chunked";
    }
    head.body = AnswerHead::Body::chunked;
  } else if (length != nullptr) {
    const auto value = plain_number(*length);
    if (!value) return "its length is no plain number";
    head.content_length = *value;
    head.body = AnswerHead::Body::counted;
  } else {
    head.body = AnswerHead::Body::until_close;
  }
  return nullptr;
}

}  // namespace

tl::expected<std::optional<size_t>, const char*> find_answer_head(std::string_view buffer,
                                                                  size_t& checked,
                                                                  const ClientLimits& limits) {
  const size_t bytes_max = static_cast<size_t>(limits.header_bytes_max);
  for (; checked < std::min(buffer.size(), bytes_max); ++checked) {
    const unsigned char c = static_cast<unsigned char>(buffer[checked]);
    const unsigned char before = checked == 0 ? 0 : static_cast<unsigned char>(buffer[checked - 1]);
    if (checked < 5 && c != static_cast<unsigned char>("HTTP/"[checked])) {
      return fault("it does not begin like HTTP/1.1");
    }
    if (c == 0) return fault("its header holds a NUL byte");
    if ((before == '\r') != (c == '\n')) return fault("its lines do not end in CR LF");
    if (c == '\n' && checked >= 3 && buffer[checked - 2] == '\n') return ++checked;
  }
  if (buffer.size() >= bytes_max) return fault("its header is too large");
  return std::nullopt;
}

tl::expected<AnswerHead, const char*> parse_answer_head(std::string_view text, bool asked_head,
                                                        const ClientLimits& limits) {
  AnswerHead head;
  size_t end = text.find("\r\n");
  if (end == std::string_view::npos) return fault("its status line does not end");
  if (const char* bad = parse_status_line(text.substr(0, end), head)) return fault(bad);
  for (text.remove_prefix(end + 2); text != "\r\n"; text.remove_prefix(end + 2)) {
    end = text.find("\r\n");
    if (end == std::string_view::npos) return fault("a header line does not end");
    if (head.headers.size() >= static_cast<size_t>(limits.header_fields_max)) {
      return fault("it has too many header fields");
    }
    if (const char* bad = parse_field(text.substr(0, end), head.headers)) return fault(bad);
  }
  if (const char* bad = frame_body(head)) return fault(bad);
  if (asked_head || head.status < 200 || head.status == 204 || head.status == 304) {
    // What was said about a body describes the one that a GET would have brought.
    head.body = AnswerHead::Body::none;
  }
  head.keep_alive = head.version_minor == 1 && head.body != AnswerHead::Body::until_close &&
                    std::none_of(head.headers.begin(), head.headers.end(), [](const auto& field) {
                      return field.first == "connection" &&
                             lower_case(field.second).find("close") != std::string::npos;
                    });
  return head;
}

}  // namespace net
