// The tree of a parsed template. Chains of equal rank (a + b - c, x.y[0]|f, a and b) are flat
// lists, so that the depth of the tree is the nesting of the source, which the parser bounds.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace text::jinja {

using NameId = uint32_t;  // index into Program::names

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

enum class Op : uint8_t {
  // expressions
  literal_none,
  literal_bool,
  literal_int,
  literal_real,
  literal_text,
  name,
  list,
  tuple,
  dict,
  conditional,
  logical_or,
  logical_and,
  logical_not,
  negate,
  plus,
  compare,
  arithmetic,
  concat,
  postfix,
  // links of arithmetic and compare
  add,
  subtract,
  multiply,
  divide,
  floor_divide,
  modulo,
  power,
  equal,
  not_equal,
  less,
  less_equal,
  greater,
  greater_equal,
  in,
  not_in,
  // links of postfix
  attribute,
  subscript,
  slice,
  call,
  filter,
  test,
  test_not
};

struct Argument {
  NameId keyword = 0;
  enum class Kind : uint8_t {
    positional,
    keyword,
    spread,
    spread_keywords
  } kind = Kind::positional;
  ExpressionPtr value;
};

// One step of a chain: an operator and its operand, an attribute, a call, a filter, a test.
struct Link {
  Op op = Op::add;
  int line = 0;
  NameId name = 0;         // attribute, filter, test
  ExpressionPtr operand;   // operators, subscript (an expression)
  ExpressionPtr slice[3];  // from, to, step; each may be absent
  std::vector<Argument> arguments;
};

struct Expression {
  Op op = Op::literal_none;
  int line = 0;
  bool boolean = false;
  NameId name = 0;
  __int128 integer = 0;
  double real = 0;
  std::string text;  // literal_text
  std::vector<ExpressionPtr>
      items;                // list, tuple, dict (key, value, …), conditional, and/or, concat
  std::vector<Link> links;  // compare, arithmetic, postfix (items[0] is the first operand)
};

struct Statement;
using Block = std::vector<std::unique_ptr<Statement>>;

struct Branch {
  ExpressionPtr condition;  // absent: else
  Block body;
};

// What {% for %} and {% set %} assign to: a name, a tuple of targets, or an attribute of a
// namespace.
struct Target {
  enum class Kind : uint8_t { name, attribute, tuple } kind = Kind::name;
  NameId name = 0, attribute = 0;
  std::vector<Target> items;
};

struct ForNode {
  Target target;
  ExpressionPtr iterable, condition;  // condition may be absent
  bool recursive = false;
  Block body, otherwise;
};

struct Parameter {
  NameId name = 0;
  ExpressionPtr standard;  // absent: undefined
};

struct MacroNode {
  NameId name = 0;
  std::vector<Parameter> parameters;
  bool takes_varargs = false, takes_kwargs = false, takes_caller = false;
  Block body;
};

enum class Do : uint8_t {
  text,
  print,
  branch,
  loop,
  set,
  set_block,
  macro,
  call_block,
  filter_block,
  with,
  scope,
  stop_loop,
  next_loop,
  evaluate
};

struct Statement {
  Do what = Do::text;
  int line = 0;
  std::string text;
  ExpressionPtr value;               // print, set, call_block (the call), filter_block, set_block
  std::vector<Branch> branches;      // branch
  std::unique_ptr<ForNode> loop;     // loop
  Target target;                     // set, set_block
  std::unique_ptr<MacroNode> macro;  // macro, call_block (the caller)
  std::vector<Target> with_targets;
  std::vector<ExpressionPtr> with_values;
  Block body;  // with, scope, set_block, filter_block
};

struct Program {
  Block body;
  std::vector<std::string> names;
};

}  // namespace text::jinja
