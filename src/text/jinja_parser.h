// Parses the source of a template into a Program. Refuses nesting deeper than `depth_max` and trees
// of more than nodes_max nodes, so that neither parsing, running nor freeing can exhaust anything.
#pragma once

#include <string_view>

#include "base/result.h"
#include "text/jinja_ast.h"

namespace text::jinja {

inline constexpr size_t nodes_max = 50'000;

// Errors name the line.
base::Result<Program> parse(std::string_view source, int depth_max);

}  // namespace text::jinja
