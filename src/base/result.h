// Result<T>: a value or an Error, for everything that can fail because of the world outside
// (a file, a packet, a person). Our own bugs are CHECKs (check.h); a library that throws is caught
// at its wall and turned into an Error. An Error is three sentences for a person: what happened,
// why, and what to do next. It never carries user text (prompts, answers, file contents).
#pragma once

#include <fmt/format.h>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace base {

enum class ErrorKind {
  invalid_input,   // a file or request is malformed: exit 3, HTTP 400
  unsupported,     // well formed, but a thing we do not do: exit 3, HTTP 400
  not_found,       // exit 1, HTTP 404
  out_of_memory,   // the machine cannot hold it: exit 4, HTTP 503
  out_of_disk,     // exit 4
  limit_exceeded,  // a named limit was passed: exit 3, HTTP 413 or 422
  unavailable,     // not now, perhaps later: exit 5, HTTP 503
  io,              // the operating system refused: exit 1, HTTP 500
  interrupted,     // Ctrl-C or cancelled: exit 130
  wrong_usage,     // command line: exit 2
  internal         // a fault of ours that could be contained: exit 1, HTTP 500
};

struct Error {
  ErrorKind kind = ErrorKind::internal;
  std::string what;  // "model.gguf: tensor blk.3.ffn_up: offset 4096 is past the end of the file"
  std::string why;   // "the file has 2048 bytes of data"; may be empty
  std::string next;  // "download it again, or check it with sha256sum"; may be empty

  // The three parts as one line of prose.
  std::string message() const;
};

// Any `return fail(...)` converts to every Result<T>.
template <class T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
  Result(tl::expected<T, Error> other) : tl::expected<T, Error>(std::move(other)) {}
};

inline tl::unexpected<Error> fail(ErrorKind kind, std::string what, std::string why = "",
                                  std::string next = "") {
  return tl::unexpected<Error>(Error{kind, std::move(what), std::move(why), std::move(next)});
}
inline tl::unexpected<Error> fail(Error error) { return tl::unexpected<Error>(std::move(error)); }

// A name from a foreign file, cut to 200 bytes and escaped, fit to stand in an Error.
std::string shown_name(std::string_view foreign);
// A text of another process, whole, with what a terminal would obey escaped: control characters and
// bytes that are no UTF-8.
std::string printable(std::string_view foreign);

}  // namespace base

// TRY(x): the value of Result x, or return its error from this function.
// ASSIGN(auto v, expr): the same as a declaration.
#define BASE_CONCAT_(a, b) a##b
#define BASE_CONCAT(a, b) BASE_CONCAT_(a, b)
#define TRY(expr)                                                          \
  do {                                                                     \
    auto&& try_result_ = (expr);                                           \
    if (!try_result_) return ::base::fail(std::move(try_result_).error()); \
  } while (false)
#define ASSIGN_IMPL_(tmp, declaration, expr)             \
  auto tmp = (expr);                                     \
  if (!tmp) return ::base::fail(std::move(tmp).error()); \
  declaration = std::move(*tmp)
#define ASSIGN(declaration, ...) \
  ASSIGN_IMPL_(BASE_CONCAT(assign_result_, __LINE__), declaration, (__VA_ARGS__))
