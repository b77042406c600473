// Runs a Program under limits. Every step, every byte made and every level of nesting is counted;
// an error is recorded once and passed on by returning false. One render, one thread.
#pragma once

#include <array>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/chat_template.h"
#include "text/jinja_ast.h"
#include "text/jinja_value.h"

namespace text::jinja {

// The arguments of one call.
struct Args {
  std::vector<Value> positional;
  std::vector<std::pair<std::string_view, Value>> keyword;

  // The argument at `index` or of this name, or nullptr.
  const Value* get(size_t index, std::string_view name) const {
    if (index < positional.size()) return &positional[index];
    for (const auto& [key, value] : keyword) {
      if (key == name) return &value;
    }
    return nullptr;
  }
};

class Evaluator {
 public:
  Evaluator(const Program& program, const TemplateLimits& limits, Heap& heap, int64_t now_unix);

  bool run(Scope* globals, StrBuilder& out);
  base::Error error() const;

  // --- for filters, tests, methods and functions ---
  Heap& heap() { return heap_; }
  int64_t now_unix() const { return now_unix_; }
  bool may_mutate() const { return may_mutate_; }
  // Records the error (the first one stays) and returns false.
  bool fail(std::string message, base::ErrorKind kind = base::ErrorKind::invalid_input);
  bool fail_undefined(const Value& value) { return fail(missing_message(value)); }
  bool fail_raised(std::string_view message);  // raise_exception
  // Counts work; false once there was too much, or too much memory is in use.
  bool step(uint64_t steps = 1);
  bool work_on(std::string_view text) { return step(1 + text.size() / 64); }
  // False, with an error, if `bytes` more may not be made.
  bool room(uint64_t bytes);

  // At most names.size() arguments, all of these names, at least `required` of them.
  bool check(const Args& args, std::string_view function,
             std::initializer_list<std::string_view> names, size_t required = 0);
  bool text_argument(const Args& args, size_t index, std::string_view name, Str& out);
  bool int_argument(const Args& args, size_t index, std::string_view name, Int& out);
  bool flag_argument(const Args& args, size_t index, std::string_view name, bool& out);

  // str(value) and repr(value).
  bool print(const Value& value, StrBuilder& out);
  bool print_repr(const Value& value, StrBuilder& out, int depth = 0);
  bool to_text(const Value& value, Str& out);
  // The elements that a for loop over the value would see; undefined has none.
  bool iterate(const Value& value, List*& out);
  bool attribute(const Value& object, const Str& name, Value& out);
  bool item(const Value& object, const Value& key, Value& out);
  // "a.b.0" as filters take it: each part is an item or an attribute.
  bool path(const Value& object, const Value& dotted, Value& out);
  bool call(const Value& callee, Args args, Value& out);
  bool filter(std::string_view name, const Value& subject, Args& args, Value& out);
  bool test(std::string_view name, const Value& subject, Args& args, bool& out);
  bool compare(const Value& a, const Value& b, Op op, bool& out);
  bool less(const Value& a, const Value& b, bool& out) { return compare(a, b, Op::less, out); }
  bool same(const Value& a, const Value& b, bool& out);  // ==
  bool contains(const Value& container, const Value& element, bool& out);
  bool arithmetic(const Value& a, const Value& b, Op op, Value& out);

 private:
  enum class Flow : uint8_t { normal, stop_loop, next_loop, failed };
  class Nest {
   public:
    explicit Nest(Evaluator& e) : e_(e) { ++e_.depth_; }
    ~Nest() { --e_.depth_; }

   private:
    Evaluator& e_;
  };
  bool depth_ok();

  // statements
  Flow run_block(const Block& block, Scope* scope, StrBuilder& out);
  Flow run_statement(const Statement& statement, Scope* scope, StrBuilder& out);
  Flow run_branches(const Statement& statement, Scope* scope, StrBuilder& out);
  Flow run_set(const Statement& statement, Scope* scope);
  Flow run_set_block(const Statement& statement, Scope* scope);
  Flow run_filter_block(const Statement& statement, Scope* scope, StrBuilder& out);
  Flow run_call_block(const Statement& statement, Scope* scope, StrBuilder& out);
  Flow run_with(const Statement& statement, Scope* scope, StrBuilder& out);
  bool run_loop(const ForNode& node, const Value& items, Scope* scope, int depth, StrBuilder& out);
  bool loop_items(const ForNode& node, const Value& iterable, Scope* scope, List*& out);
  bool assign(const Target& target, const Value& value, Scope* scope);
  bool captured_block(const Block& block, Scope* scope, Str& out);

  // expressions
  bool evaluate(const Expression& e, Scope* scope, Value& out);
  bool evaluate_name(NameId name, Scope* scope, Value& out);
  bool evaluate_items(const Expression& e, Scope* scope, std::vector<Value>& out);
  bool evaluate_dict(const Expression& e, Scope* scope, Value& out);
  bool evaluate_logical(const Expression& e, Scope* scope, Value& out);
  bool evaluate_unary(const Expression& e, Scope* scope, Value& out);
  bool evaluate_compare(const Expression& e, Scope* scope, Value& out);
  bool evaluate_arithmetic(const Expression& e, Scope* scope, Value& out);
  bool evaluate_concat(const Expression& e, Scope* scope, Value& out);
  bool evaluate_chain(const Expression& e, Value value, size_t from, Scope* scope, Value& out);
  bool evaluate_link(const Expression& e, size_t& link, Value& value, Scope* scope);
  bool evaluate_slice(const Link& link, const Value& value, Scope* scope, Value& out);
  bool evaluate_test(const Link& link, const Value& value, Scope* scope, Value& out);
  bool arguments(const Link& link, Scope* scope, Args& out);
  bool int_arithmetic(Int a, Int b, Op op, Value& out);
  bool real_arithmetic(double a, double b, Op op, Value& out);
  bool sequence_arithmetic(const Value& a, const Value& b, Op op, Value& out);
  bool repeat(const Value& sequence, Int times, Value& out);
  bool compare_lists(const List& a, const List& b, Op op, bool& out);
  bool print_list(const List& list, StrBuilder& out, int depth);
  bool print_dict(const Dict& dict, StrBuilder& out, int depth);
  bool text_item(const Str& text, Int index, Value& out);
  bool loop_attribute(const LoopState& loop, std::string_view name, Value& out);

  // calls
  bool call_macro(const MacroNode& macro, Scope* parent, Args& args, Value& out);
  bool bind_macro(const MacroNode& macro, Args& args, Scope* scope);
  bool call_loop(const Function& function, Args& args, Value& out);

  const std::string& name(NameId id) const { return program_.names[id]; }

  const Program& program_;
  const TemplateLimits& limits_;
  Heap& heap_;
  int64_t now_unix_;
  NameId loop_id_, varargs_id_, kwargs_id_, caller_id_;
  uint64_t steps_ = 0;
  int depth_ = 0;
  int line_ = 0;
  bool may_mutate_ = false;
  bool failed_ = false;
  base::Error error_;
};

// Builtins, each in its own file: found by name, or nullptr.
using Method = bool (*)(Evaluator&, const Value& self, Args&, Value& out);
using Filter = bool (*)(Evaluator&, const Value& subject, Args&, Value& out);
using Test = bool (*)(Evaluator&, const Value& subject, Args&, bool& out);
using Global = bool (*)(Evaluator&, Args&, Value& out);
struct NamedMethod {
  std::string_view name;
  Method method;
};
struct NamedFilter {
  std::string_view name;
  Filter filter;
};
Method find_method(const Value& self, std::string_view name);
Filter find_filter(std::string_view name);
Test find_test(std::string_view name);
Global find_global(std::string_view name);
std::span<const NamedFilter> text_filters();
std::span<const NamedFilter> list_filters();
std::span<const NamedMethod> text_methods();

// A new list becomes `out`; true, as what calls it succeeded.
inline bool give_list(Evaluator& e, Value& out, std::vector<Value> items,
                      ListKind kind = ListKind::list) {
  out = Value::of(e.heap().list(std::move(items), kind));
  return true;
}

// '%s' % value, and '{}'.format(...).
bool format_percent(Evaluator& e, const Str& format, const Value& values, Value& out);
bool format_braces(Evaluator& e, const Str& format, const Args& args, Value& out);

// Text operations that filters and methods share.
bool text_upper(Evaluator& e, const Str& text, Str& out);
bool text_lower(Evaluator& e, const Str& text, Str& out);
bool text_capitalize(Evaluator& e, const Str& text, Str& out);
enum class Side : uint8_t { left = 1, right = 2, both = 3 };
bool text_strip(Evaluator& e, const Str& text, const Str* characters, Side side, Str& out);
bool text_replace(Evaluator& e, const Str& text, const Str& from, const Str& to, Int times,
                  Str& out);
bool is_python_space(uint32_t code_point);

bool to_json(Evaluator& e, const Value& value, Args& args, Value& out);
bool from_json(Evaluator& e, const Str& text, Value& out);
// A JSON value of the context; its strings are not copied and must outlive the render.
bool value_of_json(Evaluator& e, const base::Json& json, bool user, Value& out, int depth = 0);

}  // namespace text::jinja
