// The tree is compiled to a program for a backtracking matcher that keeps its own stack. A repeat
// of one class is a single instruction (`run`), so that the common `\s+` or `\p{L}+` leaves one
// entry on the stack and not one a character. Example: ` ?\p{L}+(?!\S)`
//   0 run classes[0] 0..1     1 run classes[1] 1..end    2 look (body 3..4) not, then 5
//   3 set classes[2]          4 accept                   5 accept
// Bodies of look-ahead and atomic groups are matched by a nested call, at most depth_max deep.
#include "text/regex.h"

#include <algorithm>

#include "text/regex_parse.h"

namespace text {

using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

constexpr size_t choices_max = 1 << 20;
enum ChoiceKind : uint32_t { choice_branch, choice_run };

}  // namespace

class RegexCompiler {
 public:
  RegexCompiler(std::string_view pattern, RegexTree tree, const RegexLimits& limits)
      : pattern_(pattern), tree_(std::move(tree)), limits_(limits) {}

  Result<Regex> compile() {
    TRY(emit(tree_.root));
    push({Regex::Op::accept});
    TRY(check_size());
    bool can_be_empty = true;
    CharSet first = first_of(tree_.root, can_be_empty);
    if (!can_be_empty) out_.first_.emplace(first);
    for (const CharSet& set : tree_.sets) out_.classes_.emplace_back(set);
    out_.sets_ = std::move(tree_.sets);
    return std::move(out_);
  }

 private:
  uint32_t here() const { return static_cast<uint32_t>(out_.program_.size()); }
  uint32_t push(Regex::Instruction instruction) {
    out_.program_.push_back(instruction);
    return here() - 1;
  }
  Result<void> check_size() {
    // Repeats of what compiles to nothing cost work without instructions.
    const bool small = out_.program_.size() <= limits_.instructions_max;
    if (small && ++work_ <= 16 * limits_.instructions_max) return {};
    return fail(ErrorKind::limit_exceeded,
                fmt::format("regular expression {}", base::shown_name(pattern_)),
                fmt::format("it compiles to more than {} instructions", limits_.instructions_max));
  }
  bool nullable(uint32_t index) const;
  CharSet first_of(uint32_t index, bool& can_be_empty) const;
  Result<void> emit(uint32_t index);
  Result<void> emit_repeat(const RegexNode& node);
  Result<void> emit_body(const RegexNode& node, Regex::Op op);
  uint32_t split(bool lazy) { return push({Regex::Op::split, 0, lazy ? 1u : 0u}); }
  // Sets where a split goes: `inside` is tried first unless it was made lazy.
  void aim(uint32_t at, uint32_t inside, uint32_t outside) {
    Regex::Instruction& instruction = out_.program_[at];
    const bool lazy = instruction.b == 1;
    instruction.a = lazy ? outside : inside;
    instruction.b = lazy ? inside : outside;
  }

  std::string_view pattern_;
  RegexTree tree_;
  const RegexLimits& limits_;
  size_t work_ = 0;
  Regex out_;
};

bool RegexCompiler::nullable(uint32_t index) const {
  const RegexNode& node = tree_.nodes[index];
  const auto each = [this](uint32_t child) { return nullable(child); };
  switch (node.kind) {
    case RegexNode::Kind::set:
      return false;
    case RegexNode::Kind::concat:
      return std::ranges::all_of(node.children, each);
    case RegexNode::Kind::alternate:
      return std::ranges::any_of(node.children, each);
    case RegexNode::Kind::repeat:
      return node.least == 0 || nullable(node.children[0]);
    case RegexNode::Kind::atomic:
      return nullable(node.children[0]);
    default:
      return true;
  }
}

// What a match of the node can begin with, and whether it can match without any character.
CharSet RegexCompiler::first_of(uint32_t index, bool& can_be_empty) const {
  const RegexNode& node = tree_.nodes[index];
  can_be_empty = nullable(index);
  CharSet first;
  bool ignored = false;
  if (node.kind == RegexNode::Kind::set) return tree_.sets[node.set];
  for (const uint32_t child : node.children) {
    if (node.kind == RegexNode::Kind::look) break;
    first.add(first_of(child, ignored));
    if (node.kind == RegexNode::Kind::concat && !nullable(child)) break;
  }
  return first;
}

Result<void> RegexCompiler::emit_body(const RegexNode& node, Regex::Op op) {
  const uint32_t at = push({op, 0, node.negated ? 1u : 0u});
  if (node.kind == RegexNode::Kind::repeat) {
    RegexNode greedy = node;
    greedy.possessive = false;
    TRY(emit_repeat(greedy));
  } else {
    TRY(emit(node.children[0]));
  }
  push({Regex::Op::accept});
  out_.program_[at].a = here();
  return {};
}

Result<void> RegexCompiler::emit_repeat(const RegexNode& node) {
  if (node.possessive) return emit_body(node, Regex::Op::atomic);
  const RegexNode& body = tree_.nodes[node.children[0]];
  if (body.kind == RegexNode::Kind::set && !node.lazy) {
    push({Regex::Op::run, body.set, 0, node.least, node.most});
    return {};
  }
  for (uint32_t i = 0; i < node.least; ++i) {
    TRY(emit(node.children[0]));
    TRY(check_size());
  }
  if (node.most == no_end) {
    if (nullable(node.children[0])) {
      return fail(ErrorKind::unsupported,
                  fmt::format("regular expression {}", base::shown_name(pattern_)),
                  "a repeat without end of something that can match nothing");
    }
    const uint32_t loop = split(node.lazy);
    TRY(emit(node.children[0]));
    push({Regex::Op::jump, loop});
    aim(loop, loop + 1, here());
    return {};
  }
  std::vector<uint32_t> splits;
  for (uint32_t i = node.least; i < node.most; ++i) {
    splits.push_back(split(node.lazy));
    TRY(emit(node.children[0]));
    TRY(check_size());
  }
  for (const uint32_t at : splits) aim(at, at + 1, here());
  return {};
}

Result<void> RegexCompiler::emit(uint32_t index) {
  const RegexNode& node = tree_.nodes[index];
  TRY(check_size());
  switch (node.kind) {
    case RegexNode::Kind::empty:
      return {};
    case RegexNode::Kind::set:
      push({Regex::Op::set, node.set});
      return {};
    case RegexNode::Kind::concat:
      for (const uint32_t child : node.children) TRY(emit(child));
      return {};
    case RegexNode::Kind::alternate: {
      std::vector<uint32_t> jumps;
      for (size_t i = 0; i + 1 < node.children.size(); ++i) {
        const uint32_t at = split(false);
        TRY(emit(node.children[i]));
        jumps.push_back(push({Regex::Op::jump}));
        aim(at, at + 1, here());
      }
      TRY(emit(node.children.back()));
      for (const uint32_t jump : jumps) out_.program_[jump].a = here();
      return {};
    }
    case RegexNode::Kind::repeat:
      return emit_repeat(node);
    case RegexNode::Kind::look:
      return emit_body(node, Regex::Op::look);
    case RegexNode::Kind::atomic:
      return emit_body(node, Regex::Op::atomic);
    case RegexNode::Kind::assertion:
      push({node.assertion, node.set});
      return {};
  }
  return {};
}

Result<Regex> Regex::compile(std::string_view pattern, const RegexLimits& limits) {
  ASSIGN(RegexTree tree, parse_regex(pattern, limits));
  return RegexCompiler(pattern, std::move(tree), limits).compile();
}

bool Regex::same_as(const Regex& other) const {
  return program_ == other.program_ && sets_ == other.sets_;
}

bool Regex::holds(const Instruction& in, std::string_view text, size_t at) const {
  const bool begin = at == 0, end = at == text.size();
  switch (in.op) {
    case Op::line_begin:
      return begin || (text[at - 1] == '\n' && !end);
    case Op::line_end:
      return end || text[at] == '\n';
    case Op::text_begin:
      return begin;
    case Op::text_end:
      return end;
    case Op::text_end_newline:
      return end || (at + 1 == text.size() && text[at] == '\n');
    default:
      break;
  }
  const CharClass& word = classes_[in.a];
  const bool before = !begin && word.contains(decode_before(text, at).code_point);
  const bool after = !end && word.contains(decode_at(text, at).code_point);
  return (before != after) == (in.op == Op::word_edge);
}

std::optional<size_t> Regex::match(std::string_view text, uint32_t pc, size_t at,
                                   RegexBudget& budget) const {
  auto& choices = budget.choices;
  const size_t floor = choices.size();
  for (;;) {
    if (budget.steps_left == 0 || choices.size() > choices_max) {
      budget.steps_left = 0;
      choices.resize(floor);
      return std::nullopt;
    }
    --budget.steps_left;
    const Instruction& in = program_[pc];
    bool ok = true;
    switch (in.op) {
      case Op::accept:
        choices.resize(floor);
        return at;
      case Op::jump:
        pc = in.a;
        continue;
      case Op::split:
        choices.push_back({in.b, choice_branch, at, 0});
        pc = in.a;
        continue;
      case Op::set: {
        const Decoded d = at < text.size() ? decode_at(text, at) : Decoded{CharSet::end, 0};
        ok = at < text.size() && classes_[in.a].contains(d.code_point);
        at += d.bytes;
        ++pc;
        break;
      }
      case Op::run:
        ok = run(in, text, pc, at, budget);
        ++pc;
        break;
      case Op::look:
      case Op::atomic: {
        const auto end = match(text, pc + 1, at, budget);
        if (budget.steps_left == 0) continue;
        ok = end.has_value() != (in.op == Op::look && in.b == 1);
        if (ok && in.op == Op::atomic) at = *end;
        pc = in.a;
        break;
      }
      default:
        ok = holds(in, text, at);
        ++pc;
        break;
    }
    if (ok) continue;
    if (choices.size() == floor) return std::nullopt;
    Choice& choice = choices.back();
    pc = choice.pc;
    if (choice.kind == choice_run) {
      choice.at -= decode_before(text, choice.at).bytes;
      at = choice.at;
      if (at == choice.least) choices.pop_back();
    } else {
      at = choice.at;
      choices.pop_back();
    }
  }
}

// Takes as many members as there are and leaves one choice that gives them back one by one.
bool Regex::run(const Instruction& in, std::string_view text, uint32_t pc, size_t& at,
                RegexBudget& budget) const {
  const CharClass& members = classes_[in.a];
  size_t least_end = at;
  uint32_t count = 0;
  while (count < in.most && at < text.size()) {
    const Decoded d = decode_at(text, at);
    if (!members.contains(d.code_point)) break;
    at += d.bytes;
    if (++count == in.least) least_end = at;
  }
  // Reading on costs steps too: a run is not free because it is one instruction.
  budget.steps_left -= std::min<uint64_t>(budget.steps_left, count / 8);
  if (count < in.least) return false;
  if (count > in.least) budget.choices.push_back({pc + 1, choice_run, at, least_end});
  return true;
}

std::optional<Regex::Match> Regex::find(std::string_view text, size_t from,
                                        RegexBudget& budget) const {
  while (from <= text.size() && budget.steps_left > 0) {
    if (first_) {
      while (from < text.size()) {
        const Decoded d = decode_at(text, from);
        if (first_->contains(d.code_point)) break;
        from += d.bytes;
      }
      if (from == text.size()) return std::nullopt;
    }
    if (const auto end = match(text, 0, from, budget)) return Match{from, *end};
    if (from == text.size()) break;
    from += decode_at(text, from).bytes;
  }
  return std::nullopt;
}

}  // namespace text
