// The statements of the grammar, which is Jinja2's.
#include "text/jinja_parser.h"

#include "text/jinja_parser_impl.h"

namespace text::jinja {

// Statements until a tag of `ends`, whose name is consumed and given in `stop`; or the end.
bool Parser::parse_block(Block& out, const std::vector<std::string_view>& ends,
                         std::string_view& stop) {
  const Nest nest(*this);
  while (ok() && token_.kind != TokenKind::end) {
    std::unique_ptr<Statement> next;
    if (token_.kind == TokenKind::data) {
      next = statement(Do::text);
      if (next) next->text = std::move(token_.text);
      advance();
    } else if (token_.kind == TokenKind::print_begin) {
      next = parse_print();
    } else if (token_.kind == TokenKind::block_begin) {
      advance();
      for (const std::string_view end : ends) {
        if (!at_name(end)) continue;
        stop = end;
        advance();
        return ok();
      }
      next = parse_tag();
    } else {
      fail(fmt::format("unexpected {}", shown(token_)));
    }
    if (!next || !ok()) return false;
    out.push_back(std::move(next));
  }
  if (ok() && !ends.empty()) {
    fail(fmt::format("the template ends where {} was expected", fmt::join(ends, " or ")));
  }
  return ok();
}

bool Parser::parse_body(Block& out, const std::vector<std::string_view>& ends,
                        std::string_view& stop) {
  skip_symbol(":");
  return expect(TokenKind::block_end, "end of statement block") && parse_block(out, ends, stop);
}

std::unique_ptr<Statement> Parser::parse_print() {
  auto made = statement(Do::print);
  advance();
  if (!made || !ok()) return nullptr;
  made->value = parse_tuple(true);
  if (!made->value || !expect(TokenKind::print_end, "end of print statement")) return nullptr;
  return made;
}

std::unique_ptr<Statement> Parser::parse_tag() {
  if (token_.kind != TokenKind::name) return fail("a tag has no name");
  const std::string tag = token_.text;
  if (tag == "if") return parse_if();
  if (tag == "for") return parse_for();
  if (tag == "set") return parse_set();
  if (tag == "macro") return parse_macro();
  if (tag == "call") return parse_call_block();
  if (tag == "filter") return parse_filter_block();
  if (tag == "with") return parse_with();
  if (tag == "generation") return parse_scope();
  if (tag == "break") return parse_jump(Do::stop_loop);
  if (tag == "continue") return parse_jump(Do::next_loop);
  if (tag == "print") {
    advance();
    auto made = statement(Do::print);
    if (made) made->value = parse_tuple(true);
    if (!made || !made->value || !expect(TokenKind::block_end, "end of statement block"))
      return nullptr;
    return made;
  }
  for (const std::string_view file : {"include", "import", "from", "extends", "block"}) {
    if (tag == file) {
      return fail(fmt::format("the tag {} is not supported: no template reads another", tag),
                  ErrorKind::unsupported);
    }
  }
  return fail(fmt::format("unknown tag {}", base::shown_name(tag)));
}

std::unique_ptr<Statement> Parser::parse_if() {
  auto made = statement(Do::branch);
  if (!made) return nullptr;
  std::string_view stop = "if";
  advance();
  while (stop != "endif") {
    Branch branch;
    if (stop != "else") {
      branch.condition = parse_tuple(false);
      if (!branch.condition) return nullptr;
    }
    std::vector<std::string_view> ends = {"endif"};
    if (stop != "else") ends = {"elif", "else", "endif"};
    if (!parse_body(branch.body, ends, stop) || !ok()) return nullptr;
    made->branches.push_back(std::move(branch));
  }
  if (!expect(TokenKind::block_end, "end of statement block")) return nullptr;
  return made;
}

std::unique_ptr<Statement> Parser::parse_for() {
  auto made = statement(Do::loop);
  if (!made) return nullptr;
  advance();
  made->loop = std::make_unique<ForNode>();
  ForNode& loop = *made->loop;
  if (!parse_target(loop.target, false, true)) return nullptr;
  if (!skip_name("in")) return fail(fmt::format("expected 'in', got {}", shown(token_)));
  loop.iterable = parse_tuple(false);
  if (!loop.iterable) return nullptr;
  if (skip_name("if")) {
    loop.condition = parse_expression();
    if (!loop.condition) return nullptr;
  }
  loop.recursive = skip_name("recursive");
  std::string_view stop;
  ++loops_;
  const bool body = parse_body(loop.body, {"endfor", "else"}, stop);
  --loops_;
  if (!body || !ok()) return nullptr;
  if (stop == "else" && !parse_body(loop.otherwise, {"endfor"}, stop)) return nullptr;
  if (!expect(TokenKind::block_end, "end of statement block")) return nullptr;
  return made;
}

bool Parser::parse_one_target(Target& target, bool attributes) {
  for (const std::string_view constant : {"true", "false", "none", "True", "False", "None"}) {
    if (at_name(constant)) {
      fail(fmt::format("cannot assign to {}", constant));
      return false;
    }
  }
  if (skip_symbol("(")) {
    return parse_target(target, attributes, true) && expect_symbol(")");
  }
  if (!count_node() || !take_name(target.name)) return false;
  if (attributes && skip_symbol(".")) {
    target.kind = Target::Kind::attribute;
    return take_name(target.attribute);
  }
  return true;
}

bool Parser::parse_target(Target& target, bool attributes, bool tuple) {
  const Nest nest(*this);
  if (!ok() || !parse_one_target(target, attributes)) return false;
  if (!tuple || !at_symbol(",")) return true;
  Target all;
  all.kind = Target::Kind::tuple;
  all.items.push_back(std::move(target));
  while (skip_symbol(",")) {
    if (token_.kind != TokenKind::name && !at_symbol("(")) break;
    if (at_name("in")) break;
    all.items.emplace_back();
    if (!parse_one_target(all.items.back(), attributes)) return false;
  }
  target = std::move(all);
  return ok();
}

// A chain of filters without the value that they take: {% set x | upper %}, {% filter upper %}.
ExpressionPtr Parser::filters_of_nothing() {
  ExpressionPtr chain = node(Op::postfix);
  ExpressionPtr nothing = node(Op::literal_none);
  if (!chain || !nothing) return nullptr;
  chain->items.push_back(std::move(nothing));
  while (skip_symbol("|")) {
    chain->links.emplace_back();
    if (!count_node() || !parse_filter(chain->links.back())) return nullptr;
  }
  return chain;
}

std::unique_ptr<Statement> Parser::parse_set() {
  auto made = statement(Do::set);
  if (!made) return nullptr;
  advance();
  if (token_.kind != TokenKind::name && !at_symbol("(")) {
    return fail(fmt::format("expected an expression, got {}", shown(token_)));
  }
  if (!parse_target(made->target, true, true)) return nullptr;
  if (skip_symbol("=")) {
    made->value = parse_tuple(true);
    if (!made->value || !expect(TokenKind::block_end, "end of statement block")) return nullptr;
    return made;
  }
  made->what = Do::set_block;
  if (made->target.kind == Target::Kind::tuple) return fail("a block is assigned to one name");
  made->value = filters_of_nothing();
  if (!made->value || !parse_body(made->body, "endset")) return nullptr;
  return made;
}

bool Parser::parse_parameters(MacroNode& macro) {
  while (ok() && !at_symbol(")")) {
    if (!macro.parameters.empty() && !expect_symbol(",")) return false;
    if (at_symbol(")")) break;
    Parameter parameter;
    if (!count_node() || !take_name(parameter.name)) return false;
    if (skip_symbol("=")) {
      parameter.standard = parse_expression();
      if (!parameter.standard) return false;
    } else if (!macro.parameters.empty() && macro.parameters.back().standard) {
      fail("a parameter without a default follows one with a default");
      return false;
    }
    macro.parameters.push_back(std::move(parameter));
  }
  return expect_symbol(")");
}

bool Parser::parse_macro_body(MacroNode& macro, std::string_view end) {
  const int loops = std::exchange(loops_, 0);
  macros_.push_back(&macro);
  const bool done = parse_body(macro.body, end);
  macros_.pop_back();
  loops_ = loops;
  return done && ok();
}

std::unique_ptr<Statement> Parser::parse_macro() {
  auto made = statement(Do::macro);
  if (!made) return nullptr;
  advance();
  made->macro = std::make_unique<MacroNode>();
  if (!take_name(made->macro->name) || !expect_symbol("(") || !parse_parameters(*made->macro) ||
      !parse_macro_body(*made->macro, "endmacro")) {
    return nullptr;
  }
  return made;
}

std::unique_ptr<Statement> Parser::parse_call_block() {
  auto made = statement(Do::call_block);
  if (!made) return nullptr;
  advance();
  made->macro = std::make_unique<MacroNode>();
  made->macro->name = id_of("caller");
  if (skip_symbol("(") && !parse_parameters(*made->macro)) return nullptr;
  made->value = parse_expression();
  if (!made->value) return nullptr;
  if (made->value->op != Op::postfix || made->value->links.back().op != Op::call) {
    return fail("expected a call");
  }
  if (!parse_macro_body(*made->macro, "endcall")) return nullptr;
  return made;
}

std::unique_ptr<Statement> Parser::parse_filter_block() {
  auto made = statement(Do::filter_block);
  if (!made) return nullptr;
  advance();
  // The first filter stands without a bar.
  ExpressionPtr chain = node(Op::postfix);
  ExpressionPtr nothing = node(Op::literal_none);
  if (!chain || !nothing) return nullptr;
  chain->items.push_back(std::move(nothing));
  do {
    chain->links.emplace_back();
    if (!count_node() || !parse_filter(chain->links.back())) return nullptr;
  } while (skip_symbol("|"));
  made->value = std::move(chain);
  if (!parse_body(made->body, "endfilter")) return nullptr;
  return made;
}

std::unique_ptr<Statement> Parser::parse_with() {
  auto made = statement(Do::with);
  if (!made) return nullptr;
  advance();
  while (ok() && token_.kind != TokenKind::block_end) {
    if (!made->with_targets.empty() && !expect_symbol(",")) return nullptr;
    made->with_targets.emplace_back();
    if (!parse_target(made->with_targets.back(), false, false) || !expect_symbol("=")) {
      return nullptr;
    }
    made->with_values.push_back(parse_expression());
    if (!made->with_values.back()) return nullptr;
  }
  if (!parse_body(made->body, "endwith")) return nullptr;
  return made;
}

std::unique_ptr<Statement> Parser::parse_scope() {
  auto made = statement(Do::scope);
  advance();
  if (!made || !parse_body(made->body, "endgeneration")) return nullptr;
  return made;
}

std::unique_ptr<Statement> Parser::parse_jump(Do what) {
  auto made = statement(what);
  if (loops_ == 0) return fail(fmt::format("{} stands outside of a loop", token_.text));
  advance();
  if (!made || !expect(TokenKind::block_end, "end of statement block")) return nullptr;
  return made;
}

base::Result<Program> parse(std::string_view source, int depth_max) {
  return Parser(source, depth_max).run();
}

}  // namespace text::jinja
