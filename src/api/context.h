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
  void refuse(const ApiError& error) const { exchange->respond(error_response(error)); }
};

enum class Access : uint8_t { open, key, session };
using Endpoint = std::function<void(Call&)>;

struct Route {
  std::string method;   // "POST"
  std::string pattern;  // "/site/generations/{id}"
  Access access = Access::open;
  bool takes_body = false;
  Endpoint endpoint;
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
