#include "app/usage.h"

#include <algorithm>
#include <cctype>
#include <vector>

namespace app {
namespace {

constexpr size_t typing_errors_max = 2;
constexpr size_t word_compared_max = 64;

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

// Of `words` the one that differs by the fewest typing errors; empty if none is near.
std::string nearest(const std::vector<std::string>& words, std::string_view typed) {
  std::string found;
  size_t least = typing_errors_max + 1;
  for (const std::string& word : words) {
    const size_t errors = distance(typed.substr(0, word_compared_max), word);
    if (errors < least) {
      least = errors;
      found = word;
    }
  }
  return found;
}

const CLI::App* find_verb(const CLI::App& root, std::string_view name) {
  for (const CLI::App* verb : root.get_subcommands({})) {
    if (verb->get_name() == name) return verb;
  }
  return nullptr;
}

// "--tmp" of the parser's "The following arguments were not expected: 1 --tmp".
std::string unexpected_option(const CLI::ParseError& error) {
  if (error.get_exit_code() != static_cast<int>(CLI::ExitCodes::ExtrasError)) return {};
  const std::string text = error.what();
  const size_t dashes = text.find(" --");
  if (dashes == std::string::npos) return {};
  const size_t begin = dashes + 1;
  return text.substr(begin, text.find_first_of(" =", begin) - begin);
}

std::vector<std::string> options_of(const CLI::App& verb) {
  std::vector<std::string> names;
  for (const CLI::Option* option : verb.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

}  // namespace

base::Result<void> check_verb(const CLI::App& root, std::string_view word) {
  if (word.starts_with('-') || find_verb(root, word) != nullptr) return {};
  std::vector<std::string> verbs;
  for (const CLI::App* verb : root.get_subcommands({})) verbs.push_back(verb->get_name());
  const std::string near = nearest(verbs, word);
  return base::fail(base::ErrorKind::wrong_usage, "there is no command " + base::shown_name(word),
                    "",
                    near.empty() ? "`nautile --help` lists the commands"
                                 : "did you mean `nautile " + near + "`?");
}

base::Error usage_error(const CLI::App& root, std::string_view verb, const CLI::ParseError& error) {
  const CLI::App* found = find_verb(root, verb);
  const std::string command = found == nullptr ? "nautile" : "nautile " + found->get_name();
  base::Error usage{
      base::ErrorKind::wrong_usage,
      fmt::format("`{}` was not started: its command line is not acceptable", command),
      error.what(), fmt::format("`{} --help` shows what it takes", command)};
  const std::string option = unexpected_option(error);
  if (!option.empty()) {
    usage.why = "there is no option " + base::shown_name(option);
    const std::string near = nearest(options_of(found == nullptr ? root : *found), option);
    if (!near.empty()) usage.next = fmt::format("did you mean {}? {}", near, usage.next);
  }
  return usage;
}

}  // namespace app
