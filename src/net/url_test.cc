// Addresses and proxies: what is one, what a Location means, which host is asked directly.
#include "net/url.h"

#include <gtest/gtest.h>
#include <map>

#include "net/proxy.h"

namespace net {
namespace {

TEST(Url, ReadsWhatHubsUse) {
  const auto url = parse_url("https://Hub.Example:8443/a/b%20c?x=1&y=2#part");
  ASSERT_TRUE(url);
  EXPECT_TRUE(url->tls);
  EXPECT_EQ(url->host, "hub.example");
  EXPECT_EQ(url->port, 8443);
  EXPECT_EQ(url->target, "/a/b%20c?x=1&y=2");
  EXPECT_EQ(url->origin(), "https://hub.example:8443");
  EXPECT_EQ(parse_url("http://a")->target, "/");
  EXPECT_EQ(parse_url("http://a?q")->target, "/?q");
  EXPECT_EQ(parse_url("http://[::1]:80/")->host, "::1");
  EXPECT_EQ(parse_url("http://[::1]:81/")->authority(), "[::1]:81");
  EXPECT_TRUE(parse_url("http://127.0.0.1:9/")->is_loopback());
  EXPECT_FALSE(parse_url("http://127.0.0.1.evil.example/")->is_loopback());
}

TEST(Url, RefusesWhatCouldBeReadTwice) {
  for (const char* text : {"", "ftp://a/", "http:/a", "//a/b", "http://", "http://a b/",
                           "http://a:0/", "http://a:65536/", "http://a:/", "http://user@host/",
                           "http://a\\b/", "http://[::1/", "http://[x]/", "http://a\r\nHost: b/",
                           "http://\xc3\xa9/", "javascript:alert(1)", "file:///etc/passwd"}) {
    EXPECT_FALSE(parse_url(text)) << text;
  }
  EXPECT_FALSE(parse_url("http://a/" + std::string(url_bytes_max, 'x')));
}

TEST(Url, RedirectsAreResolvedAgainstTheirPage) {
  const Url base = *parse_url("https://hub.example/org/repo/resolve/main/f.gguf?x=1");
  EXPECT_EQ(resolve_url(base, "/cdn/f")->text(), "https://hub.example/cdn/f");
  EXPECT_EQ(resolve_url(base, "g.gguf")->text(),
            "https://hub.example/org/repo/resolve/main/g.gguf");
  EXPECT_EQ(resolve_url(base, "//cdn.example/f")->text(), "https://cdn.example/f");
  EXPECT_EQ(resolve_url(base, "http://cdn.example/f:1")->text(), "http://cdn.example/f:1");
  EXPECT_EQ(resolve_url(base, "?cursor=2")->target, "/org/repo/resolve/main/f.gguf?cursor=2");
  EXPECT_FALSE(resolve_url(base, ""));
  EXPECT_FALSE(resolve_url(base, "javascript:1"));
  EXPECT_FALSE(resolve_url(base, "/a b"));
}

ProxySettings settings_of(std::map<std::string, std::string> variables) {
  const auto settings = proxy_settings([&](const char* name) { return variables[name]; });
  EXPECT_TRUE(settings);
  return *settings;
}

TEST(Proxy, StandsWhereTheVariablesSay) {
  const auto settings =
      settings_of({{"HTTPS_PROXY", "http://us%65r:pa@ss@proxy.example:3128"},
                   {"NO_PROXY", "localhost, .inside.example,10.0.0.1,b.example:81"}});
  const Url outside = *parse_url("https://hub.example/");
  ASSERT_NE(settings.for_url(outside), nullptr);
  EXPECT_EQ(settings.for_url(outside)->url.text(), "http://proxy.example:3128/");
  EXPECT_EQ(settings.for_url(outside)->authorization, "Basic dXNlcjpwYUBzcw==");
  for (const char* text :
       {"http://hub.example/", "https://localhost/", "https://a.inside.example/",
        "https://inside.example/", "https://10.0.0.1/", "https://b.example:81/"}) {
    EXPECT_EQ(settings.for_url(*parse_url(text)), nullptr) << text;
  }
  for (const char* text :
       {"https://notlocalhost/", "https://xinside.example/", "https://b.example/"}) {
    EXPECT_NE(settings.for_url(*parse_url(text)), nullptr) << text;
  }
  EXPECT_EQ(settings_of({{"https_proxy", "p:1"}, {"no_proxy", "*"}}).for_url(outside), nullptr);
  EXPECT_EQ(settings_of({{"HTTP_PROXY", "p:1"}}).for_url(*parse_url("http://a/")), nullptr);
  EXPECT_NE(settings_of({{"http_proxy", "p:1"}}).for_url(*parse_url("http://a/")), nullptr);
  EXPECT_FALSE(proxy_settings([](const char*) { return std::string("socks5://a:1"); }));
}

}  // namespace
}  // namespace net
