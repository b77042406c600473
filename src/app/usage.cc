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

}  // namespace

base::Result<void> check_verb(const std::vector<VerbText>& verbs, std::string_view word) {
  if (word.starts_with('-')) return {};
  std::vector<std::string> names;
  for (const VerbText& verb : verbs) {
    if (verb.name == word) return {};
    names.push_back(verb.name);
  }
  const std::string near = nearest(names, word);
  return base::fail(base::ErrorKind::wrong_usage, "there is no command " + base::shown_name(word),
                    "",
                    near.empty() ? "`nautile --help` lists the commands"
                                 : "did you mean `nautile " + near + "`?");
}

base::Error usage_error(const VerbText& verb, std::string refusal, std::string_view unexpected) {
  const std::string command = verb.name.empty() ? "nautile" : "nautile " + verb.name;
  base::Error usage{
      base::ErrorKind::wrong_usage,
      fmt::format("`{}` was not started: its command line is not acceptable", command),
      std::move(refusal), fmt::format("`{} --help` shows what it takes", command)};
  if (unexpected.empty()) return usage;
  usage.why = "there is no option " + base::shown_name(unexpected);
  std::vector<std::string> names;
  for (const OptionText& option : verb.options) {
    names.insert(names.end(), option.long_names.begin(), option.long_names.end());
  }
  const std::string near = nearest(names, unexpected);
  if (!near.empty()) usage.next = fmt::format("did you mean {}? {}", near, usage.next);
  return usage;
}

}  // namespace app
