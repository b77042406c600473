// The site's pages and files, and error pages that need neither JavaScript nor a style sheet.
#include <algorithm>

#include "api/context.h"

namespace api {

const StaticFile* StaticTable::find(std::string_view path) const {
  const auto at = std::find_if(files_.begin(), files_.end(),
                               [&](const StaticFile& file) { return file.path == path; });
  return at == files_.end() ? nullptr : &*at;
}

namespace {

std::string_view title_of(int status) {
  switch (status) {
    case 401:
      return "Please sign in";
    case 403:
      return "Refused";
    case 404:
      return "Nothing here";
    case 405:
      return "Not this way";
    case 429:
      return "Too many at once";
    case 503:
      return "Not ready yet";
    default:
      return "That did not work";
  }
}

// Messages are ours, but they may hold a name cut by shown_name.
std::string html_escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

void answer_file(const Call& call, const StaticFile& file, int status = 200) {
  const net::Request& request = call.request();
  net::Response response;
  response.status = status;
  const bool gzip = !file.gzip.empty() && list_has(request.header("accept-encoding"), "gzip");
  response.headers = {
      {"content-type", std::string(file.content_type)},
      {"etag", std::string(file.etag)},
      {"vary", "accept-encoding"},
      {"cache-control", file.hashed_name ? "public, max-age=31536000, immutable" : "no-cache"}};
  if (status == 200 && !file.etag.empty() && list_has(request.header("if-none-match"), file.etag)) {
    response.status = 304;
    return call.exchange->respond(std::move(response));
  }
  if (gzip) response.headers.emplace_back("content-encoding", "gzip");
  response.static_body = gzip ? file.gzip : file.bytes;
  call.exchange->respond(std::move(response));
}

void answer_shell(Context& context, Call& call) {
  if (const StaticFile* shell = context.options.files->find("/index.html")) {
    return answer_file(call, *shell);
  }
  ApiError error;
  error.status = 503;
  error.code = "site_not_built";
  error.message = "this program was built without its site: the API works, the pages do not";
  call.exchange->respond(error_for(call.request(), error));
}

void answer_not_found(Call& call) {
  ApiError error;
  error.status = 404;
  error.code = "not_found";
  error.message = "there is nothing at this address";
  call.exchange->respond(error_for(call.request(), error));
}

}  // namespace

net::Response error_for(const net::Request& request, const ApiError& error) {
  const bool page = (request.method == "GET" || request.method == "HEAD") &&
                    list_has(request.header("accept"), "text/html");
  if (!page) return error_response(error);
  net::Response response;
  response.status = error.status;
  response.headers = {{"content-type", "text/html; charset=utf-8"}, {"cache-control", "no-store"}};
  add_retry_headers(error, response.headers);
  const std::string_view title = title_of(error.status);
  response.body = fmt::format(
      "<!doctype html><html lang=en><meta charset=utf-8>"
      "<meta name=viewport content=\"width=device-width\">"
      "<meta name=color-scheme content=\"light dark\"><title>Nautile</title>"
      "<main><h1>{}</h1><p>{} ({})<p><a href=\"/\">Nautile</a></main></html>\n",
      title, html_escaped(error.message.substr(0, 1024)), error.status);
  return response;
}

void answer_file_or_404(Context& context, Call& call) {
  const net::Request& request = call.request();
  const bool reads = request.method == "GET" || request.method == "HEAD";
  const StaticFile* file = reads ? context.options.files->find(request.path) : nullptr;
  if (file == nullptr) return answer_not_found(call);
  answer_file(call, *file);
}

void add_page_routes(Context& context, std::vector<Route>& routes) {
  const auto shell = [&context](Call& call) { answer_shell(context, call); };
  for (const char* path :
       {"/", "/signin", "/c/{id}", "/settings", "/settings/{page}", "/catalogue"}) {
    routes.push_back({"GET", path, Access::open, false, shell});
  }
  // Once somebody owns the server there is nothing to set up, for nobody to find.
  routes.push_back({"GET", "/setup", Access::open, false, [&context](Call& call) {
                      if (context.sessions.owned()) return answer_not_found(call);
                      answer_shell(context, call);
                    }});
}

}  // namespace api
