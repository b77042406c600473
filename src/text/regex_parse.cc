// Grammar (a byte string of UTF-8; recursion only by groups and nested classes, under depth_max):
//   alternatives := sequence ('|' sequence)*
//   sequence     := (atom quantifier*)*
//   atom         := '(' group ')' | '[' class ']' | '\' escape | '.' | '^' | '$' | character
//   group        := '?:' | '?=' | '?!' | '?>' | '?i:' ... | '?i)' rest of the group | capturing
//   quantifier   := ('*' | '+' | '?') ('?' | '+')? | '{m,n}' '?'?
#include "text/regex_parse.h"

#include <algorithm>
#include <optional>
#include <tuple>

namespace text {
namespace {

using base::ErrorKind;
using base::fail;
using base::Result;
using Kind = RegexNode::Kind;

constexpr int quantifiers_of_one_atom_max = 4;

struct Named {
  std::string_view name;
  CategoryMask mask;
};
constexpr Named category_names[] = {{"L", mask_letter},
                                    {"M", mask_mark},
                                    {"N", mask_number},
                                    {"P", mask_punctuation},
                                    {"S", mask_symbol},
                                    {"Z", mask_separator},
                                    {"C", mask_other},
                                    {"Letter", mask_letter},
                                    {"Mark", mask_mark},
                                    {"Number", mask_number},
                                    {"Punctuation", mask_punctuation},
                                    {"Symbol", mask_symbol},
                                    {"Separator", mask_separator},
                                    {"Other", mask_other},
                                    {"Lu", 1u << 0},
                                    {"Ll", 1u << 1},
                                    {"Lt", 1u << 2},
                                    {"Lm", 1u << 3},
                                    {"Lo", 1u << 4},
                                    {"Mn", 1u << 5},
                                    {"Mc", 1u << 6},
                                    {"Me", 1u << 7},
                                    {"Nd", 1u << 8},
                                    {"Nl", 1u << 9},
                                    {"No", 1u << 10},
                                    {"Pc", 1u << 11},
                                    {"Pd", 1u << 12},
                                    {"Ps", 1u << 13},
                                    {"Pe", 1u << 14},
                                    {"Pi", 1u << 15},
                                    {"Pf", 1u << 16},
                                    {"Po", 1u << 17},
                                    {"Sm", 1u << 18},
                                    {"Sc", 1u << 19},
                                    {"Sk", 1u << 20},
                                    {"So", 1u << 21},
                                    {"Zs", 1u << 22},
                                    {"Zl", 1u << 23},
                                    {"Zp", 1u << 24},
                                    {"Cc", 1u << 25},
                                    {"Cf", 1u << 26},
                                    {"Cs", 1u << 27},
                                    {"Co", 1u << 28},
                                    {"Cn", 1u << 29},
                                    {"LC", 0x7}};

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

class Parser {
 public:
  Parser(std::string_view pattern, const RegexLimits& limits)
      : pattern_(pattern), limits_(limits) {}

  Result<RegexTree> parse() {
    tree_.nodes.emplace_back();
    ASSIGN(tree_.root, alternatives(0));
    if (!at_end()) return error(ErrorKind::invalid_input, "a ')' without '('");
    return std::move(tree_);
  }

 private:
  bool at_end() const { return at_ == pattern_.size(); }
  char peek() const { return at_end() ? '\0' : pattern_[at_]; }
  bool eat(std::string_view expected) {
    if (!pattern_.substr(at_).starts_with(expected)) return false;
    at_ += expected.size();
    return true;
  }
  uint32_t next_code_point() {
    const Decoded decoded = decode_at(pattern_, at_);
    at_ += decoded.bytes;
    return decoded.code_point;
  }
  tl::unexpected<base::Error> error(ErrorKind kind, std::string why) const {
    return fail(kind,
                fmt::format("regular expression {}, byte {}", base::shown_name(pattern_), at_),
                std::move(why));
  }
  // Expressions name the same few again and again.
  CharSet of_categories(CategoryMask mask) {
    for (const auto& [known, set] : made_) {
      if (known == mask) return set;
    }
    return made_.emplace_back(mask, CharSet::of_categories(mask)).second;
  }
  uint32_t add(RegexNode node) {
    tree_.nodes.push_back(std::move(node));
    return static_cast<uint32_t>(tree_.nodes.size() - 1);
  }

  Result<uint32_t> set_node(const CharSet& set);
  Result<uint32_t> alternatives(int depth);
  Result<uint32_t> sequence(int depth);
  Result<uint32_t> atom(int depth);
  Result<uint32_t> group(int depth);
  Result<uint32_t> quantified(uint32_t child);
  std::optional<RegexNode> quantifier();
  std::optional<std::pair<uint32_t, uint32_t>> interval();
  Result<uint32_t> escape_atom();
  // A class escape (\s, \p{..}), or nothing if what follows '\' is a single character.
  Result<std::optional<CharSet>> class_escape(bool in_class);
  Result<CharSet> property(bool negated);
  Result<uint32_t> character_escape();
  Result<CharSet> char_class(int depth);
  Result<CharSet> class_item(int depth);

  std::string_view pattern_;
  const RegexLimits& limits_;
  size_t at_ = 0;
  bool ignore_case_ = false;
  RegexTree tree_;
  std::vector<std::pair<CategoryMask, CharSet>> made_;
};

Result<uint32_t> Parser::set_node(const CharSet& set) {
  uint32_t index = 0;
  while (index < tree_.sets.size() && !(tree_.sets[index] == set)) ++index;
  if (index == tree_.sets.size()) {
    if (index >= limits_.classes_max) {
      return error(ErrorKind::limit_exceeded,
                   fmt::format("more than {} different classes", limits_.classes_max));
    }
    tree_.sets.push_back(set);
  }
  RegexNode node;
  node.kind = Kind::set;
  node.set = index;
  return add(std::move(node));
}

Result<uint32_t> Parser::alternatives(int depth) {
  if (depth > limits_.depth_max) {
    return error(ErrorKind::limit_exceeded,
                 fmt::format("groups nested deeper than {}", limits_.depth_max));
  }
  const bool outer_case = ignore_case_;
  RegexNode node;
  node.kind = Kind::alternate;
  do {
    ASSIGN(const uint32_t child, sequence(depth));
    node.children.push_back(child);
  } while (eat("|"));
  ignore_case_ = outer_case;
  if (node.children.size() == 1) return node.children[0];
  return add(std::move(node));
}

Result<uint32_t> Parser::sequence(int depth) {
  RegexNode node;
  node.kind = Kind::concat;
  while (!at_end() && peek() != '|' && peek() != ')') {
    if (eat("(?i)")) {
      ignore_case_ = true;
      continue;
    }
    ASSIGN(uint32_t child, atom(depth));
    ASSIGN(child, quantified(child));
    node.children.push_back(child);
  }
  if (node.children.size() == 1) return node.children[0];
  return add(std::move(node));
}

Result<uint32_t> Parser::group(int depth) {
  const bool outer_case = ignore_case_;
  RegexNode node;
  if (eat("?=") || eat("?!")) {
    node.kind = Kind::look;
    node.negated = pattern_[at_ - 1] == '!';
  } else if (eat("?>")) {
    node.kind = Kind::atomic;
  } else if (eat("?i:")) {
    ignore_case_ = true;
  } else if (eat("?-i:")) {
    ignore_case_ = false;
  } else if (!eat("?:") && peek() == '?') {
    return error(ErrorKind::unsupported, "a kind of group that is not supported");
  }
  ASSIGN(const uint32_t body, alternatives(depth + 1));
  ignore_case_ = outer_case;
  if (!eat(")")) return error(ErrorKind::invalid_input, "a '(' that is not closed");
  if (node.kind == Kind::empty) return body;
  node.children.push_back(body);
  return add(std::move(node));
}

Result<uint32_t> Parser::atom(int depth) {
  const auto assertion = [&](Regex::Op op) {
    RegexNode node;
    node.kind = Kind::assertion;
    node.assertion = op;
    return add(std::move(node));
  };
  if (eat("(")) return group(depth);
  if (eat("^")) return assertion(Regex::Op::line_begin);
  if (eat("$")) return assertion(Regex::Op::line_end);
  if (eat("\\A")) return assertion(Regex::Op::text_begin);
  if (eat("\\z")) return assertion(Regex::Op::text_end);
  if (eat("\\Z")) return assertion(Regex::Op::text_end_newline);
  if (eat("\\b") || eat("\\B")) {
    const bool edge = pattern_[at_ - 1] == 'b';
    ASSIGN(const uint32_t word, set_node(CharSet::word(/*in_class=*/false)));
    const uint32_t node = assertion(edge ? Regex::Op::word_edge : Regex::Op::no_word_edge);
    tree_.nodes[node].set = tree_.nodes[word].set;
    return node;
  }
  if (peek() == '*' || peek() == '+' || peek() == '?') {
    return error(ErrorKind::invalid_input, "a quantifier with nothing before it");
  }
  if (eat("[")) {
    ASSIGN(const CharSet set, char_class(depth + 1));
    return set_node(set);
  }
  if (eat(".")) {
    CharSet newline;
    newline.add('\n', '\n');
    return set_node(newline.complement());
  }
  if (eat("\\")) return escape_atom();
  CharSet set;
  const uint32_t c = next_code_point();
  set.add(c, c);
  if (ignore_case_) set.add_other_cases();
  return set_node(set);
}

Result<uint32_t> Parser::escape_atom() {
  ASSIGN(std::optional<CharSet> set, class_escape(false));
  if (!set) {
    ASSIGN(const uint32_t c, character_escape());
    set.emplace();
    set->add(c, c);
    if (ignore_case_) set->add_other_cases();
  }
  return set_node(*set);
}

std::optional<std::pair<uint32_t, uint32_t>> Parser::interval() {
  const size_t start = at_;
  const auto number = [&]() -> std::optional<uint32_t> {
    const size_t from = at_;
    uint64_t value = 0;
    while (peek() >= '0' && peek() <= '9' && !at_end()) {
      value = std::min<uint64_t>(value * 10 + static_cast<uint64_t>(peek() - '0'), no_end - 1);
      ++at_;
    }
    if (at_ == from) return std::nullopt;
    return static_cast<uint32_t>(value);
  };
  if (eat("{")) {
    const auto least = number();
    if (eat(",")) {
      const auto most = number();
      if ((least || most) && eat("}")) return std::pair(least.value_or(0), most.value_or(no_end));
    } else if (least && eat("}")) {
      return std::pair(*least, *least);
    }
  }
  at_ = start;  // not an interval: '{' stands for itself
  return std::nullopt;
}

std::optional<RegexNode> Parser::quantifier() {
  RegexNode node;
  node.kind = Kind::repeat;
  node.most = no_end;
  if (const auto range = interval()) {
    std::tie(node.least, node.most) = *range;
    // Of {n} a following '?' is a quantifier of its own, and so is '+' of any interval.
    node.lazy = node.least != node.most && eat("?");
    return node;
  }
  if (eat("+")) {
    node.least = 1;
  } else if (eat("?")) {
    node.most = 1;
  } else if (!eat("*")) {
    return std::nullopt;
  }
  node.lazy = eat("?");
  node.possessive = !node.lazy && eat("+");
  return node;
}

Result<uint32_t> Parser::quantified(uint32_t child) {
  for (int count = 0; auto node = quantifier(); ++count) {
    if (node->most < node->least) {
      return error(ErrorKind::invalid_input, "an interval from high to low");
    }
    const uint32_t largest = node->most == no_end ? node->least : node->most;
    if (largest > limits_.repeat_max || count >= quantifiers_of_one_atom_max) {
      return error(ErrorKind::limit_exceeded,
                   fmt::format("a repeat of more than {}, or more than {} repeats of repeats",
                               limits_.repeat_max, quantifiers_of_one_atom_max));
    }
    node->children.push_back(child);
    child = add(std::move(*node));
  }
  return child;
}

Result<CharSet> Parser::property(bool negated) {
  const bool braced = eat("{");
  const size_t close = braced ? pattern_.find('}', at_) : at_ + 1;
  if (close == std::string_view::npos || close > pattern_.size()) {
    return error(ErrorKind::invalid_input, "a property name that does not end");
  }
  std::string_view name = pattern_.substr(at_, close - at_);
  at_ = close + (braced ? 1 : 0);
  if (braced && name.starts_with('^')) {
    negated = !negated;
    name.remove_prefix(1);
  }
  for (const Named& known : category_names) {
    if (known.name != name) continue;
    const CharSet set = of_categories(known.mask);
    return negated ? set.complement() : set;
  }
  return error(ErrorKind::unsupported,
               fmt::format("the property {} is not one we know", base::shown_name(name)));
}

Result<std::optional<CharSet>> Parser::class_escape(bool in_class) {
  const char kind = peek();
  std::optional<CharSet> set;
  if (kind == 'p' || kind == 'P') {
    ++at_;
    ASSIGN(set, property(kind == 'P'));
    return set;
  }
  if (kind == 's' || kind == 'S') {
    set = CharSet::white_space();
  } else if (kind == 'd' || kind == 'D') {
    set = of_categories(mask_of(Category::Nd));
  } else if (kind == 'w' || kind == 'W') {
    set = CharSet::word(in_class);
  } else if (kind == 'h' || kind == 'H') {
    set.emplace();
    set->add('0', '9');
    set->add('A', 'F');
    set->add('a', 'f');
  } else {
    return set;
  }
  ++at_;
  if (kind < 'a') set = set->complement();
  return set;
}

Result<uint32_t> Parser::character_escape() {
  if (at_end()) return error(ErrorKind::invalid_input, "a '\\' at the end");
  const uint32_t c = next_code_point();
  constexpr std::string_view from = "rntfvae0", to("\r\n\t\f\v\a\x1b\0", 8);
  if (c < 0x80) {
    const size_t index = from.find(static_cast<char>(c));
    if (index != std::string_view::npos) {
      if (c == '0' && peek() >= '0' && peek() <= '7') {
        return error(ErrorKind::unsupported, "an octal escape");
      }
      return static_cast<uint32_t>(to[index]);
    }
  }
  if (c == 'x' || c == 'u') {
    const bool braced = c == 'x' && eat("{");
    const int digits_max = braced ? 6 : c == 'x' ? 2 : 4;
    uint32_t value = 0;
    int digits = 0;
    for (; digits < digits_max && hex_digit(peek()) >= 0; ++digits, ++at_) {
      value = value * 16 + static_cast<uint32_t>(hex_digit(peek()));
    }
    const bool complete = digits > 0 && (c != 'u' || digits == 4) && (!braced || eat("}"));
    if (!complete || value >= code_point_end || (c == 'x' && !braced && value > 0x7f)) {
      return error(ErrorKind::invalid_input, "an escape that is no code point");
    }
    return value;
  }
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '1' && c <= '9')) {
    return error(ErrorKind::unsupported, fmt::format("the escape \\{}", static_cast<char>(c)));
  }
  return c;
}

// After '['. Ranges, escapes, nested classes, and && between what stands before and after it.
Result<CharSet> Parser::char_class(int depth) {
  if (depth > limits_.depth_max) {
    return error(ErrorKind::limit_exceeded,
                 fmt::format("classes nested deeper than {}", limits_.depth_max));
  }
  const bool negated = eat("^");
  CharSet set;
  std::optional<CharSet> left;  // of a &&
  bool first = true;
  while (first || peek() != ']') {
    if (at_end()) return error(ErrorKind::invalid_input, "a '[' that is not closed");
    if (eat("&&")) {
      left = left ? left->intersection(set) : set;
      set = CharSet();
      first = false;
      continue;
    }
    if (peek() == ']' && pattern_.find(']', at_ + 1) == std::string_view::npos) {
      return error(ErrorKind::invalid_input, "an empty class");
    }
    ASSIGN(const CharSet item, class_item(depth));
    set.add(item);
    first = false;
  }
  ++at_;
  if (left) set = left->intersection(set);
  if (ignore_case_) set.add_other_cases();
  return negated ? set.complement() : set;
}

// One member of a class: a nested class, an escape for many, one character, or a range.
Result<CharSet> Parser::class_item(int depth) {
  if (pattern_.substr(at_).starts_with("[:")) {
    return error(ErrorKind::unsupported, "a POSIX class");
  }
  if (eat("[")) return char_class(depth + 1);
  const auto member = [&](std::optional<CharSet>& many) -> Result<uint32_t> {
    if (!eat("\\")) return next_code_point();
    ASSIGN(many, class_escape(true));
    if (many) return 0u;
    if (eat("b")) return uint32_t{8};
    return character_escape();
  };
  std::optional<CharSet> many;
  ASSIGN(const uint32_t first, member(many));
  if (many) return std::move(*many);
  uint32_t last = first;
  const bool range = peek() == '-' && at_ + 1 < pattern_.size() && pattern_[at_ + 1] != ']';
  if (range && !pattern_.substr(at_).starts_with("-&&")) {
    ++at_;
    ASSIGN(last, member(many));
    if (many || last < first) return error(ErrorKind::invalid_input, "a range from high to low");
  }
  CharSet set;
  set.add(first, last);
  return set;
}

}  // namespace

Result<RegexTree> parse_regex(std::string_view pattern, const RegexLimits& limits) {
  if (pattern.size() > limits.pattern_bytes_max) {
    return fail(ErrorKind::limit_exceeded, "regular expression of the pre-tokeniser",
                fmt::format("it has {} bytes; at most {} are read", pattern.size(),
                            limits.pattern_bytes_max));
  }
  return Parser(pattern, limits).parse();
}

}  // namespace text
