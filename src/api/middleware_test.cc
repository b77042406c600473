#include "api/middleware.h"

#include "api/bench_for_test.h"
#include "api/openapi.h"
#include "api/site.h"

namespace api {
namespace {

void set(net::Request& request, const std::string& name, const std::string& value) {
  std::erase_if(request.headers, [&](const auto& header) { return header.first == name; });
  if (!value.empty()) request.headers.emplace_back(name, value);
}

class MiddlewareTest : public Bench {
 protected:
  int status_with(const std::string& method, const std::string& target, const std::string& name,
                  const std::string& value) {
    net::Request request = Bench::request(method, target, "{}");
    set(request, name, value);
    return send(request)->status;
  }
};

TEST(MatchPath, SegmentsAndRests) {
  std::vector<std::string> got;
  EXPECT_TRUE(match_path("/a/{x}/b/{y}", "/a/1/b/2", got));
  EXPECT_EQ(got, (std::vector<std::string>{"1", "2"}));
  EXPECT_TRUE(match_path("/m/{id*}", "/m/org/name", got));
  EXPECT_EQ(got, (std::vector<std::string>{"org/name"}));
  EXPECT_FALSE(match_path("/a/{x}", "/a/", got));
  EXPECT_FALSE(match_path("/a/{x}", "/a/1/2", got));
  EXPECT_FALSE(match_path("/a", "/a/", got));
  EXPECT_FALSE(match_path("/a", "/", got));
}

TEST_F(MiddlewareTest, OnlyLoopbackNamesWithOurPort) {
  for (const char* host : {"127.0.0.1:8080", "localhost:8080", "[::1]:8080"}) {
    EXPECT_EQ(status_with("GET", "/health", "host", host), 200) << host;
  }
  for (const char* host : {"evil.example:8080", "127.0.0.1", "127.0.0.1:81", "127.0.0.1:80800", "",
                           "localhost.evil.example:8080", "127.0.0.1:8080@evil.example"}) {
    EXPECT_EQ(status_with("GET", "/health", "host", host), 403) << host;
  }
}

TEST_F(MiddlewareTest, OtherSitesAreRefusedExceptForLinks) {
  EXPECT_EQ(status_with("GET", "/health", "origin", "http://127.0.0.1:8080"), 200);
  for (const char* origin :
       {"http://evil.example", "null", "http://127.0.0.1:9090", "http://localhost:8080"}) {
    EXPECT_EQ(status_with("GET", "/health", "origin", origin), 403) << origin;
    EXPECT_EQ(status_with("POST", "/v1/tokenize", "origin", origin), 403) << origin;
  }
  EXPECT_EQ(status_with("GET", "/health", "sec-fetch-site", "same-origin"), 200);
  EXPECT_EQ(status_with("GET", "/health", "sec-fetch-site", "none"), 200);
  EXPECT_EQ(status_with("GET", "/health", "sec-fetch-site", "cross-site"), 403);
  EXPECT_EQ(status_with("GET", "/health", "sec-fetch-site", "same-site"), 403);
  net::Request link = request("GET", "/");
  set(link, "sec-fetch-site", "cross-site");
  set(link, "sec-fetch-mode", "navigate");
  set(link, "sec-fetch-dest", "document");
  EXPECT_EQ(send(link)->status, 200);
  link.method = "POST";
  EXPECT_EQ(send(link)->status, 403);
}

TEST_F(MiddlewareTest, CorsIsClosed) {
  net::Request request = Bench::request("OPTIONS", "/v1/chat/completions");
  set(request, "origin", "http://evil.example");
  set(request, "access-control-request-method", "POST");
  auto answer = send(request);
  EXPECT_EQ(answer->status, 403);
  for (const auto& [name, value] : answer->headers) {
    EXPECT_FALSE(name.starts_with("access-control")) << name;
  }
}

TEST_F(MiddlewareTest, TheKeyAndNothingLikeIt) {
  EXPECT_EQ(status_with("GET", "/v1/models", "authorization", std::string("bearer ") + key), 200);
  for (const std::string& value :
       {std::string(), std::string("Bearer"), std::string("Bearer "), std::string(key),
        std::string("Basic ") + key, std::string("Bearer ") + key + "0",
        std::string("Bearer sk-0123456789abcdef012345678")}) {
    EXPECT_EQ(status_with("GET", "/v1/models", "authorization", value), 401) << value;
    EXPECT_EQ(status_with("GET", "/metrics", "authorization", value), 401) << value;
  }
  net::Request request = Bench::request("GET", "/v1/models");
  set(request, "authorization", "");
  auto answer = send(request);
  EXPECT_EQ(answer->header("www-authenticate"), "Bearer");
  EXPECT_EQ(answer->json().find("error")->find("type")->as_string(), "authentication_error");
}

TEST_F(MiddlewareTest, EveryRouteWithoutCredentialsIsHarmless) {
  // Attack row 13: 401, 404 or a page; the few open endpoints say nothing about anybody.
  for (const char* target : {"/v1/models", "/metrics", "/site/conversations", "/site/events",
                             "/site/generations/ab/events", "/models", "/v1/models/tiny"}) {
    net::Request request = Bench::request("GET", target);
    set(request, "authorization", "");
    EXPECT_EQ(send(request)->status, 401) << target;
  }
}

TEST_F(MiddlewareTest, JsonOnly) {
  const std::string chat = "/v1/chat/completions";
  EXPECT_EQ(status_with("POST", chat, "content-type", "text/plain"), 415);
  EXPECT_EQ(status_with("POST", chat, "content-type", ""), 415);
  EXPECT_EQ(status_with("POST", chat, "content-type", "application/x-www-form-urlencoded"), 415);
  EXPECT_EQ(status_with("POST", chat, "content-type", "application/json; charset=utf-8"), 400);
  for (const std::string& body :
       {std::string(), std::string(" "), std::string("{"), std::string("{\"a\":1,\"a\":2}"),
        std::string("{}\0", 3), std::string(65, '[') + std::string(65, ']'),
        std::string("\xff\xfe{\0}\0", 6), std::string("{\"temperature\":NaN}")}) {
    auto answer = send("POST", chat, body);
    EXPECT_EQ(answer->status, 400) << body.substr(0, 20);
    EXPECT_EQ(answer->json().find("error")->find("code")->as_string(), "invalid_json");
  }
}

TEST_F(MiddlewareTest, WrongMethodNamesTheRightOnes) {
  auto answer = send("GET", "/v1/chat/completions");
  EXPECT_EQ(answer->status, 405);
  EXPECT_EQ(answer->header("allow"), "POST");
  EXPECT_EQ(send("GET", "/nowhere")->status, 404);
  EXPECT_EQ(send("HEAD", "/health")->status, 200);
  EXPECT_EQ(send("HEAD", "/site/events")->status, 405);
}

TEST_F(MiddlewareTest, EveryAnswerCarriesTheHeaders) {
  for (const char* target : {"/health", "/", "/nowhere", "/v1/models", "/assets/a-1.js"}) {
    auto answer = send("GET", target);
    EXPECT_EQ(answer->header("x-content-type-options"), "nosniff") << target;
    EXPECT_EQ(answer->header("x-frame-options"), "DENY");
    EXPECT_EQ(answer->header("referrer-policy"), "no-referrer");
    EXPECT_EQ(answer->header("x-request-id").size(), 32u);
    EXPECT_TRUE(answer->header("content-security-policy").starts_with("default-src 'none'"));
  }
  EXPECT_NE(send("GET", "/")->header("content-security-policy").find("trusted-types nautile"),
            std::string::npos);
}

TEST_F(MiddlewareTest, WhatNoRouteEverSeesIsRefusedInTheSameForm) {
  const net::FaultForm form = service_->fault_form();
  const std::pair<int, const char*> faults[] = {
      {400, "bad_request"},      {408, "too_slow"},         {413, "request_too_large"},
      {414, "header_too_large"}, {431, "header_too_large"}, {503, "overloaded"},
      {505, "bad_request"}};
  for (const auto& [status, code] : faults) {
    const net::Response answer = form(status, "The body is larger than this server takes.");
    EXPECT_EQ(answer.status, status);
    const auto body = base::parse_json(answer.body, "answer");
    ASSERT_TRUE(body) << answer.body;
    const base::Json& error = *body->find("error");
    EXPECT_EQ(error.find("code")->as_string(), code);
    EXPECT_EQ(error.find("message")->as_string(), "The body is larger than this server takes.");
    EXPECT_EQ(error.as_object().size(), 4u);
    const auto has = [&](std::string_view name, std::string_view value) {
      return std::any_of(answer.headers.begin(), answer.headers.end(), [&](const auto& header) {
        return header.first == name && header.second.starts_with(value);
      });
    };
    EXPECT_TRUE(has("content-type", "application/json"));
    EXPECT_TRUE(has("x-content-type-options", "nosniff"));
    EXPECT_EQ(has("retry-after", "2"), status == 503);
  }
}

TEST_F(MiddlewareTest, FilesAreCachedByTheirNames) {
  net::Request request = Bench::request("GET", "/assets/a-1.js");
  auto plain = send(request);
  EXPECT_EQ(plain->body, "let a");
  EXPECT_EQ(plain->header("cache-control"), "public, max-age=31536000, immutable");
  set(request, "accept-encoding", "br, gzip;q=0.8");
  auto gzip = send(request);
  EXPECT_EQ(gzip->body, "GZ");
  EXPECT_EQ(gzip->header("content-encoding"), "gzip");
  set(request, "if-none-match", "\"2\"");
  EXPECT_EQ(send(request)->status, 304);
  EXPECT_EQ(send("GET", "/c/abc")->body, "<p>shell");
  EXPECT_EQ(send("GET", "/settings/privacy")->header("cache-control"), "no-cache");
  EXPECT_EQ(send("POST", "/assets/a-1.js", "{}")->status, 404);
}

TEST_F(MiddlewareTest, APersonGetsASmallPageWithoutScript) {
  net::Request request = Bench::request("GET", "/nowhere");
  set(request, "accept", "text/html,*/*;q=0.8");
  auto answer = send(request);
  EXPECT_EQ(answer->status, 404);
  EXPECT_EQ(answer->header("content-type"), "text/html; charset=utf-8");
  EXPECT_LE(answer->body.size(), 4096u);
  EXPECT_EQ(answer->body.find("<script"), std::string::npos);
}

TEST_F(MiddlewareTest, OpenapiKnowsEveryRouteOfThePublicApi) {
  auto document = base::parse_json(openapi_json(), "openapi.json");
  ASSERT_TRUE(document);
  EXPECT_EQ(document->find("info")->find("version")->as_string(), "0.1.0");
  Context context(
      [&] {
        ApiOptions options;
        options.engine = &engine_;
        options.clock = &clock_;
        options.random = &random_;
        options.files = &files_;
        return options;
      }(),
      *account::Sessions::open(dir_, clock_, random_));
  std::vector<Route> routes;
  add_public_routes(context, routes);
  Site site(context);
  site.add_routes(routes);
  ASSERT_GT(routes.size(), 20u);
  const base::Json* paths = document->find("paths");
  size_t operations = 0;
  for (Route& route : routes) {
    if (route.pattern.ends_with("*}")) route.pattern.erase(route.pattern.size() - 2, 1);
    const base::Json* path = paths->find(route.pattern);
    ASSERT_NE(path, nullptr) << route.pattern;
    std::string method = route.method;
    for (char& c : method) c = static_cast<char>(c - 'A' + 'a');
    const base::Json* operation = path->find(method);
    ASSERT_NE(operation, nullptr) << route.method << " " << route.pattern;
    ++operations;
    const base::Json* responses = operation->find("responses");
    ASSERT_NE(responses, nullptr);
    EXPECT_NE(responses->find("403"), nullptr) << route.pattern;
    EXPECT_EQ(responses->find("401") != nullptr, route.access != Access::open) << route.pattern;
    EXPECT_EQ(responses->find("415") != nullptr, route.method != "GET") << route.pattern;
    const bool has_body = route.takes_body || route.takes_bytes;
    EXPECT_EQ(responses->find("413") != nullptr, has_body) << route.pattern;
    EXPECT_EQ(operation->find("requestBody") != nullptr, has_body) << route.pattern;
  }
  size_t documented = 0;
  for (const auto& [path, methods] : paths->as_object()) documented += methods.as_object().size();
  EXPECT_EQ(documented, operations) << "a route is documented that does not exist";
}

}  // namespace
}  // namespace api
