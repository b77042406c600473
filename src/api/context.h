// Context: what the endpoints share, and Call: one request that has passed the middleware. Built
// once by the service; everything here lives on the loop thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "account/credentials.h"
#include "api/engine_calls.h"
#include "api/http.h"
#include "api/metrics.h"
#include "api/service.h"

namespace api {

inline constexpr int64_t body_bytes_max = 8ll << 20;  // of one request; net's limit is the same
// Of a member's request that may carry pictures: all of them in base64, and a conversation. Net's
// large_body_bytes_max is the same.
inline constexpr int64_t picture_body_bytes_max = 64ll << 20;
static_assert(picture_body_bytes_max >=
              static_cast<int64_t>(engine::pictures_bytes_max) / 3 * 4 + body_bytes_max);

inline constexpr int api_sequences_max = 256;  // of API keys, at once
inline constexpr uint64_t site_account = 1;
inline constexpr uint64_t api_account = 2;  // neither sees the other's cache timing
// The account that an API client's own user of this name has.
uint64_t account_of_user(const std::string& user_id);

struct Call {
  std::shared_ptr<net::Exchange> exchange;
  base::Json body;                      // null where the route takes none
  std::vector<std::string> parameters;  // what stood for {…} in the route's pattern
  uint64_t session = 0;                 // number of the browser's session; 0: none
  std::string cookie;
  bool beta = false;

  const net::Request& request() const { return exchange->request(); }
  void answer(const base::Json& json, int status = 200) const {
    exchange->respond(json_response(json, status));
  }
  void answer_done() const { exchange->respond(empty_response()); }  // 204
  void refuse(const ApiError& error) const { exchange->respond(error_response(error)); }
};

enum class Access : uint8_t { open, key, session };
using Endpoint = std::function<void(Call&)>;

struct Route {
  std::string method;   // "POST"
  std::string pattern;  // "/site/generations/{id}"
  Access access = Access::open;
  bool takes_body = false;  // JSON, in Call::body
  Endpoint endpoint;
  bool takes_pictures = false;  // in the JSON: up to picture_body_bytes_max
  bool takes_bytes = false;     // a picture, as it is, in request().body; as large
};

// A model as a client named it.
struct ChosenModel {
  engine::ModelStatus status;
  std::optional<engine::Thinking> thinking;  // when the alias decides it
};

struct Context {
  Context(ApiOptions given, account::Sessions opened)
      : options(std::move(given)),
        engine(*options.engine),
        api_key("nautile api key", options.api_key),
        sessions(std::move(opened)) {
    options.api_key.clear();
  }

  ApiOptions options;
  EngineCalls engine;
  Metrics metrics;
  account::SecretCheck api_key;
  account::Sessions sessions;
  net::Server* server = nullptr;
  int api_sequences = 0;               // running for API keys
  std::atomic<bool> stopping = false;  // the server is being stopped: what ends now ends by that

  int64_t now_ms() const { return options.clock->monotonic_ms(); }
  void after_ms(int64_t delay_ms, std::function<void()> callback) {
    if (server != nullptr) server->after_ms(delay_ms, std::move(callback));
  }
  // A model's id in any case, the beginning of one if it fits only one (as on the command line), or
  // one of DeepSeek's ids, which name the first model; empty: the first model.
  Parsed<ChosenModel> choose_model(const std::string& name);
  // Why there is none at all: 404, or what was wrong with those that could not be opened.
  ApiError no_model();
  // Why no more sequences are begun for API keys just now; nothing: there is room for so many.
  std::optional<ApiError> no_room_for(int sequences) const;
  // What a request that failed in the engine says.
  ApiError engine_failure(const base::Error& error) const;
};

// Endpoints by file; each adds its routes.
void add_public_routes(Context& context, std::vector<Route>& routes);  // openai.cc
void add_page_routes(Context& context, std::vector<Route>& routes);    // pages.cc

// For paths that no route takes: a file of the site, or 404.
void answer_file_or_404(Context& context, Call& call);  // pages.cc
// An error as the client reads it best: a small page for a browser's navigation, else JSON.
net::Response error_for(const net::Request& request, const ApiError& error);  // pages.cc

}  // namespace api
