// What is wrong with a command line, as an Error of three parts: an unknown verb or option with the
// nearest one that there is, and what the parser refuses.
#pragma once

#include <CLI/CLI.hpp>
#include <string_view>

#include "base/result.h"

namespace app {

// wrong_usage with the nearest verb if `word` is neither an option nor a verb of `root`.
base::Result<void> check_verb(const CLI::App& root, std::string_view word);

// The parser's refusal of the words after `verb` (empty: there was none), as wrong_usage.
base::Error usage_error(const CLI::App& root, std::string_view verb, const CLI::ParseError& error);

}  // namespace app
