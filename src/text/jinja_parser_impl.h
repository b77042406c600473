// The parser's inside, shared by jinja_parser.cc (statements) and jinja_expressions.cc. Functions
// return null or false once an error is recorded, and callers pass that on.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/jinja_ast.h"
#include "text/jinja_lexer.h"
#include "text/jinja_parser.h"

namespace text::jinja {

using base::ErrorKind;

class Parser {
 public:
  Parser(std::string_view source, int depth_max) : lexer_(source), depth_max_(depth_max) {}

  base::Result<Program> run() {
    advance();
    std::string_view stop;
    Block body;
    if (ok() && parse_block(body, {}, stop) && token_.kind != TokenKind::end) {
      fail("unexpected tag");
    }
    if (!ok()) {
      return base::fail(kind_, fmt::format("chat template, line {}: {}", error_line_, error_));
    }
    program_.body = std::move(body);
    return std::move(program_);
  }

 private:
  // --- tokens and errors ---
  bool ok() const { return error_.empty(); }
  std::nullptr_t fail(std::string message, ErrorKind kind = ErrorKind::invalid_input) {
    if (ok()) {
      error_ = message.empty() ? "syntax error" : std::move(message);
      error_line_ = token_.line;
      kind_ = kind;
    }
    return nullptr;
  }
  void read(Token& token) {
    if (!lexer_.next(token)) {
      token_.line = lexer_.line();
      fail(lexer_.error());
      token.kind = TokenKind::end;
    }
  }
  void advance() {
    if (has_ahead_) {
      token_ = std::move(ahead_);
      has_ahead_ = false;
    } else {
      read(token_);
    }
  }
  const Token& ahead() {
    if (!has_ahead_) {
      read(ahead_);
      has_ahead_ = true;
    }
    return ahead_;
  }
  bool at_symbol(std::string_view symbol) const {
    return token_.kind == TokenKind::symbol && token_.text == symbol;
  }
  bool at_name(std::string_view name) const {
    return token_.kind == TokenKind::name && token_.text == name;
  }
  bool skip_symbol(std::string_view symbol) {
    if (!at_symbol(symbol)) return false;
    advance();
    return true;
  }
  bool skip_name(std::string_view name) {
    if (!at_name(name)) return false;
    advance();
    return true;
  }
  static std::string shown(const Token& token) {
    switch (token.kind) {
      case TokenKind::data:
        return "text";
      case TokenKind::print_begin:
        return "begin of print statement";
      case TokenKind::print_end:
        return "end of print statement";
      case TokenKind::block_begin:
        return "begin of statement block";
      case TokenKind::block_end:
        return "end of statement block";
      case TokenKind::end:
        return "end of template";
      default:
        return base::shown_name(token.text);
    }
  }
  bool expect(TokenKind kind, std::string_view what) {
    if (token_.kind != kind) {
      fail(fmt::format("expected {}, got {}", what, shown(token_)));
      return false;
    }
    advance();
    return ok();
  }
  bool expect_symbol(std::string_view symbol) {
    if (skip_symbol(symbol)) return ok();
    fail(fmt::format("expected '{}', got {}", symbol, shown(token_)));
    return false;
  }
  NameId id_of(const std::string& name) {
    const auto [place, added] = ids_.try_emplace(name, program_.names.size());
    if (added) program_.names.push_back(name);
    return place->second;
  }
  bool take_name(NameId& out) {
    if (token_.kind != TokenKind::name) {
      fail(fmt::format("expected a name, got {}", shown(token_)));
      return false;
    }
    out = id_of(token_.text);
    advance();
    return ok();
  }

  // --- limits ---
  class Nest {
   public:
    explicit Nest(Parser& parser) : parser_(parser) {
      if (++parser_.depth_ > parser_.depth_max_) {
        parser_.fail(fmt::format("nested deeper than {} levels", parser_.depth_max_),
                     ErrorKind::limit_exceeded);
      }
    }
    ~Nest() { --parser_.depth_; }

   private:
    Parser& parser_;
  };
  bool count_node() {
    if (++nodes_ <= nodes_max) return true;
    fail(fmt::format("the template has more than {} parts", nodes_max), ErrorKind::limit_exceeded);
    return false;
  }
  ExpressionPtr node(Op op) {
    if (!count_node()) return nullptr;
    auto made = std::make_unique<Expression>();
    made->op = op;
    made->line = token_.line;
    return made;
  }

  // --- expressions (jinja_expressions.cc) ---
  ExpressionPtr parse_expression(bool conditional = true);
  ExpressionPtr parse_or();
  ExpressionPtr parse_and();
  ExpressionPtr parse_not();
  ExpressionPtr parse_compare();
  bool compare_operator(Op& op);
  ExpressionPtr parse_sum();
  ExpressionPtr parse_concat();
  ExpressionPtr parse_product();
  ExpressionPtr parse_power();
  ExpressionPtr parse_unary(bool with_filters);
  ExpressionPtr parse_primary();
  ExpressionPtr parse_number();
  ExpressionPtr parse_parentheses();
  ExpressionPtr parse_list();
  ExpressionPtr parse_dict();
  ExpressionPtr parse_tuple(bool conditional);
  ExpressionPtr parse_postfix(ExpressionPtr base, bool with_filters);
  bool parse_attribute(Link& link);
  bool parse_subscript(Link& link);
  bool parse_call(Link& link);
  bool parse_filter(Link& link);
  bool parse_test(Link& link);
  bool parse_dotted(NameId& out);
  using Part = ExpressionPtr (Parser::*)();
  template <class Find>
  ExpressionPtr parse_chain(Part part, Op chain, Find find);

  // --- statements ---
  bool parse_block(Block& out, const std::vector<std::string_view>& ends, std::string_view& stop);
  bool parse_body(Block& out, const std::vector<std::string_view>& ends, std::string_view& stop);
  bool parse_body(Block& out, std::string_view end) {
    std::string_view stop;
    return parse_body(out, {end}, stop) && expect(TokenKind::block_end, "end of statement block");
  }
  std::unique_ptr<Statement> statement(Do what) {
    if (!count_node()) return nullptr;
    auto made = std::make_unique<Statement>();
    made->what = what;
    made->line = token_.line;
    return made;
  }
  std::unique_ptr<Statement> parse_print();
  std::unique_ptr<Statement> parse_tag();
  std::unique_ptr<Statement> parse_if();
  std::unique_ptr<Statement> parse_for();
  std::unique_ptr<Statement> parse_set();
  std::unique_ptr<Statement> parse_macro();
  bool parse_parameters(MacroNode& macro);
  bool parse_macro_body(MacroNode& macro, std::string_view end);
  std::unique_ptr<Statement> parse_call_block();
  std::unique_ptr<Statement> parse_filter_block();
  std::unique_ptr<Statement> parse_with();
  std::unique_ptr<Statement> parse_scope();
  std::unique_ptr<Statement> parse_jump(Do what);
  bool parse_target(Target& target, bool attributes, bool tuple);
  bool parse_one_target(Target& target, bool attributes);
  ExpressionPtr filters_of_nothing();

  Lexer lexer_;
  Token token_, ahead_;
  bool has_ahead_ = false;
  int depth_max_, depth_ = 0, loops_ = 0;
  size_t nodes_ = 0;
  std::string error_;
  int error_line_ = 1;
  ErrorKind kind_ = ErrorKind::invalid_input;
  Program program_;
  std::unordered_map<std::string, NameId> ids_;
  std::vector<MacroNode*> macros_;
};

}  // namespace text::jinja
