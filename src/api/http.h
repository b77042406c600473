// What every endpoint shares: errors in the API's form, JSON answers, header helpers.
// No state; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "base/json.h"
#include "base/result.h"
#include "net/server.h"

namespace api {

// {"error":{"message","type","param","code"}} with its status. The message is for a person and
// never repeats what the client sent, except names cut by base::shown_name.
struct ApiError {
  int status = 400;
  std::string message;
  std::string code;             // "invalid_value"
  std::string param;            // "messages[0].role"; empty: null
  std::string reason;           // site only: the word by which the page tells cases apart
  int64_t retry_after_ms = -1;  // >= 0: Retry-After and retry-after-ms are sent
  base::Json::Object extra;     // further members beside "error"
};

// Of the site: with the word by which the page tells it apart.
ApiError with_reason(ApiError error, std::string_view reason);
ApiError refused_with(int status, std::string_view code, std::string message,
                      std::string_view reason);

template <class T>
using Parsed = tl::expected<T, ApiError>;
inline tl::unexpected<ApiError> refuse(ApiError error) {
  return tl::unexpected<ApiError>(std::move(error));
}
tl::unexpected<ApiError> refuse(int status, std::string code, std::string message,
                                std::string param = "");

// The error of a module below as a client sees it. Kind decides the status.
ApiError from_module(const base::Error& error);

// The message as a sentence: its first word has a capital, unless that is a name from a file or a
// request, which stay as they are ("The field top_p must be …").
std::string sentence_of(const ApiError& error);
base::Json error_json(const ApiError& error);
// {"kind","what","why","next","fr":{"what","why","next"}}: an error of a module whole, for a page
// that shows its three parts in the reader's language.
base::Json error_parts(const base::Error& error);
net::Response error_response(const ApiError& error);
net::Response json_response(const base::Json& body, int status = 200);
net::Response empty_response();  // 204

// "Retry-After" and its companions for `error`, if it has a time.
void add_retry_headers(const ApiError& error, net::Headers& headers);

// The value of one cookie in a Cookie header, or empty.
std::string_view cookie_value(std::string_view header, std::string_view name);
bool equal_ignoring_case(std::string_view a, std::string_view b);
// True if one of the comma-separated elements of `header` equals `token`, parameters dropped.
bool list_has(std::string_view header, std::string_view token);

}  // namespace api
