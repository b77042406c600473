// Statements: the scopes, loops and macros of Jinja2.
//
// A loop's body has one scope, cleared for each round; an if has none; a macro's body sees its
// arguments and, behind them, the scope where it was defined. {% set %} writes to the innermost
// scope, which is why templates carry values out of loops in a namespace.
#include "text/jinja_eval.h"

namespace text::jinja {

using base::ErrorKind;

namespace {
// Levels of running nodes for each level that the source may nest.
constexpr int run_depth_factor = 5;
constexpr size_t message_bytes_max = 500;
}  // namespace

// Names that the source never uses get ids past its own.
Evaluator::Evaluator(const Program& program, const TemplateLimits& limits, Heap& heap,
                     int64_t now_unix)
    : program_(program), limits_(limits), heap_(heap), now_unix_(now_unix) {
  const auto id_of = [&](std::string_view name, NameId otherwise) {
    for (NameId id = 0; id < program.names.size(); ++id) {
      if (program.names[id] == name) return id;
    }
    return static_cast<NameId>(program.names.size()) + otherwise;
  };
  loop_id_ = id_of("loop", 0);
  varargs_id_ = id_of("varargs", 1);
  kwargs_id_ = id_of("kwargs", 2);
  caller_id_ = id_of("caller", 3);
}

bool Evaluator::fail(std::string message, ErrorKind kind) {
  if (failed_) return false;
  failed_ = true;
  if (message.size() > message_bytes_max) {
    message.resize(byte_of_character(message, message_bytes_max / 4));
    message += "…";
  }
  error_ = {kind, fmt::format("chat template, line {}: {}", line_, message), "", ""};
  return false;
}

bool Evaluator::fail_raised(std::string_view message) {
  if (failed_) return false;
  std::string shown(message.substr(0, byte_of_character(message, message_bytes_max)));
  for (char& c : shown) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  if (shown.size() < message.size()) shown += "…";
  failed_ = true;
  error_ = {ErrorKind::invalid_input, "the model's chat template refuses this: " + shown, "", ""};
  return false;
}

base::Error Evaluator::error() const { return error_; }

bool Evaluator::step(uint64_t steps) {
  if (failed_) return false;
  steps_ += steps;
  if (steps_ > limits_.steps_max) {
    return fail(fmt::format("it takes more than {} steps", limits_.steps_max),
                ErrorKind::limit_exceeded);
  }
  if (heap_.over()) return room(1);
  return true;
}

bool Evaluator::room(uint64_t bytes) {
  if (heap_.room(bytes)) return true;
  return fail(fmt::format("it takes more than {} bytes of memory", limits_.memory_bytes_max),
              ErrorKind::limit_exceeded);
}

bool Evaluator::depth_ok() {
  if (depth_ <= limits_.depth_max * run_depth_factor) return true;
  return fail(fmt::format("it nests deeper than {} levels", limits_.depth_max * run_depth_factor),
              ErrorKind::limit_exceeded);
}

bool Evaluator::run(Scope* globals, StrBuilder& out) {
  // The last step tells of memory that ran out while something was added.
  return run_block(program_.body, globals, out) != Flow::failed && step();
}

Evaluator::Flow Evaluator::run_block(const Block& block, Scope* scope, StrBuilder& out) {
  const Nest nest(*this);
  if (!depth_ok()) return Flow::failed;
  for (const auto& statement : block) {
    const Flow flow = run_statement(*statement, scope, out);
    if (flow != Flow::normal) return flow;
    if (out.size() > limits_.output_bytes_max) {
      fail(fmt::format("it writes more than {} bytes", limits_.output_bytes_max),
           ErrorKind::limit_exceeded);
      return Flow::failed;
    }
  }
  return Flow::normal;
}

Evaluator::Flow Evaluator::run_statement(const Statement& statement, Scope* scope,
                                         StrBuilder& out) {
  line_ = statement.line;
  if (!step()) return Flow::failed;
  const auto flow_of = [](bool done) { return done ? Flow::normal : Flow::failed; };
  Value value;
  switch (statement.what) {
    case Do::text:
      out.add(statement.text);
      return flow_of(work_on(statement.text));
    case Do::print:
      return flow_of(evaluate(*statement.value, scope, value) && print(value, out));
    case Do::branch:
      return run_branches(statement, scope, out);
    case Do::loop:
      return flow_of(evaluate(*statement.loop->iterable, scope, value) &&
                     run_loop(*statement.loop, value, scope, 0, out));
    case Do::set:
      return run_set(statement, scope);
    case Do::set_block:
      return run_set_block(statement, scope);
    case Do::macro: {
      Function* macro = heap_.function(Function::Kind::macro);
      macro->macro = statement.macro.get();
      macro->name = name(statement.macro->name);
      macro->scope = scope;
      for (Scope* s = scope; s != nullptr; s = s->parent) s->captured = true;
      scope->set(statement.macro->name, Value::of(macro));
      return Flow::normal;
    }
    case Do::call_block:
      return run_call_block(statement, scope, out);
    case Do::filter_block:
      return run_filter_block(statement, scope, out);
    case Do::with:
      return run_with(statement, scope, out);
    case Do::scope:
      return run_block(statement.body, heap_.scope(scope), out);
    case Do::stop_loop:
      return Flow::stop_loop;
    case Do::next_loop:
      return Flow::next_loop;
    case Do::evaluate:
      return flow_of(evaluate(*statement.value, scope, value));
  }
  return Flow::failed;
}

Evaluator::Flow Evaluator::run_branches(const Statement& statement, Scope* scope, StrBuilder& out) {
  for (const Branch& branch : statement.branches) {
    if (branch.condition) {
      Value value;
      if (!step() || !evaluate(*branch.condition, scope, value)) return Flow::failed;
      if (!truth(value)) continue;
    }
    return run_block(branch.body, scope, out);
  }
  return Flow::normal;
}

bool Evaluator::assign(const Target& target, const Value& value, Scope* scope) {
  if (target.kind == Target::Kind::name) {
    // Names of a scope are searched one by one.
    if (!step(scope->names.size() / 16)) return false;
    if (scope->find(target.name) == nullptr) heap_.charge(sizeof(Value));
    scope->set(target.name, value);
    return true;
  }
  if (target.kind == Target::Kind::attribute) {
    Value object;
    if (!evaluate_name(target.name, scope, object)) return false;
    if (!object.is(Kind::space)) return fail("cannot assign attribute on non-namespace object");
    if (!step(object.space->attributes.size() / 16)) return false;
    heap_.set(*object.space, Str(name(target.attribute)), value);
    return true;
  }
  List* items = nullptr;
  if (value.is(Kind::undefined)) return fail_undefined(value);
  if (!iterate(value, items)) return false;
  if (items->size() != target.items.size()) {
    return fail(fmt::format("{} values for {} names", items->size(), target.items.size()));
  }
  for (size_t i = 0; i < target.items.size(); ++i) {
    if (!assign(target.items[i], items->at(i), scope)) return false;
  }
  return true;
}

Evaluator::Flow Evaluator::run_set(const Statement& statement, Scope* scope) {
  Value value;
  // Only here may a list grow in place: {% set _ = queue.append(x) %}.
  may_mutate_ = true;
  const bool done = evaluate(*statement.value, scope, value);
  may_mutate_ = false;
  return done && assign(statement.target, value, scope) ? Flow::normal : Flow::failed;
}

bool Evaluator::captured_block(const Block& block, Scope* scope, Str& out) {
  StrBuilder builder(heap_);
  if (run_block(block, scope, builder) == Flow::failed) return false;
  out = builder.take();
  return true;
}

Evaluator::Flow Evaluator::run_set_block(const Statement& statement, Scope* scope) {
  Str text;
  Value value;
  if (!captured_block(statement.body, heap_.scope(scope), text) ||
      !evaluate_chain(*statement.value, Value::of(std::move(text)), 0, scope, value) ||
      !assign(statement.target, value, scope)) {
    return Flow::failed;
  }
  return Flow::normal;
}

Evaluator::Flow Evaluator::run_filter_block(const Statement& statement, Scope* scope,
                                            StrBuilder& out) {
  Str text;
  Value value;
  if (!captured_block(statement.body, heap_.scope(scope), text) ||
      !evaluate_chain(*statement.value, Value::of(std::move(text)), 0, scope, value) ||
      !print(value, out)) {
    return Flow::failed;
  }
  return Flow::normal;
}

Evaluator::Flow Evaluator::run_call_block(const Statement& statement, Scope* scope,
                                          StrBuilder& out) {
  // The call is the last link; `caller` is added to its arguments.
  const Expression& chain = *statement.value;
  Function* caller = heap_.function(Function::Kind::macro);
  caller->macro = statement.macro.get();
  caller->name = "caller";
  caller->scope = scope;
  for (Scope* s = scope; s != nullptr; s = s->parent) s->captured = true;
  Value callee;
  if (!evaluate(*chain.items[0], scope, callee)) return Flow::failed;
  for (size_t i = 0; i + 1 < chain.links.size();) {
    if (!evaluate_link(chain, i, callee, scope)) return Flow::failed;
    if (i >= chain.links.size()) {
      fail("a call block needs a macro");
      return Flow::failed;
    }
  }
  Args args;
  if (!arguments(chain.links.back(), scope, args)) return Flow::failed;
  args.keyword.emplace_back("caller", Value::of(caller));
  Value value;
  if (!call(callee, std::move(args), value) || !print(value, out)) return Flow::failed;
  return Flow::normal;
}

Evaluator::Flow Evaluator::run_with(const Statement& statement, Scope* scope, StrBuilder& out) {
  Scope* inner = heap_.scope(scope);
  for (size_t i = 0; i < statement.with_targets.size(); ++i) {
    Value value;
    if (!evaluate(*statement.with_values[i], scope, value) ||
        !assign(statement.with_targets[i], value, inner)) {
      return Flow::failed;
    }
  }
  return run_block(statement.body, inner, out);
}

// What the loop will go over: its filter is applied first, so that loop.index counts what is left.
bool Evaluator::loop_items(const ForNode& node, const Value& iterable, Scope* scope, List*& out) {
  List* all = nullptr;
  if (!iterate(iterable, all)) return false;
  out = all;
  if (!node.condition) return true;
  out = heap_.list();
  Scope* inner = heap_.scope(scope);
  for (size_t i = 0; i < all->size(); ++i) {
    Value keep;
    const Value item = all->at(i);
    if (!step() || !assign(node.target, item, inner) || !evaluate(*node.condition, inner, keep)) {
      return false;
    }
    if (truth(keep)) heap_.push(*out, item);
  }
  return true;
}

bool Evaluator::run_loop(const ForNode& node, const Value& iterable, Scope* scope, int depth,
                         StrBuilder& out) {
  const Nest nest(*this);
  List* items = nullptr;
  if (!depth_ok() || !loop_items(node, iterable, scope, items)) return false;
  LoopState* loop = heap_.loop();
  loop->items = items;
  loop->depth = depth;
  loop->node = &node;
  loop->scope = scope;
  Scope* inner = heap_.scope(scope);
  // Jinja runs the else block unless a round came to its end.
  bool completed = false;
  // A list that its own loop appends to is walked to its growing end, as Python does.
  for (size_t i = 0; i < items->size(); ++i) {
    if (!step()) return false;
    if (inner->captured) inner = heap_.scope(scope);
    inner->names.clear();
    loop->index = i;
    inner->names.emplace_back(loop_id_, Value::of(loop));
    if (!assign(node.target, items->at(i), inner)) return false;
    const Flow flow = run_block(node.body, inner, out);
    if (flow == Flow::failed) return false;
    if (flow == Flow::stop_loop) break;
    completed = completed || flow == Flow::normal;
  }
  return completed || run_block(node.otherwise, heap_.scope(scope), out) != Flow::failed;
}

bool Evaluator::bind_macro(const MacroNode& macro, Args& args, Scope* scope) {
  const size_t count = macro.parameters.size();
  if (!step(1 + args.keyword.size() * (count + 1) / 16)) return false;
  if (args.positional.size() > count && !macro.takes_varargs) {
    return fail(
        fmt::format("macro '{}' takes not more than {} argument(s)", name(macro.name), count));
  }
  Dict* rest = macro.takes_kwargs ? heap_.dict() : nullptr;
  std::vector<const Value*> given(count, nullptr);
  for (size_t i = 0; i < count && i < args.positional.size(); ++i) given[i] = &args.positional[i];
  const Value* caller = nullptr;
  for (const auto& [key, value] : args.keyword) {
    size_t at = 0;
    while (at < count && name(macro.parameters[at].name) != key) ++at;
    if (at < count && given[at] == nullptr) {
      given[at] = &value;
    } else if (at == count && key == "caller" && macro.takes_caller) {
      caller = &value;
    } else if (at == count && rest != nullptr) {
      heap_.set(*rest, Value::of(Str(key)), value);
    } else {
      return fail(fmt::format("macro '{}' takes no keyword argument '{}'", name(macro.name), key));
    }
  }
  for (size_t i = 0; i < count; ++i) {
    const Parameter& parameter = macro.parameters[i];
    Value value = Value::undefined(Missing::parameter, Str(name(parameter.name)));
    if (given[i] != nullptr) {
      value = *given[i];
    } else if (parameter.standard && !evaluate(*parameter.standard, scope, value)) {
      return false;
    }
    scope->set(parameter.name, std::move(value));
  }
  if (macro.takes_varargs) {
    std::vector<Value> more;
    for (size_t i = count; i < args.positional.size(); ++i) more.push_back(args.positional[i]);
    scope->set(varargs_id_, Value::of(heap_.list(std::move(more), ListKind::tuple)));
  }
  if (rest != nullptr) scope->set(kwargs_id_, Value::of(rest));
  if (macro.takes_caller) {
    scope->set(caller_id_,
               caller != nullptr ? *caller : Value::undefined(Missing::name, Str("caller")));
  }
  return true;
}

bool Evaluator::call_macro(const MacroNode& macro, Scope* parent, Args& args, Value& out) {
  const Nest nest(*this);
  if (!depth_ok() || !step()) return false;
  const bool mutate = std::exchange(may_mutate_, false);
  Scope* scope = heap_.scope(parent);
  heap_.charge(macro.parameters.size() * sizeof(Value));
  Str text;
  if (!bind_macro(macro, args, scope) || !captured_block(macro.body, scope, text)) return false;
  may_mutate_ = mutate;
  out = Value::of(std::move(text));
  return true;
}

// loop(children) of a recursive loop: runs the loop again, one level deeper.
bool Evaluator::call_loop(const Function& function, Args& args, Value& out) {
  const LoopState& loop = *function.self.loop;
  if (!loop.node->recursive) return fail("the loop is not recursive");
  if (args.positional.size() != 1) return fail("loop() takes one argument");
  StrBuilder builder(heap_);
  if (!run_loop(*loop.node, args.positional[0], loop.scope, loop.depth + 1, builder)) return false;
  out = Value::of(builder.take());
  return true;
}

bool Evaluator::call(const Value& callee, Args args, Value& out) {
  if (!step()) return false;
  if (callee.is(Kind::undefined)) return fail_undefined(callee);
  if (callee.is(Kind::loop)) {
    Function again;
    again.self = callee;
    return call_loop(again, args, out);
  }
  if (!callee.is(Kind::function)) {
    return fail(fmt::format("'{}' object is not callable", type_name(callee)));
  }
  Function& function = *callee.function;
  switch (function.kind) {
    case Function::Kind::builtin: {
      const Global global = find_global(function.name);
      return global != nullptr ? global(*this, args, out) : fail("not callable");
    }
    case Function::Kind::method: {
      const Method method = find_method(function.self, function.name);
      return method != nullptr ? method(*this, function.self, args, out) : fail("not callable");
    }
    case Function::Kind::macro:
      return call_macro(*function.macro, function.scope, args, out);
    case Function::Kind::cycler:
      out = function.items[function.position];
      function.position = (function.position + 1) % function.items.size();
      return true;
    case Function::Kind::joiner:
      out = function.position++ == 0 ? Value::of(Str("")) : function.items[0];
      return true;
  }
  return fail("not callable");
}

bool Evaluator::check(const Args& args, std::string_view function,
                      std::initializer_list<std::string_view> names, size_t required) {
  if (args.positional.size() > names.size()) {
    return fail(fmt::format("{}() takes at most {} argument(s)", function, names.size()));
  }
  for (const auto& [key, value] : args.keyword) {
    size_t at = 0;
    for (const std::string_view known : names) {
      if (known == key) break;
      ++at;
    }
    if (at == names.size() || at < args.positional.size()) {
      return fail(fmt::format("{}() got an unexpected argument '{}'", function, key));
    }
  }
  size_t at = 0;
  for (const std::string_view known : names) {
    if (at < required && args.get(at, known) == nullptr) {
      return fail(fmt::format("{}() misses the argument '{}'", function, known));
    }
    ++at;
  }
  return true;
}

bool Evaluator::text_argument(const Args& args, size_t index, std::string_view name, Str& out) {
  const Value* value = args.get(index, name);
  if (value == nullptr) return true;
  if (!value->is(Kind::string)) {
    return fail(fmt::format("'{}' must be a str, not {}", name, type_name(*value)));
  }
  out = value->str;
  return true;
}

bool Evaluator::int_argument(const Args& args, size_t index, std::string_view name, Int& out) {
  const Value* value = args.get(index, name);
  if (value == nullptr) return true;
  if (!value->is_integral()) {
    return fail(fmt::format("'{}' must be an int, not {}", name, type_name(*value)));
  }
  out = value->as_int();
  return true;
}

bool Evaluator::flag_argument(const Args& args, size_t index, std::string_view name, bool& out) {
  const Value* value = args.get(index, name);
  if (value != nullptr) out = truth(*value);
  return true;
}

}  // namespace text::jinja
