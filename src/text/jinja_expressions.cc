// The expressions of the grammar, which is Jinja2's. Ranks of operators, loosest first: x if c else
// y · or · and · not · comparisons (in, not in; chained as in Python) · + - · ~ · * / // % · ** ·
// unary + - · x.y x[y] x(y) · x|f x is t.
#include "text/jinja_parser_impl.h"
#include "text/jinja_value.h"

namespace text::jinja {

ExpressionPtr Parser::parse_tuple(bool conditional) {
  const Nest nest(*this);
  if (!ok()) return nullptr;
  ExpressionPtr first = parse_expression(conditional);
  if (!first || !at_symbol(",")) return first;
  ExpressionPtr all = node(Op::tuple);
  if (!all) return nullptr;
  all->items.push_back(std::move(first));
  while (skip_symbol(",")) {
    if (token_.kind == TokenKind::print_end || token_.kind == TokenKind::block_end ||
        at_symbol(")")) {
      break;
    }
    ExpressionPtr next = parse_expression(conditional);
    if (!next) return nullptr;
    all->items.push_back(std::move(next));
  }
  return all;
}

ExpressionPtr Parser::parse_expression(bool conditional) {
  const Nest nest(*this);
  if (!ok()) return nullptr;
  ExpressionPtr value = parse_or();
  if (!conditional || !value || !skip_name("if")) return value;
  ExpressionPtr made = node(Op::conditional);
  ExpressionPtr condition = parse_or();
  if (!made || !condition) return nullptr;
  made->items.push_back(std::move(condition));
  made->items.push_back(std::move(value));
  if (skip_name("else")) {
    ExpressionPtr otherwise = parse_expression();
    if (!otherwise) return nullptr;
    made->items.push_back(std::move(otherwise));
  }
  return made;
}

ExpressionPtr Parser::parse_or() {
  ExpressionPtr first = parse_and();
  if (!first || !at_name("or")) return first;
  ExpressionPtr all = node(Op::logical_or);
  if (!all) return nullptr;
  all->items.push_back(std::move(first));
  while (skip_name("or")) {
    ExpressionPtr next = parse_and();
    if (!next) return nullptr;
    all->items.push_back(std::move(next));
  }
  return all;
}

ExpressionPtr Parser::parse_and() {
  ExpressionPtr first = parse_not();
  if (!first || !at_name("and")) return first;
  ExpressionPtr all = node(Op::logical_and);
  if (!all) return nullptr;
  all->items.push_back(std::move(first));
  while (skip_name("and")) {
    ExpressionPtr next = parse_not();
    if (!next) return nullptr;
    all->items.push_back(std::move(next));
  }
  return all;
}

ExpressionPtr Parser::parse_not() {
  if (!at_name("not")) return parse_compare();
  const Nest nest(*this);
  if (!ok()) return nullptr;
  ExpressionPtr made = node(Op::logical_not);
  advance();
  ExpressionPtr value = parse_not();
  if (!made || !value) return nullptr;
  made->items.push_back(std::move(value));
  return made;
}

// `find(op)` tells whether an operator of this rank stands here, and consumes it.
template <class Find>
ExpressionPtr Parser::parse_chain(Part part, Op chain, Find find) {
  ExpressionPtr first = (this->*part)();
  ExpressionPtr all;
  Op op = Op::add;
  while ((first || all) && ok()) {
    const int line = token_.line;
    if (!find(op)) break;
    if (!all) {
      all = node(chain);
      if (!all) return nullptr;
      all->items.push_back(std::move(first));
    }
    Link link;
    link.op = op;
    link.line = line;
    link.operand = (this->*part)();
    if (!link.operand) return nullptr;
    all->links.push_back(std::move(link));
  }
  if (!ok()) return nullptr;
  return all ? std::move(all) : std::move(first);
}

bool Parser::compare_operator(Op& op) {
  constexpr std::pair<std::string_view, Op> symbols[] = {
      {"==", Op::equal},      {"!=", Op::not_equal}, {"<", Op::less},
      {"<=", Op::less_equal}, {">", Op::greater},    {">=", Op::greater_equal}};
  for (const auto& [symbol, meaning] : symbols) {
    if (skip_symbol(symbol)) {
      op = meaning;
      return true;
    }
  }
  if (skip_name("in")) {
    op = Op::in;
    return true;
  }
  if (at_name("not") && ahead().kind == TokenKind::name && ahead().text == "in") {
    advance();
    advance();
    op = Op::not_in;
    return true;
  }
  return false;
}

ExpressionPtr Parser::parse_compare() {
  return parse_chain(&Parser::parse_sum, Op::compare,
                     [this](Op& op) { return compare_operator(op); });
}

ExpressionPtr Parser::parse_sum() {
  return parse_chain(&Parser::parse_concat, Op::arithmetic, [this](Op& op) {
    if (skip_symbol("+")) {
      op = Op::add;
      return true;
    }
    op = Op::subtract;
    return skip_symbol("-");
  });
}

ExpressionPtr Parser::parse_concat() {
  ExpressionPtr first = parse_product();
  if (!first || !at_symbol("~")) return first;
  ExpressionPtr all = node(Op::concat);
  if (!all) return nullptr;
  all->items.push_back(std::move(first));
  while (skip_symbol("~")) {
    ExpressionPtr next = parse_product();
    if (!next) return nullptr;
    all->items.push_back(std::move(next));
  }
  return all;
}

ExpressionPtr Parser::parse_product() {
  return parse_chain(&Parser::parse_power, Op::arithmetic, [this](Op& op) {
    constexpr std::pair<std::string_view, Op> symbols[] = {
        {"*", Op::multiply}, {"/", Op::divide}, {"//", Op::floor_divide}, {"%", Op::modulo}};
    for (const auto& [symbol, meaning] : symbols) {
      if (skip_symbol(symbol)) {
        op = meaning;
        return true;
      }
    }
    return false;
  });
}

ExpressionPtr Parser::parse_power() {
  const auto unary = [](Parser& p) { return p.parse_unary(true); };
  ExpressionPtr first = unary(*this);
  if (!first || !at_symbol("**")) return first;
  ExpressionPtr all = node(Op::arithmetic);
  if (!all) return nullptr;
  all->items.push_back(std::move(first));
  while (at_symbol("**")) {
    Link link;
    link.op = Op::power;
    link.line = token_.line;
    advance();
    link.operand = unary(*this);
    if (!link.operand) return nullptr;
    all->links.push_back(std::move(link));
  }
  return all;
}

ExpressionPtr Parser::parse_unary(bool with_filters) {
  const Nest nest(*this);
  if (!ok()) return nullptr;
  ExpressionPtr made;
  if (at_symbol("-") || at_symbol("+")) {
    made = node(at_symbol("-") ? Op::negate : Op::plus);
    advance();
    ExpressionPtr value = parse_unary(false);
    if (!made || !value) return nullptr;
    made->items.push_back(std::move(value));
  } else {
    made = parse_primary();
  }
  return parse_postfix(std::move(made), with_filters);
}

ExpressionPtr Parser::parse_primary() {
  if (token_.kind == TokenKind::integer || token_.kind == TokenKind::real) return parse_number();
  if (token_.kind == TokenKind::text) {
    ExpressionPtr made = node(Op::literal_text);
    for (; made && token_.kind == TokenKind::text; advance()) made->text += token_.text;
    return ok() ? std::move(made) : nullptr;
  }
  if (skip_symbol("(")) return parse_parentheses();
  if (skip_symbol("[")) return parse_list();
  if (skip_symbol("{")) return parse_dict();
  if (token_.kind != TokenKind::name) {
    return fail(fmt::format("expected an expression, got {}", shown(token_)));
  }
  ExpressionPtr made = node(Op::name);
  if (!made) return nullptr;
  const std::string& name = token_.text;
  if (name == "true" || name == "True" || name == "false" || name == "False") {
    made->op = Op::literal_bool;
    made->boolean = name[0] == 't' || name[0] == 'T';
  } else if (name == "none" || name == "None") {
    made->op = Op::literal_none;
  } else {
    made->name = id_of(name);
    for (MacroNode* macro : macros_) {
      macro->takes_varargs |= name == "varargs";
      macro->takes_kwargs |= name == "kwargs";
      macro->takes_caller |= name == "caller";
    }
  }
  advance();
  return ok() ? std::move(made) : nullptr;
}

ExpressionPtr Parser::parse_number() {
  ExpressionPtr made = node(token_.kind == TokenKind::real ? Op::literal_real : Op::literal_int);
  if (!made) return nullptr;
  std::string_view digits = token_.text;
  if (made->op == Op::literal_real) {
    if (!parse_real(digits, made->real)) return fail("not a number");
  } else {
    int base = 10;
    if (digits.size() > 2 && digits[0] == '0') {
      const char sort = static_cast<char>(digits[1] | 0x20);
      base = sort == 'x' ? 16 : sort == 'o' ? 8 : sort == 'b' ? 2 : 10;
      if (base != 10) digits.remove_prefix(2);
    }
    if (!parse_int(digits, base, made->integer)) return fail("a whole number is too large");
  }
  advance();
  return ok() ? std::move(made) : nullptr;
}

ExpressionPtr Parser::parse_parentheses() {
  if (skip_symbol(")")) return node(Op::tuple);
  ExpressionPtr made = parse_tuple(true);
  if (!made || !expect_symbol(")")) return nullptr;
  return made;
}

ExpressionPtr Parser::parse_list() {
  ExpressionPtr made = node(Op::list);
  if (!made) return nullptr;
  while (ok() && !at_symbol("]")) {
    if (!made->items.empty() && !expect_symbol(",")) return nullptr;
    if (at_symbol("]")) break;
    ExpressionPtr next = parse_expression();
    if (!next) return nullptr;
    made->items.push_back(std::move(next));
  }
  if (!expect_symbol("]")) return nullptr;
  return made;
}

ExpressionPtr Parser::parse_dict() {
  ExpressionPtr made = node(Op::dict);
  if (!made) return nullptr;
  while (ok() && !at_symbol("}")) {
    if (!made->items.empty() && !expect_symbol(",")) return nullptr;
    if (at_symbol("}")) break;
    ExpressionPtr key = parse_expression();
    if (!key || !expect_symbol(":")) return nullptr;
    ExpressionPtr value = parse_expression();
    if (!value) return nullptr;
    made->items.push_back(std::move(key));
    made->items.push_back(std::move(value));
  }
  if (!expect_symbol("}")) return nullptr;
  return made;
}

ExpressionPtr Parser::parse_postfix(ExpressionPtr base, bool with_filters) {
  ExpressionPtr chain;
  bool filtered = false;
  while ((base || chain) && ok()) {
    const bool attribute = !filtered && at_symbol(".");
    const bool subscript = !filtered && at_symbol("[");
    const bool call = at_symbol("(");
    const bool filter = with_filters && at_symbol("|");
    const bool test = with_filters && at_name("is");
    if (!attribute && !subscript && !call && !filter && !test) break;
    filtered = filtered || filter || test;
    if (!chain) {
      chain = node(Op::postfix);
      if (!chain) return nullptr;
      chain->items.push_back(std::move(base));
    }
    if (!count_node()) return nullptr;
    chain->links.emplace_back();
    Link& link = chain->links.back();
    link.line = token_.line;
    advance();
    const bool done = attribute   ? parse_attribute(link)
                      : subscript ? parse_subscript(link)
                      : call      ? parse_call(link)
                      : filter    ? parse_filter(link)
                                  : parse_test(link);
    if (!done || !ok()) return nullptr;
  }
  if (!ok()) return nullptr;
  return chain ? std::move(chain) : std::move(base);
}

bool Parser::parse_attribute(Link& link) {
  if (token_.kind == TokenKind::integer) {  // x.0
    link.op = Op::subscript;
    link.operand = parse_number();
    return link.operand != nullptr;
  }
  link.op = Op::attribute;
  return take_name(link.name);
}

bool Parser::parse_subscript(Link& link) {
  const Nest nest(*this);
  if (!ok()) return false;
  link.op = Op::subscript;
  int part = 0;
  if (!at_symbol(":")) {
    link.operand = parse_tuple(true);
    if (!link.operand) return false;
  }
  if (at_symbol(":")) {
    link.op = Op::slice;
    link.slice[0] = std::move(link.operand);
    while (skip_symbol(":")) {
      if (++part > 2) return fail("a slice has at most three parts") != nullptr;
      if (at_symbol(":") || at_symbol("]")) continue;
      link.slice[part] = parse_expression();
      if (!link.slice[part]) return false;
    }
  }
  return expect_symbol("]");
}

bool Parser::parse_call(Link& link) {
  const Nest nest(*this);
  link.op = Op::call;
  bool keywords = false;
  while (ok() && !at_symbol(")")) {
    if (!link.arguments.empty() && !expect_symbol(",")) return false;
    if (at_symbol(")")) break;
    Argument argument;
    if (skip_symbol("**")) {
      argument.kind = Argument::Kind::spread_keywords;
      keywords = true;
    } else if (skip_symbol("*")) {
      argument.kind = Argument::Kind::spread;
    } else if (token_.kind == TokenKind::name && ahead().kind == TokenKind::symbol &&
               ahead().text == "=") {
      argument.kind = Argument::Kind::keyword;
      keywords = true;
      if (!take_name(argument.keyword) || !expect_symbol("=")) return false;
    } else if (keywords) {
      fail("a positional argument follows a keyword");
      return false;
    }
    argument.value = parse_expression();
    if (!argument.value) return false;
    link.arguments.push_back(std::move(argument));
  }
  return expect_symbol(")");
}

bool Parser::parse_dotted(NameId& out) {
  if (!take_name(out)) return false;
  std::string name = program_.names[out];
  bool dotted = false;
  while (skip_symbol(".")) {
    NameId more = 0;
    if (!take_name(more)) return false;
    name += "." + program_.names[more];
    dotted = true;
  }
  if (dotted) out = id_of(name);
  return ok();
}

bool Parser::parse_filter(Link& link) {
  link.line = token_.line;
  if (!parse_dotted(link.name)) return false;
  if (skip_symbol("(") && !parse_call(link)) return false;
  link.op = Op::filter;
  return ok();
}

bool Parser::parse_test(Link& link) {
  const bool negated = skip_name("not");
  if (!parse_dotted(link.name)) return false;
  if (skip_symbol("(")) {
    if (!parse_call(link)) return false;
  } else if (at_name("is")) {
    fail("tests cannot be chained with is");
    return false;
  } else {
    const bool value =
        token_.kind == TokenKind::text || token_.kind == TokenKind::integer ||
        token_.kind == TokenKind::real || at_symbol("[") || at_symbol("{") ||
        (token_.kind == TokenKind::name && !at_name("else") && !at_name("or") && !at_name("and"));
    if (value) {
      Argument argument;
      argument.value = parse_postfix(parse_primary(), false);
      if (!argument.value) return false;
      link.arguments.push_back(std::move(argument));
    }
  }
  link.op = negated ? Op::test_not : Op::test;
  return ok();
}

}  // namespace text::jinja
