// The order of everything that a request passes. Each step may answer and end the way.
//
//   1 request id and security headers    on whatever answer there will be
//   2 Host allow-list                    DNS rebinding: a foreign name that resolves to us, 403
//   3 Sec-Fetch-Site, Origin             another site's page in this person's browser, 403
//   4 route                              404, 405; files of the site
//   5 credentials                        key or session, 401
//   6 content type                       JSON only, 415 (a form post from elsewhere is not)
//   7 body                               parsed under limits, 400 or 413
//   8 the endpoint
//
// CORS is closed by saying nothing: no answer has an Access-Control-Allow-* header. The size of a
// header or body is bounded before this, in net.
#include "api/middleware.h"

#include <array>

namespace api {
namespace {

constexpr int body_depth_max = 64;

// Pages and their files may load their own origin and nothing else; a picture in Markdown cannot
// carry a prompt away (site.md, section 6).
constexpr std::string_view site_policy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "font-src 'self'; connect-src 'self'; worker-src 'self'; manifest-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types nautile";
constexpr std::string_view data_policy = "default-src 'none'; frame-ancestors 'none'";

constexpr std::array<std::pair<std::string_view, std::string_view>, 6> security_headers = {{
    {"x-content-type-options", "nosniff"},
    {"referrer-policy", "no-referrer"},
    {"cross-origin-opener-policy", "same-origin"},
    {"cross-origin-resource-policy", "same-origin"},
    {"x-frame-options", "DENY"},
    {"permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"},
}};

void add_policy_headers(net::Headers& headers, bool is_data) {
  headers.emplace_back("content-security-policy", is_data ? data_policy : site_policy);
  for (const auto& [name, value] : security_headers) headers.emplace_back(name, value);
}

// The exchange as endpoints see it: every answer gets the headers above, and one that was never
// given is an error in the API's form.
class GuardedExchange final : public net::Exchange {
 public:
  GuardedExchange(std::shared_ptr<net::Exchange> inner, Metrics& metrics, std::string request_id)
      : inner_(std::move(inner)), metrics_(metrics), request_id_(std::move(request_id)) {}

  ~GuardedExchange() override {
    if (answered_) return;
    ApiError error;
    error.status = 500;
    error.code = "internal_error";
    error.message = "no answer was made";
    net::Response response = error_response(error);
    add_headers(response.headers);
    inner_->respond(std::move(response));
  }
  GuardedExchange(const GuardedExchange&) = delete;
  GuardedExchange& operator=(const GuardedExchange&) = delete;

  const net::Request& request() const override { return inner_->request(); }
  void respond(net::Response response) override {
    answered_ = true;
    metrics_.answered(response.status);
    add_headers(response.headers);
    inner_->respond(std::move(response));
  }
  void begin_stream(int status, net::Headers headers) override {
    answered_ = true;
    metrics_.answered(status);
    add_headers(headers);
    inner_->begin_stream(status, std::move(headers));
  }
  bool write(std::string_view bytes) override { return inner_->write(bytes); }
  void end_stream() override { inner_->end_stream(); }
  void on_disconnect(std::function<void()> callback) override {
    inner_->on_disconnect(std::move(callback));
  }

 private:
  void add_headers(net::Headers& headers) const {
    bool is_data = true;
    for (const auto& [name, value] : headers) {
      if (name == "content-type") {
        is_data = value.starts_with("application/json") || value.starts_with("text/event-stream") ||
                  value.starts_with("text/plain");
      }
    }
    headers.emplace_back("x-request-id", request_id_);
    add_policy_headers(headers, is_data);
  }

  std::shared_ptr<net::Exchange> inner_;
  Metrics& metrics_;
  std::string request_id_;
  bool answered_ = false;
};

ApiError make_error(int status, std::string_view code, std::string message) {
  ApiError error;
  error.status = status;
  error.code = code;
  error.message = std::move(message);
  return error;
}

std::string_view bearer_of(std::string_view authorization) {
  constexpr std::string_view scheme = "bearer ";
  if (authorization.size() <= scheme.size() ||
      !equal_ignoring_case(authorization.substr(0, scheme.size()), scheme)) {
    return {};
  }
  return authorization.substr(scheme.size());
}

bool is_json(std::string_view content_type) {
  return equal_ignoring_case(content_type.substr(0, content_type.find_first_of("; ")),
                             "application/json");
}

std::string_view session_cookie(const net::Request& request) {
  return cookie_value(request.header("cookie"), "nautile_session");
}

Parsed<base::Json> parse_body(const net::Request& request, int64_t bytes_max) {
  base::JsonLimits limits;
  limits.bytes_max = static_cast<uint64_t>(bytes_max);
  limits.depth_max = body_depth_max;
  // Which of two equal keys counts is read differently by different programs: neither does here.
  limits.duplicate_keys_refused = true;
  auto body = base::parse_json(request.body, "the body", limits);
  if (body) return std::move(*body);
  const bool too_long = request.body.size() > static_cast<uint64_t>(bytes_max);
  return refuse(too_long ? 413 : 400, too_long ? "request_too_large" : "invalid_json",
                body.error().message());
}

}  // namespace

net::Response fault_response(int status, std::string_view reason) {
  std::string_view code = "bad_request";
  switch (status) {
    case 408:
      code = "too_slow";
      break;
    case 413:
      code = "request_too_large";
      break;
    case 414:
    case 431:
      code = "header_too_large";
      break;
    case 503:
      code = "overloaded";
      break;
    default:
      break;
  }
  ApiError error = make_error(status, code, std::string(reason));
  if (status == 503) error.retry_after_ms = 2'000;
  if (status == 413) error.extra = {{"bytes_max", body_bytes_max}};
  net::Response response = error_response(error);
  add_policy_headers(response.headers, true);
  return response;
}

bool match_path(std::string_view pattern, std::string_view path,
                std::vector<std::string>& parameters) {
  parameters.clear();
  while (!pattern.empty()) {
    if (pattern.front() != '{') {
      if (path.empty() || path.front() != pattern.front()) return false;
      pattern.remove_prefix(1);
      path.remove_prefix(1);
      continue;
    }
    const size_t close = pattern.find('}');
    const bool rest = pattern[close - 1] == '*';
    const size_t end = rest ? path.size() : std::min(path.find('/'), path.size());
    if (end == 0) return false;
    parameters.emplace_back(path.substr(0, end));
    path.remove_prefix(end);
    pattern.remove_prefix(close + 1);
  }
  return path.empty();
}

Middleware::Found Middleware::find(const std::string& method, std::string_view path) const {
  Found found;
  for (const Route& route : routes_) {
    if (!match_path(route.pattern, path, found.parameters)) continue;
    // A HEAD is a GET whose body net leaves out; it makes sense for pages and documents.
    const bool is_head = method == "HEAD" && route.method == "GET" && route.access == Access::open;
    if (route.method == method || is_head) {
      found.route = &route;
      return found;
    }
    found.allowed_methods += (found.allowed_methods.empty() ? "" : ", ") + route.method;
  }
  return found;
}

bool Middleware::host_allowed(const net::Request& request) const {
  const std::string_view host = request.header("host");
  const std::string port = ":" + std::to_string(context_.options.port);
  const auto names = [&](std::string_view name) {
    if (!host.starts_with(name)) return false;
    const std::string_view rest = host.substr(name.size());
    return rest == port || (rest.empty() && context_.options.port == 80);
  };
  if (names("127.0.0.1") || names("localhost") || names("[::1]")) return true;
  for (const std::string& name : context_.options.hosts) {
    // Behind a proxy the port that people see is the proxy's own, usually unwritten.
    if (names(name) || host == name) return true;
  }
  return false;
}

bool Middleware::origin_allowed(const net::Request& request) const {
  const std::string_view site = request.header("sec-fetch-site");
  if (!site.empty() && site != "same-origin" && site != "none") {
    // A link on another page may open the site; it can do nothing else here.
    return request.method == "GET" && request.header("sec-fetch-mode") == "navigate" &&
           request.header("sec-fetch-dest") == "document";
  }
  const std::string_view origin = request.header("origin");
  if (origin.empty()) return true;
  const std::string_view host = request.header("host");
  return origin == "http://" + std::string(host) || origin == "https://" + std::string(host);
}

// What is wrong with the credentials, or nothing; and the number of the browser's session.
std::pair<std::optional<ApiError>, uint64_t> Middleware::authenticate(
    const Route& route, const net::Request& request) const {
  if (route.access == Access::open) return {std::nullopt, 0};
  if (route.access == Access::key) {
    const std::string_view key = bearer_of(request.header("authorization"));
    if (!key.empty() && context_.api_key.matches(key)) return {std::nullopt, 0};
    return {make_error(401, "invalid_api_key",
                       key.empty() ? "this needs a header \"Authorization: Bearer sk-…\" with the "
                                     "server's API key"
                                   : "the API key is not this server's"),
            0};
  }
  const auto session = context_.sessions.find(session_cookie(request));
  if (session) return {std::nullopt, *session};
  return {make_error(401, "no_session", "your session has ended: sign in again"), 0};
}

bool Middleware::may_send_large(const net::Request& head) const {
  const Found found = find(head.method, head.path);
  if (found.route == nullptr || !(found.route->takes_pictures || found.route->takes_bytes)) {
    return false;
  }
  return host_allowed(head) && origin_allowed(head) && !authenticate(*found.route, head).first;
}

void Middleware::handle(std::shared_ptr<net::Exchange> exchange) {
  Call call;
  call.exchange = std::make_shared<GuardedExchange>(std::move(exchange), context_.metrics,
                                                    base::random_hex(*context_.options.random, 16));
  const net::Request& request = call.request();
  const auto answer = [&](const ApiError& error) {
    call.exchange->respond(error_for(request, error));
  };
  if (!host_allowed(request)) {
    return answer(make_error(403, "host_not_allowed", "this server is not known by that name"));
  }
  if (!origin_allowed(request)) {
    return answer(make_error(403, "cross_site", "requests from other sites are refused"));
  }
  Found found = find(request.method, request.path);
  if (found.route == nullptr) {
    if (found.allowed_methods.empty()) return answer_file_or_404(context_, call);
    net::Response response = error_response(
        make_error(405, "method_not_allowed", "this address knows: " + found.allowed_methods));
    response.headers.emplace_back("allow", found.allowed_methods);
    return call.exchange->respond(std::move(response));
  }
  const Route& route = *found.route;
  call.parameters = std::move(found.parameters);
  call.beta = request.path.starts_with("/beta/");
  const auto [error, session] = authenticate(route, request);
  if (error) return answer(*error);
  call.session = session;
  if (route.access == Access::session) call.cookie = session_cookie(request);
  const bool writes = request.method != "GET" && request.method != "HEAD";
  const std::string_view type = request.header("content-type");
  if (route.takes_bytes) {
    // No form and no link of another site can send these.
    if (!type.starts_with("image/") && type != "application/octet-stream") {
      return answer(make_error(415, "not_a_picture", "content-type must be that of a picture"));
    }
  } else if (writes && !is_json(type)) {
    return answer(make_error(415, "not_json", "content-type must be application/json"));
  }
  if (route.takes_body) {
    auto body = parse_body(request, route.takes_pictures ? picture_body_bytes_max : body_bytes_max);
    if (!body) return answer(body.error());
    call.body = std::move(*body);
  }
  route.endpoint(call);
}

}  // namespace api
