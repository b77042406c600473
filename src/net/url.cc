#include "net/url.h"

#include "net/http_text.h"

namespace net {
namespace {

int usual_port(bool tls) { return tls ? 443 : 80; }

bool is_host_name(std::string_view name) {
  if (name.empty() || name.size() > 253) return false;
  return std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return is_digit(c) || is_alpha(c) || c == '.' || c == '-' || c == '_';
  });
}

bool is_v6_text(std::string_view text) {
  if (text.size() < 2 || text.size() > 45) return false;
  return std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return hex_value(c) >= 0 || c == ':' || c == '.'; });
}

bool read_authority(std::string_view text, Url& url) {
  std::string_view port;
  if (!text.empty() && text.front() == '[') {
    const size_t close = text.find(']');
    if (close == std::string_view::npos || !is_v6_text(text.substr(1, close - 1))) return false;
    url.host = lower_case(text.substr(1, close - 1));
    port = text.substr(close + 1);
  } else {
    const size_t colon = std::min(text.find(':'), text.size());
    if (!is_host_name(text.substr(0, colon))) return false;
    url.host = lower_case(text.substr(0, colon));
    port = text.substr(colon);
  }
  url.port = usual_port(url.tls);
  if (port.empty()) return true;
  const auto number = plain_number(port.substr(1));
  if (port.front() != ':' || !number || *number < 1 || *number > 65535) return false;
  url.port = static_cast<int>(*number);
  return true;
}

}  // namespace

std::string Url::authority() const {
  const std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return port == usual_port(tls) ? name : name + ":" + std::to_string(port);
}

std::string Url::origin() const { return (tls ? "https://" : "http://") + authority(); }

bool Url::is_loopback() const {
  return host == "localhost" || host == "::1" ||
         (host.starts_with("127.") && std::all_of(host.begin(), host.end(), [](unsigned char c) {
            return is_digit(c) || c == '.';
          }));
}

std::optional<Url> parse_url(std::string_view text) {
  if (text.size() > url_bytes_max) return std::nullopt;
  for (const unsigned char c : text) {
    if (c <= 0x20 || c >= 0x7f || c == '\\' || c == '"') return std::nullopt;
  }
  Url url;
  const std::string scheme = lower_case(text.substr(0, text.find(':')));
  if (scheme != "http" && scheme != "https") return std::nullopt;
  url.tls = scheme == "https";
  text.remove_prefix(scheme.size());
  if (!text.starts_with("://")) return std::nullopt;
  text.remove_prefix(3);
  const size_t end = std::min(text.find_first_of("/?#"), text.size());
  if (!read_authority(text.substr(0, end), url)) return std::nullopt;
  text = text.substr(end, text.find('#', end) - end);
  url.target = text.starts_with('/') ? std::string(text) : "/" + std::string(text);
  return url;
}

std::optional<Url> resolve_url(const Url& base, std::string_view reference) {
  if (reference.empty() || reference.size() > url_bytes_max) return std::nullopt;
  const size_t colon = reference.find(':');
  const bool has_scheme = colon != std::string_view::npos &&
                          reference.substr(0, colon).find_first_of("/?#") == std::string_view::npos;
  if (has_scheme) return parse_url(reference);
  if (reference.starts_with("//")) {
    return parse_url((base.tls ? "https:" : "http:") + std::string(reference));
  }
  if (reference.front() == '/') return parse_url(base.origin() + std::string(reference));
  const std::string path = base.target.substr(0, base.target.find('?'));
  const std::string folder = reference.front() == '?' ? path : path.substr(0, path.rfind('/') + 1);
  return parse_url(base.origin() + folder + std::string(reference));
}

std::string percent_encoded(std::string_view path) {
  static constexpr char digits[] = "0123456789ABCDEF";
  std::string out;
  for (const unsigned char c : path) {
    if (is_digit(c) || is_alpha(c) || c == '/' || c == '-' || c == '.' || c == '_' || c == '~') {
      out += static_cast<char>(c);
    } else {
      out += '%';
      out += digits[c >> 4];
      out += digits[c & 15];
    }
  }
  return out;
}

}  // namespace net
