// What is wrong with a command line, as an Error of three parts: an unknown verb or option with the
// nearest one that there is, and what the parser refuses.
#pragma once

#include <string_view>
#include <vector>

#include "app/command_line.h"
#include "base/result.h"

namespace app {

// wrong_usage with the nearest verb if `word` is neither an option nor one of the verbs.
base::Result<void> check_verb(const std::vector<VerbText>& verbs, std::string_view word);

// The parser's refusal of the words after the verb, as wrong_usage. `verb`: the one that was
// chosen, or the program itself. `unexpected`: the first option that it does not have, or empty.
base::Error usage_error(const VerbText& verb, std::string refusal, std::string_view unexpected);

}  // namespace app
