#include "net/proxy.h"

#include "net/http_text.h"

namespace net {
namespace {

std::string base64(std::string_view bytes) {
  static constexpr char digits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t j = 0; j < 3; ++j) {
      group = group << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0u);
    }
    for (size_t j = 0; j < 4; ++j) {
      out += i + j <= bytes.size() ? digits[group >> (18 - 6 * j) & 63] : '=';
    }
  }
  return out;
}

std::string percent_decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex_value(text[i + 1]) >= 0 &&
        hex_value(text[i + 2]) >= 0) {
      out += static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

// "http://user:secret@host:3128", or "host:3128".
base::Result<std::optional<Proxy>> read_proxy(const std::string& text, const char* variable) {
  if (text.empty()) return std::optional<Proxy>();
  std::string address = text.find("://") == std::string::npos ? "http://" + text : text;
  Proxy proxy;
  const size_t begin = address.find("://") + 3;
  const size_t at = address.substr(0, address.find('/', begin)).rfind('@');
  if (at != std::string::npos && at >= begin) {
    proxy.authorization = "Basic " + base64(percent_decoded(address.substr(begin, at - begin)));
    address.erase(begin, at + 1 - begin);
  }
  const auto url = parse_url(address);
  if (!url || url->tls) {
    return base::fail(base::ErrorKind::wrong_usage,
                      fmt::format("the proxy in {} cannot be used", variable),
                      "it must be an http:// address", "correct the variable, or unset it");
  }
  proxy.url = *url;
  return std::optional<Proxy>(std::move(proxy));
}

bool matches(const std::string& entry, const Url& url) {
  if (entry == "*") return true;
  std::string_view name = entry;
  const size_t colon = name.rfind(':');
  if (colon != std::string_view::npos && name.find(':') == colon) {
    if (name.substr(colon + 1) != std::to_string(url.port)) return false;
    name = name.substr(0, colon);
  }
  if (name.starts_with("*.")) name.remove_prefix(1);
  const std::string_view host = url.host;
  if (name.starts_with('.')) return host.ends_with(name) || host == name.substr(1);
  return host == name || (host.size() > name.size() && host.ends_with(name) &&
                          host[host.size() - name.size() - 1] == '.');
}

}  // namespace

const Proxy* ProxySettings::for_url(const Url& url) const {
  const std::optional<Proxy>& proxy = url.tls ? https : http;
  if (!proxy) return nullptr;
  for (const std::string& entry : direct) {
    if (matches(entry, url)) return nullptr;
  }
  return &*proxy;
}

base::Result<ProxySettings> proxy_settings(
    const std::function<std::string(const char*)>& variable) {
  const auto either = [&](const char* lower_name, const char* upper_name) {
    const std::string value = variable(lower_name);
    return value.empty() ? variable(upper_name) : value;
  };
  ProxySettings settings;
  ASSIGN(settings.http, read_proxy(variable("http_proxy"), "http_proxy"));
  ASSIGN(settings.https, read_proxy(either("https_proxy", "HTTPS_PROXY"), "HTTPS_PROXY"));
  const std::string direct = either("no_proxy", "NO_PROXY");
  for (size_t begin = 0; begin <= direct.size();) {
    const size_t end = std::min(direct.find_first_of(", ", begin), direct.size());
    if (end > begin) settings.direct.push_back(lower_case(direct.substr(begin, end - begin)));
    begin = end + 1;
  }
  return settings;
}

}  // namespace net
