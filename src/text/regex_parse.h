// The syntax tree of an expression, as regex_parse.cc reads it and regex_compile.cc compiles it.
// Nodes refer to each other by index; 0 is never a child. Inner door of the regex files.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/char_set.h"
#include "text/regex.h"

namespace text {

inline constexpr uint32_t no_end = UINT32_MAX;  // of a repetition

struct RegexNode {
  enum class Kind : uint8_t { empty, set, concat, alternate, repeat, look, atomic, assertion };
  Kind kind = Kind::empty;
  uint32_t set = 0;                // kind set, and word edges: index into RegexTree::sets
  std::vector<uint32_t> children;  // concat, alternate; one for repeat, look, atomic
  uint32_t least = 0, most = 0;    // repeat; most may be no_end
  bool lazy = false, possessive = false;
  bool negated = false;  // look
  Regex::Op assertion = Regex::Op::accept;
};

struct RegexTree {
  std::vector<RegexNode> nodes;
  std::vector<CharSet> sets;  // no two equal
  uint32_t root = 0;
};

base::Result<RegexTree> parse_regex(std::string_view pattern, const RegexLimits& limits);

}  // namespace text
