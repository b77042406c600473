// Regular expressions of pre-tokenisers, with the meaning they have in Oniguruma (leftmost match,
// alternatives in order, greedy with backtracking), for the constructs that such files use:
// alternation, groups, classes (ranges, negation, nesting, &&, \p{..} general categories), \s \d \w
// \h and their negations, (?i:..), quantifiers greedy, lazy and possessive, {m,n}, look-ahead,
// (?>..), ^ $ \A \z \Z \b \B. Anything else is an `unsupported` error, never another meaning.
//
// Bounded: the pattern, its nesting and the program have limits; a search stops when its steps are
// used up. Immutable after compile(); any thread. No recursion on the text.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/char_set.h"

namespace text {

struct RegexLimits {
  size_t pattern_bytes_max = 64 << 10;
  int depth_max = 60;  // of groups and classes
  size_t instructions_max = 20'000;
  size_t classes_max = 500;    // 8 KB each
  uint32_t repeat_max = 1000;  // of {m,n}
};

// The work that searches may still do, and memory they share. One per call, not per thread.
struct RegexBudget {
  explicit RegexBudget(uint64_t steps) : steps_left(steps) {}
  uint64_t steps_left;  // 0: used up; every search fails from then on
  struct Choice {       // where to go on if what was tried fails
    uint32_t pc;
    uint32_t kind;
    size_t at, least;  // least: how far a run may give back
  };
  std::vector<Choice> choices;
};

class Regex {
 public:
  struct Match {
    size_t begin, end;
  };
  enum class Op : uint8_t {
    set,     // one member of classes[a]
    run,     // least..most members of classes[a], as many as possible, giving back one by one
    split,   // go to a; if that fails, to b
    jump,    // to a
    look,    // body at pc + 1, then a; negated if b
    atomic,  // body at pc + 1, matched once and for all, then a
    line_begin,
    line_end,
    text_begin,
    text_end,
    text_end_newline,
    word_edge,  // of classes[a]
    no_word_edge,
    accept  // end of the program or of a body
  };
  struct Instruction {
    Op op;
    uint32_t a = 0, b = 0;
    uint32_t least = 0, most = 0;  // most UINT32_MAX: no end
    friend bool operator==(const Instruction&, const Instruction&) = default;
  };

  static base::Result<Regex> compile(std::string_view pattern, const RegexLimits& limits = {});

  // The leftmost match that begins at `from` or later; nothing also when the budget is used up.
  std::optional<Match> find(std::string_view text, size_t from, RegexBudget& budget) const;

  // Same program: the expressions mean the same, however they are spelled.
  bool same_as(const Regex& other) const;

  const std::vector<Instruction>& program() const { return program_; }
  const CharClass& char_class(uint32_t index) const { return classes_[index]; }
  const CharSet& char_set(uint32_t index) const { return sets_[index]; }

 private:
  using Choice = RegexBudget::Choice;
  friend class RegexCompiler;
  // The end of a match at `at`, or nothing.
  std::optional<size_t> match(std::string_view text, uint32_t pc, size_t at,
                              RegexBudget& budget) const;
  bool run(const Instruction& in, std::string_view text, uint32_t pc, size_t& at,
           RegexBudget& budget) const;
  bool holds(const Instruction& in, std::string_view text, size_t at) const;

  std::vector<Instruction> program_;
  std::vector<CharSet> sets_;
  std::vector<CharClass> classes_;
  std::optional<CharClass> first_;  // what a match can begin with; absent: anything, or nothing
};

}  // namespace text
