// What every request passes on its way in, and every answer on its way out. The order stands in
// middleware.cc and nowhere else.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/context.h"

namespace api {

// Everything from the first look at the headers to the call of an endpoint. Loop thread.
class Middleware {
 public:
  Middleware(Context& context, std::vector<Route> routes)
      : context_(context), routes_(std::move(routes)) {}
  void handle(std::shared_ptr<net::Exchange> exchange);
  // For net: whether the request with this head may have a body of picture_body_bytes_max.
  bool may_send_large(const net::Request& head) const;
  const std::vector<Route>& routes() const { return routes_; }

 private:
  struct Found {
    const Route* route = nullptr;
    std::vector<std::string> parameters;
    std::string allowed_methods;  // of the routes that match the path, when none matched the method
  };
  Found find(const std::string& method, std::string_view path) const;
  bool host_allowed(const net::Request& request) const;
  bool origin_allowed(const net::Request& request) const;
  std::pair<std::optional<ApiError>, uint64_t> authenticate(const Route& route,
                                                            const net::Request& request) const;

  Context& context_;
  std::vector<Route> routes_;
};

// The answer to a request that net refused before any route was looked for.
net::Response fault_response(int status, std::string_view reason);

// True if `path` matches `pattern`; {name} takes one segment, a last {name*} all that is left.
bool match_path(std::string_view pattern, std::string_view path,
                std::vector<std::string>& parameters);

}  // namespace api
