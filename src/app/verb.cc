#include "app/verb.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <unistd.h>

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

CLI::App* declare_verb(CLI::App& root, const char* name, const char* summary,
                       const char* examples) {
  CLI::App* verb = root.add_subcommand(name, summary);
  verb->footer(std::string("Examples:\n") + examples);
  return verb;
}

namespace {

constexpr size_t typing_errors_max = 2;

// Insertions, deletions and replacements that turn one word into the other (Levenshtein).
size_t distance(std::string_view from, std::string_view to) {
  std::vector<size_t> row(to.size() + 1);
  for (size_t j = 0; j <= to.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= from.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= to.size(); ++j) {
      const size_t replaced = diagonal + (from[i - 1] == to[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

base::Result<void> check_verb(const CLI::App& root, std::string_view word) {
  if (word.starts_with('-')) return {};
  std::string nearest;
  size_t nearest_distance = typing_errors_max + 1;
  for (const CLI::App* verb : root.get_subcommands({})) {
    if (verb->get_name() == word) return {};
    const size_t errors = distance(word.substr(0, 64), verb->get_name());
    if (errors < nearest_distance) {
      nearest_distance = errors;
      nearest = verb->get_name();
    }
  }
  return base::fail(base::ErrorKind::wrong_usage, "there is no command " + base::shown_name(word),
                    "",
                    nearest.empty() ? "`nautile --help` lists the commands"
                                    : "did you mean `nautile " + nearest + "`?");
}

void offer_setting(CLI::App* verb, Session& session, std::string_view key) {
  const SettingSpec* spec = find_spec(key);
  CLI::Option* option = verb->add_option_function<std::vector<std::string>>(
      "--" + std::string(key),
      [&session, key = std::string(key)](const std::vector<std::string>& values) {
        session.flags[key] = values;
      },
      std::string(spec->help));
  option->type_name(spec->kind == SettingSpec::Kind::integer ? "N" : "VALUE");
  option->expected(1);
  if (spec->kind == SettingSpec::Kind::list) {
    option->take_all();
  } else {
    option->take_last();
  }
}

void print_error(const Session& session, const base::Error& error) {
  std::string text = "nautile: " + error.what;
  if (!error.why.empty()) text += ": " + error.why;
  text += "\n";
  if (!error.next.empty()) {
    text += base::say(session.language, base::Message::error_next, error.next) + "\n";
  }
  std::fputs(text.c_str(), stderr);
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

base::Result<std::vector<int32_t>> parse_ids(std::string_view json, std::string_view what) {
  ASSIGN(const base::Json parsed, base::parse_json(json, what));
  const auto refused = [&](std::string why) {
    return base::fail(base::ErrorKind::invalid_input,
                      fmt::format("{} is not a list of token ids", what), std::move(why),
                      "give a JSON array of whole numbers, as `nautile tokenize` prints it");
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
