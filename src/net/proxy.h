// Which proxy stands before an address: HTTPS_PROXY, HTTP_PROXY (lower case too) and NO_PROXY, as
// people set them for other programs. Numbers and names in, a decision out.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/url.h"

namespace net {

struct Proxy {
  Url url;                    // http only
  std::string authorization;  // "Basic …" from the user info of its address; may be empty
};

struct ProxySettings {
  std::optional<Proxy> http, https;
  std::vector<std::string> direct;  // NO_PROXY: hosts, ".domains", "*"

  const Proxy* for_url(const Url& url) const;  // nullptr: ask directly
};

// `variable` looks an environment variable up; empty: not set. HTTP_PROXY in upper case is not
// read, since a web server would set it from a request (CVE-2016-5385); http_proxy is.
base::Result<ProxySettings> proxy_settings(const std::function<std::string(const char*)>& variable);

}  // namespace net
