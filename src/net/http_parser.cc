#include "net/http_parser.h"

#include <algorithm>
#include <array>

#include "base/bytes.h"
#include "net/http_text.h"

namespace net {
namespace {

// Extensions and trailers carry nothing that we read: a body may bring this much of them in all.
constexpr int chunk_overhead_bytes_max = 4096;
constexpr int chunk_size_digits_max = 8;
constexpr int method_bytes_max = 16;
constexpr int request_line_extra_bytes = 32;  // method, version and spaces beside the target

tl::unexpected<HttpFault> fault(int status, const char* reason) {
  return tl::unexpected<HttpFault>(HttpFault{status, reason});
}

// Repeated, these have two readings (which one counts?), so they may not repeat.
bool may_not_repeat(std::string_view name) {
  static constexpr std::array<std::string_view, 9> names = {
      "host",   "content-length", "transfer-encoding", "authorization", "cookie", "content-type",
      "origin", "expect",         "x-api-key"};
  return std::find(names.begin(), names.end(), name) != names.end();
}

// reg-name or IPv4, or [IPv6], each with an optional port. No userinfo.
bool is_authority(std::string_view text) {
  std::string_view port;
  if (!text.empty() && text.front() == '[') {
    const size_t close = text.find(']');
    if (close == std::string_view::npos || close < 3) return false;
    for (unsigned char c : text.substr(1, close - 1)) {
      if (hex_value(c) < 0 && c != ':' && c != '.') return false;
    }
    port = text.substr(close + 1);
  } else {
    const size_t colon = text.find(':');
    const std::string_view name = text.substr(0, colon);
    if (name.empty()) return false;
    for (unsigned char c : name) {
      if (!is_digit(c) && !is_alpha(c) && c != '.' && c != '-' && c != '_') return false;
    }
    port = colon == std::string_view::npos ? std::string_view() : text.substr(colon);
  }
  if (port.empty()) return true;
  return port.size() >= 2 && port.size() <= 6 && port.front() == ':' &&
         std::all_of(port.begin() + 1, port.end(), [](unsigned char c) { return is_digit(c); });
}

struct Line {
  std::string_view method, target;
  int version_minor = 1;
};

tl::expected<Line, HttpFault> parse_request_line(std::string_view text) {
  const size_t first = text.find(' ');
  const size_t last = text.rfind(' ');
  if (first == std::string_view::npos || first == last) {
    return fault(400, "The request line needs a method, a target and a version.");
  }
  Line line{text.substr(0, first), text.substr(first + 1, last - first - 1), 1};
  if (line.method.empty() || line.method.size() > method_bytes_max ||
      !std::all_of(line.method.begin(), line.method.end(),
                   [](unsigned char c) { return c >= 'A' && c <= 'Z'; })) {
    return fault(400, "The method must be upper-case letters.");
  }
  for (unsigned char c : line.target) {
    if (c <= 0x20 || c >= 0x7f || c == '#') {
      return fault(400, "The target holds a byte that may not stand there.");
    }
  }
  const std::string_view version = text.substr(last + 1);
  if (version == "HTTP/1.1") return line;
  line.version_minor = 0;
  if (version == "HTTP/1.0") return line;
  if (version.size() == 8 && version.substr(0, 5) == "HTTP/" && is_digit(version[5]) &&
      version[6] == '.' && is_digit(version[7])) {
    return fault(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
  }
  return fault(400, "The request line needs a version.");
}

// Fills request.path and query. `authority` gets what an absolute target named.
std::optional<HttpFault> parse_target(std::string_view target, std::string_view method,
                                      Request& request, std::string_view& authority) {
  if (method == "CONNECT") return HttpFault{405, "This is no proxy."};
  if (target.front() != '/') {
    constexpr std::string_view http = "http://", https = "https://";
    if (equal_ignoring_case(target.substr(0, http.size()), http)) {
      target.remove_prefix(http.size());
    } else if (equal_ignoring_case(target.substr(0, https.size()), https)) {
      target.remove_prefix(https.size());
    } else {
      return HttpFault{400, "The target must be a path."};
    }
    const size_t end = std::min(target.find_first_of("/?"), target.size());
    authority = target.substr(0, end);
    if (!is_authority(authority)) return HttpFault{400, "The target names no valid host."};
    target.remove_prefix(end);
  }
  const size_t question = target.find('?');
  const std::string_view raw_path = target.substr(0, question);
  auto path = normalised_path(raw_path.empty() ? "/" : raw_path);
  if (!path) return HttpFault{400, "The path can be read in more than one way."};
  request.path = std::move(*path);
  if (question != std::string_view::npos) request.query = target.substr(question + 1);
  return std::nullopt;
}

std::optional<HttpFault> parse_field(std::string_view text, Request& request) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0) {
    return HttpFault{400, "A header line needs a name and a colon."};
  }
  // A name with a space, or a line that begins with one (obs-fold), fails here.
  const std::string_view raw_name = text.substr(0, colon);
  if (!std::all_of(raw_name.begin(), raw_name.end(),
                   [](unsigned char c) { return is_token_char(c); })) {
    return HttpFault{400, "A header name holds a byte that may not stand there."};
  }
  const std::string_view value = trimmed(text.substr(colon + 1));
  if (!std::all_of(value.begin(), value.end(), [](unsigned char c) { return is_value_char(c); })) {
    return HttpFault{400, "A header value holds a control byte."};
  }
  std::string name(raw_name);
  std::transform(name.begin(), name.end(), name.begin(), lower);
  if (may_not_repeat(name) && std::any_of(request.headers.begin(), request.headers.end(),
                                          [&](const auto& field) { return field.first == name; })) {
    return HttpFault{400, "A header that may stand once stands twice."};
  }
  request.headers.emplace_back(std::move(name), std::string(value));
  return std::nullopt;
}

std::optional<HttpFault> frame_body(RequestHead& head) {
  const std::string* length = nullptr;
  const std::string* encoding = nullptr;
  for (const auto& [name, value] : head.request.headers) {
    if (name == "content-length") length = &value;
    if (name == "transfer-encoding") encoding = &value;
  }
  if (length && encoding) {
    return HttpFault{400, "Content-Length and Transfer-Encoding exclude each other."};
  }
  if (encoding) {
    if (head.version_minor == 0) return HttpFault{400, "HTTP/1.0 has no Transfer-Encoding."};
    if (!equal_ignoring_case(*encoding, "chunked")) {
      return HttpFault{400, "The only Transfer-Encoding taken is chunked."};
    }
    head.chunked = true;
  }
  if (length) {
    const auto value = plain_number(*length);
    if (!value) return HttpFault{400, "Content-Length must be a plain number."};
    head.content_length = *value;
  }
  return std::nullopt;
}

std::optional<HttpFault> read_connection(RequestHead& head) {
  head.keep_alive = head.version_minor == 1;
  for (const auto& [name, value] : head.request.headers) {
    if (name == "expect") {
      if (!equal_ignoring_case(value, "100-continue")) {
        return HttpFault{417, "The only expectation known is 100-continue."};
      }
      head.expects_continue = head.version_minor == 1;
    }
    if (name != "connection") continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      const size_t comma = std::min(rest.find(','), rest.size());
      const std::string_view option = trimmed(rest.substr(0, comma));
      if (equal_ignoring_case(option, "close")) {
        head.keep_alive = false;
        return std::nullopt;
      }
      if (equal_ignoring_case(option, "keep-alive")) head.keep_alive = true;
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
  }
  return std::nullopt;
}

std::optional<HttpFault> check_host(const RequestHead& head, std::string_view authority) {
  bool found = false;
  for (const auto& [name, value] : head.request.headers) {
    if (name != "host") continue;
    found = true;
    if (!is_authority(value)) return HttpFault{400, "The Host header names no valid host."};
    if (!authority.empty() && !equal_ignoring_case(authority, value)) {
      return HttpFault{400, "The target and the Host header name different hosts."};
    }
  }
  if (!found && head.version_minor == 1) return HttpFault{400, "HTTP/1.1 needs a Host header."};
  return std::nullopt;
}

}  // namespace

tl::expected<std::optional<size_t>, HttpFault> HeadScan::scan(std::string_view buffer,
                                                              const ServerLimits& limits) {
  const size_t bytes_max = static_cast<size_t>(limits.header_bytes_max);
  const size_t line_max = static_cast<size_t>(limits.target_bytes_max) + request_line_extra_bytes;
  for (; checked < std::min(buffer.size(), bytes_max); ++checked) {
    const unsigned char c = buffer[checked];
    const unsigned char before = checked == 0 ? 0 : buffer[checked - 1];
    if (checked == 0 && (c < 'A' || c > 'Z')) return fault(400, "This does not begin like HTTP.");
    if (c == 0) return fault(400, "The header holds a NUL byte.");
    if ((before == '\r') != (c == '\n')) return fault(400, "Lines must end in CR LF.");
    if (c == '\n' && checked >= 3 && buffer[checked - 2] == '\n') return ++checked;
  }
  // A request line that never ends is a target that is too long.
  if (buffer.size() > line_max && buffer.substr(0, line_max).find('\n') == std::string_view::npos) {
    return fault(414, "The target is too long.");
  }
  if (buffer.size() >= bytes_max) return fault(431, "The header is too large.");
  return std::nullopt;
}

tl::expected<RequestHead, HttpFault> parse_head(std::string_view text, const ServerLimits& limits) {
  RequestHead head;
  size_t end = text.find("\r\n");
  if (end == std::string_view::npos) return fault(400, "The request line does not end.");
  auto line = parse_request_line(text.substr(0, end));
  if (!line) return tl::unexpected(line.error());
  if (line->target.empty()) return fault(400, "The request line needs a target.");
  if (line->target.size() > static_cast<size_t>(limits.target_bytes_max)) {
    return fault(414, "The target is too long.");
  }
  head.request.method = line->method;
  head.version_minor = line->version_minor;
  std::string_view authority;
  if (auto bad = parse_target(line->target, line->method, head.request, authority)) {
    return tl::unexpected(*bad);
  }
  for (text.remove_prefix(end + 2); text != "\r\n"; text.remove_prefix(end + 2)) {
    end = text.find("\r\n");
    if (end == std::string_view::npos) return fault(400, "A header line does not end.");
    if (head.request.headers.size() >= static_cast<size_t>(limits.header_fields_max)) {
      return fault(431, "There are too many header fields.");
    }
    if (auto bad = parse_field(text.substr(0, end), head.request)) return tl::unexpected(*bad);
  }
  if (auto bad = check_host(head, authority)) return tl::unexpected(*bad);
  if (auto bad = frame_body(head)) return tl::unexpected(*bad);
  if (auto bad = read_connection(head)) return tl::unexpected(*bad);
  if (head.content_length > limits.body_bytes_max) {
    return fault(413, "The body is larger than this server takes.");
  }
  return head;
}

// ---- bodies ------------------------------------------------------------------------------------

BodyDecoder BodyDecoder::counted(int64_t length) {
  BodyDecoder decoder;
  decoder.state_ = length > 0 ? State::counted : State::done;
  decoder.left_ = length;
  return decoder;
}

BodyDecoder BodyDecoder::chunked(int64_t body_bytes_max) {
  BodyDecoder decoder;
  decoder.state_ = State::size;
  decoder.body_left_max_ = body_bytes_max;
  return decoder;
}

tl::expected<size_t, HttpFault> BodyDecoder::feed(std::string_view in, std::string& out) {
  size_t used = 0;
  while (used < in.size() && state_ != State::done) {
    if (state_ == State::counted || state_ == State::data) {
      const size_t take = std::min(in.size() - used, static_cast<size_t>(left_));
      out.append(in.substr(used, take));
      used += take;
      left_ -= static_cast<int64_t>(take);
      if (left_ == 0) state_ = state_ == State::counted ? State::done : State::data_cr;
      continue;
    }
    if (auto bad = step(static_cast<unsigned char>(in[used]))) return tl::unexpected(*bad);
    ++used;
  }
  return used;
}

std::optional<HttpFault> BodyDecoder::step(unsigned char c) {
  constexpr HttpFault bad_end{400, "A chunk does not end where its size says."};
  switch (state_) {
    case State::size:
      return size_byte(c);
    case State::extension:
      return extension_byte(c);
    case State::size_lf:
      if (c != '\n') return HttpFault{400, "A chunk size must end in CR LF."};
      size_digits_ = 0;
      state_ = left_ == 0 ? State::trailer : State::data;
      return std::nullopt;
    case State::data_cr:
      if (c != '\r') return bad_end;
      state_ = State::data_lf;
      return std::nullopt;
    case State::data_lf:
      if (c != '\n') return bad_end;
      state_ = State::size;
      return std::nullopt;
    case State::trailer:
      return trailer_byte(c);
    default:
      return std::nullopt;
  }
}

std::optional<HttpFault> BodyDecoder::size_byte(unsigned char c) {
  const int digit = hex_value(c);
  if (digit >= 0) {
    if (++size_digits_ > chunk_size_digits_max) return HttpFault{400, "A chunk size is too long."};
    left_ = left_ * 16 + digit;
    return std::nullopt;
  }
  if (size_digits_ == 0 || (c != '\r' && c != ';')) {
    return HttpFault{400, "A chunk size must be hexadecimal digits."};
  }
  if (left_ > body_left_max_) return HttpFault{413, "The body is larger than this server takes."};
  body_left_max_ -= left_;
  state_ = c == '\r' ? State::size_lf : State::extension;
  return std::nullopt;
}

std::optional<HttpFault> BodyDecoder::extension_byte(unsigned char c) {
  if (++overhead_bytes_ > chunk_overhead_bytes_max) {
    return HttpFault{400, "There are too many chunk extensions."};
  }
  if (c == '\r') {
    state_ = State::size_lf;
    return std::nullopt;
  }
  if (!is_value_char(c)) return HttpFault{400, "A chunk extension holds a control byte."};
  return std::nullopt;
}

// Trailers are checked for their form and dropped: nothing in them may change how a request is
// read.
std::optional<HttpFault> BodyDecoder::trailer_byte(unsigned char c) {
  if (++overhead_bytes_ > chunk_overhead_bytes_max) {
    return HttpFault{431, "The trailers are too large."};
  }
  const bool after_cr = !line_.empty() && line_.back() == '\r';
  if (after_cr != (c == '\n')) return HttpFault{400, "Lines must end in CR LF."};
  if (c != '\n') {
    line_ += static_cast<char>(c);
    return std::nullopt;
  }
  line_.pop_back();
  if (line_.empty()) {
    state_ = State::done;
    return std::nullopt;
  }
  Request scratch;
  auto bad = parse_field(line_, scratch);
  line_.clear();
  return bad;
}

// ---- targets -----------------------------------------------------------------------------------

std::optional<std::string> normalised_path(std::string_view raw) {
  if (raw.empty() || raw.front() != '/') return std::nullopt;
  std::string out;
  size_t segment = 0;  // where the segment that is being read starts in `out`
  const auto end_segment = [&]() -> bool {
    const std::string_view name = std::string_view(out).substr(segment);
    if (name == "..") return false;
    if (name == ".") out.resize(segment);
    return true;
  };
  for (size_t i = 0; i < raw.size(); ++i) {
    unsigned char c = raw[i];
    if (c == '/') {
      if (!end_segment()) return std::nullopt;
      if (out.empty() || out.back() != '/') out += '/';
      segment = out.size();
      continue;
    }
    if (c == '%') {
      if (i + 2 >= raw.size()) return std::nullopt;
      const int high = hex_value(raw[i + 1]), low = hex_value(raw[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<unsigned char>(high * 16 + low);
      i += 2;
      if (c == '/') return std::nullopt;
    }
    if (c < 0x20 || c == 0x7f || c == '\\') return std::nullopt;
    out += static_cast<char>(c);
  }
  if (!end_segment() || !base::is_utf8(out)) return std::nullopt;
  return out;
}

std::string form_decoded(std::string_view raw) {
  std::string out;
  for (size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] == '+') {
      out += ' ';
    } else if (raw[i] == '%' && i + 2 < raw.size() && hex_value(raw[i + 1]) >= 0 &&
               hex_value(raw[i + 2]) >= 0) {
      out += static_cast<char>(hex_value(raw[i + 1]) * 16 + hex_value(raw[i + 2]));
      i += 2;
    } else {
      out += raw[i];
    }
  }
  return out;
}

std::string_view Request::header(std::string_view lower_case_name) const {
  for (const auto& [name, value] : headers) {
    if (name == lower_case_name) return value;
  }
  return {};
}

std::string_view Request::query_value(std::string_view key, std::string& storage) const {
  std::string_view rest = query;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('&'), rest.size());
    const std::string_view pair = rest.substr(0, end);
    rest = end < rest.size() ? rest.substr(end + 1) : std::string_view();
    const size_t equals = std::min(pair.find('='), pair.size());
    if (form_decoded(pair.substr(0, equals)) != key) continue;
    storage = form_decoded(pair.substr(std::min(equals + 1, pair.size())));
    return storage;
  }
  return {};
}

}  // namespace net
