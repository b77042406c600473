#include "api/http.h"

#include <algorithm>

#include "base/messages.h"

namespace api {
namespace {

std::string_view type_of(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 402:
      return "insufficient_quota";
    case 403:
      return "permission_error";
    case 429:
      return "rate_limit_error";
    case 500:
    case 503:
      return "server_error";
    default:
      return "invalid_request_error";
  }
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }

// A plain word gets its capital; "model.gguf", "top_k" and "https://…" are names.
std::string capitalised(std::string text) {
  const std::string_view first = std::string_view(text).substr(0, text.find_first_of(" ,:;"));
  const size_t end = first.size();
  if (end + 1 < text.size() && text[end] == ':' && text[end + 1] != ' ') return text;
  const bool plain = std::all_of(first.begin(), first.end(), [](char c) {
    return is_lower(lower(c)) || c == '-' || c == '\'' || static_cast<unsigned char>(c) >= 0x80;
  });
  if (plain && !first.empty() && is_lower(first.front())) {
    text.front() = static_cast<char>(text.front() - 'a' + 'A');
  }
  return text;
}

// "field must be …", where `field` is the whole of a name.
bool begins_with_name(std::string_view text, std::string_view name) {
  if (name.empty() || !text.starts_with(name)) return false;
  const char next = text.size() > name.size() ? text[name.size()] : ' ';
  return next == ' ' || next == ':' || next == '[' || next == '.';
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::string_view kind_word(base::ErrorKind kind) {
  using base::ErrorKind;
  switch (kind) {
    case ErrorKind::invalid_input:
      return "invalid_input";
    case ErrorKind::unsupported:
      return "unsupported";
    case ErrorKind::not_found:
      return "not_found";
    case ErrorKind::out_of_memory:
      return "out_of_memory";
    case ErrorKind::out_of_disk:
      return "out_of_disk";
    case ErrorKind::limit_exceeded:
      return "limit_exceeded";
    case ErrorKind::unavailable:
      return "unavailable";
    case ErrorKind::io:
      return "io";
    case ErrorKind::interrupted:
      return "interrupted";
    case ErrorKind::wrong_usage:
      return "wrong_usage";
    case ErrorKind::internal:
      break;
  }
  return "internal";
}

}  // namespace

ApiError with_reason(ApiError error, std::string_view reason) {
  error.reason = reason;
  return error;
}

ApiError refused_with(int status, std::string_view code, std::string message,
                      std::string_view reason) {
  ApiError error;
  error.status = status;
  error.code = code;
  error.message = std::move(message);
  return with_reason(std::move(error), reason);
}

tl::unexpected<ApiError> refuse(int status, std::string code, std::string message,
                                std::string param) {
  ApiError error;
  error.status = status;
  error.message = std::move(message);
  error.code = std::move(code);
  error.param = std::move(param);
  return tl::unexpected<ApiError>(std::move(error));
}

ApiError from_module(const base::Error& error) {
  ApiError out;
  out.message = capitalised(error.what);
  if (!error.why.empty()) out.message += ": " + error.why;
  if (!error.next.empty()) out.message += ". " + capitalised(error.next);
  switch (error.kind) {
    case base::ErrorKind::invalid_input:
    case base::ErrorKind::wrong_usage:
      out.status = 400;
      out.code = "invalid_request";
      break;
    case base::ErrorKind::unsupported:
      out.status = 400;
      out.code = "unsupported";
      break;
    case base::ErrorKind::not_found:
      out.status = 404;
      out.code = "not_found";
      break;
    case base::ErrorKind::limit_exceeded:
      // The engine refuses what does not fit into the context; OpenAI's clients know this code.
      out.status = 400;
      out.code = "context_length_exceeded";
      break;
    case base::ErrorKind::out_of_memory:
    case base::ErrorKind::unavailable:
    case base::ErrorKind::interrupted:
      out.status = 503;
      out.code = "engine_unavailable";
      out.retry_after_ms = 2'000;
      break;
    default:
      out.status = 500;
      out.code = "internal_error";
      break;
  }
  return out;
}

std::string sentence_of(const ApiError& error) {
  if (begins_with_name(error.message, error.param)) return "The field " + error.message;
  return capitalised(error.message);
}

base::Json error_json(const ApiError& error) {
  base::Json inner =
      base::Json::object({{"message", sentence_of(error)},
                          {"type", type_of(error.status)},
                          {"param", error.param.empty() ? base::Json() : base::Json(error.param)},
                          {"code", error.code.empty() ? base::Json() : base::Json(error.code)}});
  base::Json out = base::Json::object({{"error", std::move(inner)}});
  if (!error.reason.empty()) out.set("reason", error.reason);
  for (const auto& [key, value] : error.extra) out.set(key, value);
  return out;
}

base::Json error_parts(const base::Error& error) {
  const auto parts = [&](base::Language language) {
    const auto said = [&](const std::string& text) {
      return capitalised(base::translated(language, text));
    };
    return base::Json::object(
        {{"what", said(error.what)}, {"why", said(error.why)}, {"next", said(error.next)}});
  };
  base::Json out = parts(base::Language::english);
  out.set("kind", kind_word(error.kind));
  out.set("fr", parts(base::Language::french));
  return out;
}

void add_retry_headers(const ApiError& error, net::Headers& headers) {
  if (error.retry_after_ms < 0) return;
  headers.emplace_back("retry-after", std::to_string((error.retry_after_ms + 999) / 1000));
  headers.emplace_back("retry-after-ms", std::to_string(error.retry_after_ms));
  headers.emplace_back("x-should-retry", "true");
}

net::Response error_response(const ApiError& error) {
  net::Response response = json_response(error_json(error), error.status);
  if (error.status == 401) response.headers.emplace_back("www-authenticate", "Bearer");
  add_retry_headers(error, response.headers);
  return response;
}

net::Response json_response(const base::Json& body, int status) {
  net::Response response;
  response.status = status;
  response.headers = {{"content-type", "application/json; charset=utf-8"},
                      {"cache-control", "no-store"}};
  response.body = body.dump();
  return response;
}

net::Response empty_response() {
  net::Response response;
  response.status = 204;
  response.headers = {{"cache-control", "no-store"}};
  return response;
}

std::string_view cookie_value(std::string_view header, std::string_view name) {
  while (!header.empty()) {
    const size_t end = std::min(header.find(';'), header.size());
    const std::string_view pair = trimmed(header.substr(0, end));
    if (pair.size() > name.size() && pair.starts_with(name) && pair[name.size()] == '=') {
      return pair.substr(name.size() + 1);
    }
    header.remove_prefix(std::min(end + 1, header.size()));
  }
  return {};
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [](char x, char y) { return lower(x) == lower(y); });
}

bool list_has(std::string_view header, std::string_view token) {
  while (!header.empty()) {
    const size_t end = std::min(header.find(','), header.size());
    std::string_view element = header.substr(0, end);
    element = trimmed(element.substr(0, std::min(element.find(';'), element.size())));
    if (equal_ignoring_case(element, token)) return true;
    header.remove_prefix(std::min(end + 1, header.size()));
  }
  return false;
}

}  // namespace api
