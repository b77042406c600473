#include "app/verb.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <unistd.h>

#include "base/bytes.h"
#include "base/json.h"

namespace app {

int exit_code(base::ErrorKind kind) {
  using base::ErrorKind;
  switch (kind) {
    case ErrorKind::invalid_input:
    case ErrorKind::unsupported:
    case ErrorKind::limit_exceeded:
      return exit_refused;
    case ErrorKind::out_of_memory:
    case ErrorKind::out_of_disk:
      return exit_no_room;
    case ErrorKind::unavailable:
      return exit_unreachable;
    case ErrorKind::interrupted:
      return exit_interrupted;
    case ErrorKind::wrong_usage:
      return exit_usage;
    case ErrorKind::not_found:
    case ErrorKind::io:
    case ErrorKind::internal:
      return exit_failed;
  }
  return exit_failed;
}

namespace {

// For an error that does not say what to do.
base::Message next_step(base::ErrorKind kind) {
  using base::ErrorKind;
  using base::Message;
  switch (kind) {
    case ErrorKind::invalid_input:
      return Message::next_invalid_input;
    case ErrorKind::unsupported:
      return Message::next_unsupported;
    case ErrorKind::limit_exceeded:
      return Message::next_limit_exceeded;
    case ErrorKind::out_of_memory:
      return Message::next_out_of_memory;
    case ErrorKind::out_of_disk:
      return Message::next_out_of_disk;
    case ErrorKind::unavailable:
      return Message::next_unavailable;
    case ErrorKind::interrupted:
      return Message::next_interrupted;
    case ErrorKind::wrong_usage:
      return Message::next_wrong_usage;
    case ErrorKind::not_found:
    case ErrorKind::io:
      return Message::next_io;
    case ErrorKind::internal:
      return Message::next_internal;
  }
  return Message::next_internal;
}

}  // namespace

void print_error(const Session& session, const base::Error& error) {
  const auto said = [&](std::string_view part) { return base::translated(session.language, part); };
  std::string text = "nautile: " + said(error.what);
  const bool french = session.language == base::Language::french;
  if (!error.why.empty()) text += (french ? "\u00a0: " : ": ") + said(error.why);
  const std::string next =
      error.next.empty() ? base::say(session.language, next_step(error.kind)) : said(error.next);
  text += "\n" + base::say(session.language, base::Message::error_next, next) + "\n";
  std::fputs(text.c_str(), stderr);
}

void print_line(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fputc('\n', stdout);
}

base::Result<void> finish_output() {
  // What a failed write left in the buffer is tried again here, so errno is the reason. A write
  // that failed before and would succeed now has still lost its bytes.
  const int reason = std::fflush(stdout) != 0 ? errno : std::ferror(stdout) != 0 ? ENOSPC : 0;
  if (reason == 0 || reason == EPIPE) return {};
  const bool full = reason == ENOSPC || reason == EDQUOT || reason == EFBIG;
  return base::fail(full ? base::ErrorKind::out_of_disk : base::ErrorKind::io,
                    "the output could not be written to its end", std::strerror(reason),
                    full ? "free some space, or send the output to another disk"
                         : "send the output to another place");
}

base::Result<void> check_utf8(std::string_view text, std::string_view what) {
  if (base::is_utf8(text)) return {};
  size_t at = 0;
  for (size_t length = 1; length <= 4 && at < text.size(); ++length) {
    if (!base::is_utf8(text.substr(at, length))) continue;
    at += length;
    length = 0;
  }
  return base::fail(base::ErrorKind::invalid_input, fmt::format("{} is not UTF-8", what),
                    fmt::format("byte {} does not belong to a character", at),
                    "convert it first, for example with iconv -t UTF-8");
}

base::Result<std::string> read_stdin(uint64_t bytes_max) {
  std::string text;
  char buffer[64 * 1024];
  for (;;) {
    const ssize_t got = read(STDIN_FILENO, buffer, sizeof buffer);
    if (got == 0) return text;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return base::fail(base::ErrorKind::io, "cannot read standard input", std::strerror(errno));
    }
    text.append(buffer, static_cast<size_t>(got));
    if (text.size() > bytes_max) {
      return base::fail(base::ErrorKind::limit_exceeded, "standard input is too long",
                        fmt::format("at most {} bytes are read", bytes_max));
    }
  }
}

base::Result<std::string> read_text_argument(const std::string& path, uint64_t bytes_max) {
  if (path == "-") return read_stdin(bytes_max);
  return read_file(path, bytes_max);
}

base::Result<base::Json> parse_input(std::string_view json, std::string_view what,
                                     std::string_view wanted) {
  auto parsed = base::parse_json(json, what);
  if (parsed || !parsed.error().next.empty()) return parsed;
  base::Error error = parsed.error();
  error.next = fmt::format("give {}", wanted);
  return base::fail(std::move(error));
}

base::Result<std::vector<int32_t>> parse_ids(std::string_view json, std::string_view what) {
  constexpr std::string_view wanted =
      "a JSON array of whole numbers, as `nautile tokenize` prints it";
  ASSIGN(const base::Json parsed, parse_input(json, what, wanted));
  const auto refused = [&](std::string why) {
    return base::fail(base::ErrorKind::invalid_input,
                      fmt::format("{} is not a list of token ids", what), std::move(why),
                      fmt::format("give {}", wanted));
  };
  if (!parsed.is_array()) return refused("it is not a JSON array");
  std::vector<int32_t> ids;
  ids.reserve(parsed.as_array().size());
  for (const base::Json& element : parsed.as_array()) {
    if (!element.is_integer() || element.as_integer() < 0 || element.as_integer() > INT32_MAX) {
      return refused(fmt::format("element {} is not an id", ids.size()));
    }
    ids.push_back(static_cast<int32_t>(element.as_integer()));
  }
  return ids;
}

}  // namespace app
