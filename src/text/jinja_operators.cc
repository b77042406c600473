// Expressions, and Python's operators: arithmetic, comparison, membership, attributes and items.
#include <cmath>

#include "text/jinja_eval.h"
#include "text/unicode.h"

namespace text::jinja {

bool Evaluator::evaluate(const Expression& e, Scope* scope, Value& out) {
  const Nest nest(*this);
  line_ = e.line;
  if (!step() || !depth_ok()) return false;
  switch (e.op) {
    case Op::literal_none:
      out = Value::none();
      return true;
    case Op::literal_bool:
      out = Value::of(e.boolean);
      return true;
    case Op::literal_int:
      out = Value::of(e.integer);
      return true;
    case Op::literal_real:
      out = Value::of(e.real);
      return true;
    case Op::literal_text:
      out = Value::of(Str(e.text));
      return true;
    case Op::name:
      return evaluate_name(e.name, scope, out);
    case Op::list:
    case Op::tuple: {
      std::vector<Value> items;
      if (!evaluate_items(e, scope, items)) return false;
      out = Value::of(
          heap_.list(std::move(items), e.op == Op::list ? ListKind::list : ListKind::tuple));
      return true;
    }
    case Op::dict:
      return evaluate_dict(e, scope, out);
    case Op::conditional: {
      Value condition;
      if (!evaluate(*e.items[0], scope, condition)) return false;
      if (truth(condition)) return evaluate(*e.items[1], scope, out);
      if (e.items.size() > 2) return evaluate(*e.items[2], scope, out);
      out = Value();
      return true;
    }
    case Op::logical_or:
    case Op::logical_and:
      return evaluate_logical(e, scope, out);
    case Op::logical_not:
    case Op::negate:
    case Op::plus:
      return evaluate_unary(e, scope, out);
    case Op::compare:
      return evaluate_compare(e, scope, out);
    case Op::arithmetic:
      return evaluate_arithmetic(e, scope, out);
    case Op::concat:
      return evaluate_concat(e, scope, out);
    case Op::postfix: {
      Value base;
      return evaluate(*e.items[0], scope, base) &&
             evaluate_chain(e, std::move(base), 0, scope, out);
    }
    default:
      return fail("unknown expression", base::ErrorKind::internal);
  }
}

bool Evaluator::evaluate_name(NameId id, Scope* scope, Value& out) {
  size_t looked_at = 0;
  for (Scope* s = scope; s != nullptr; s = s->parent) {
    if (const Value* found = s->find(id)) {
      out = *found;
      return true;
    }
    looked_at += s->names.size();
  }
  const std::string& wanted = name(id);
  if (find_global(wanted) != nullptr) {
    Function* function = heap_.function(Function::Kind::builtin);
    function->name = wanted;
    out = Value::of(function);
  } else {
    out = Value::undefined(Missing::name, Str(wanted));
  }
  return step(looked_at / 16);
}

bool Evaluator::evaluate_items(const Expression& e, Scope* scope, std::vector<Value>& out) {
  out.resize(e.items.size());
  for (size_t i = 0; i < e.items.size(); ++i) {
    if (!evaluate(*e.items[i], scope, out[i])) return false;
  }
  return true;
}

namespace {
bool hashable(const Value& key) {
  if (!key.is(Kind::list)) return !key.is(Kind::dict) && !key.is(Kind::undefined);
  return false;  // tuples as keys are of no use to a template
}
}  // namespace

bool Evaluator::evaluate_dict(const Expression& e, Scope* scope, Value& out) {
  std::vector<Value> items;
  if (!evaluate_items(e, scope, items)) return false;
  Dict* dict = heap_.dict();
  for (size_t i = 0; i + 1 < items.size(); i += 2) {
    if (!hashable(items[i])) {
      return fail(fmt::format("'{}' cannot be a key of a dict", type_name(items[i])));
    }
    heap_.set(*dict, std::move(items[i]), std::move(items[i + 1]));
  }
  out = Value::of(dict);
  return true;
}

bool Evaluator::evaluate_logical(const Expression& e, Scope* scope, Value& out) {
  for (const ExpressionPtr& item : e.items) {
    if (!evaluate(*item, scope, out)) return false;
    if (truth(out) == (e.op == Op::logical_or)) return true;
  }
  return true;
}

bool Evaluator::evaluate_unary(const Expression& e, Scope* scope, Value& out) {
  Value value;
  if (!evaluate(*e.items[0], scope, value)) return false;
  if (e.op == Op::logical_not) {
    out = Value::of(!truth(value));
    return true;
  }
  if (value.is(Kind::undefined)) return fail_undefined(value);
  if (!value.is_number()) {
    return fail(fmt::format("bad operand type for a sign: '{}'", type_name(value)));
  }
  if (value.is(Kind::real)) {
    out = Value::of(e.op == Op::negate ? -value.real : value.real);
    return true;
  }
  return arithmetic(Value::of(Int{0}), Value::of(value.as_int()),
                    e.op == Op::negate ? Op::subtract : Op::add, out);
}

bool Evaluator::evaluate_compare(const Expression& e, Scope* scope, Value& out) {
  Value left;
  if (!evaluate(*e.items[0], scope, left)) return false;
  bool result = true;
  for (const Link& link : e.links) {
    Value right;
    if (!evaluate(*link.operand, scope, right)) return false;
    line_ = link.line;
    if (link.op == Op::in || link.op == Op::not_in) {
      if (!contains(right, left, result)) return false;
      result = result == (link.op == Op::in);
    } else if (!compare(left, right, link.op, result)) {
      return false;
    }
    if (!result) break;
    left = std::move(right);
  }
  out = Value::of(result);
  return true;
}

bool Evaluator::evaluate_arithmetic(const Expression& e, Scope* scope, Value& out) {
  Value left;
  if (!evaluate(*e.items[0], scope, left)) return false;
  for (const Link& link : e.links) {
    Value right, result;
    if (!evaluate(*link.operand, scope, right)) return false;
    line_ = link.line;
    if (!arithmetic(left, right, link.op, result)) return false;
    left = std::move(result);
  }
  out = std::move(left);
  return true;
}

bool Evaluator::evaluate_concat(const Expression& e, Scope* scope, Value& out) {
  StrBuilder builder(heap_);
  for (const ExpressionPtr& item : e.items) {
    Value value;
    if (!evaluate(*item, scope, value) || !print(value, builder)) return false;
  }
  out = Value::of(builder.take());
  return true;
}

// --- chains: attributes, items, slices, calls, filters, tests ---

bool Evaluator::evaluate_chain(const Expression& e, Value value, size_t from, Scope* scope,
                               Value& out) {
  for (size_t i = from; i < e.links.size();) {
    if (!step() || !evaluate_link(e, i, value, scope)) return false;
  }
  out = std::move(value);
  return true;
}

// Applies link `i` to `value` (two at once for a method call) and moves `i` on.
bool Evaluator::evaluate_link(const Expression& e, size_t& i, Value& value, Scope* scope) {
  const Link& link = e.links[i++];
  line_ = link.line;
  Value result;
  bool done = false;
  switch (link.op) {
    case Op::attribute: {
      const Method method = i < e.links.size() && e.links[i].op == Op::call
                                ? find_method(value, name(link.name))
                                : nullptr;
      if (method != nullptr) {
        Args args;
        done = arguments(e.links[i++], scope, args) && step() && method(*this, value, args, result);
      } else {
        done = attribute(value, Str(name(link.name)), result);
      }
      break;
    }
    case Op::subscript: {
      Value key;
      done = evaluate(*link.operand, scope, key) && item(value, key, result);
      break;
    }
    case Op::slice:
      done = evaluate_slice(link, value, scope, result);
      break;
    case Op::call: {
      Args args;
      done = arguments(link, scope, args) && call(value, std::move(args), result);
      break;
    }
    case Op::filter: {
      Args args;
      done = arguments(link, scope, args) && filter(name(link.name), value, args, result);
      break;
    }
    case Op::test:
    case Op::test_not:
      done = evaluate_test(link, value, scope, result);
      break;
    default:
      return fail("unknown link", base::ErrorKind::internal);
  }
  value = std::move(result);
  return done;
}

bool Evaluator::evaluate_test(const Link& link, const Value& value, Scope* scope, Value& out) {
  Args args;
  bool result = false;
  if (!arguments(link, scope, args) || !test(name(link.name), value, args, result)) return false;
  out = Value::of(result == (link.op == Op::test));
  return true;
}

bool Evaluator::arguments(const Link& link, Scope* scope, Args& out) {
  for (const Argument& argument : link.arguments) {
    Value value;
    if (!evaluate(*argument.value, scope, value)) return false;
    switch (argument.kind) {
      case Argument::Kind::positional:
        out.positional.push_back(std::move(value));
        break;
      case Argument::Kind::keyword:
        out.keyword.emplace_back(name(argument.keyword), std::move(value));
        break;
      case Argument::Kind::spread: {
        List* items = nullptr;
        if (!iterate(value, items) || !step(items->size()) ||
            !room(items->size() * sizeof(Value))) {
          return false;
        }
        for (size_t i = 0; i < items->size(); ++i) out.positional.push_back(items->at(i));
        break;
      }
      case Argument::Kind::spread_keywords:
        if (!value.is(Kind::dict)) return fail("after ** stands no dict");
        for (const auto& [key, member] : value.dict->members) {
          if (!key.is(Kind::string)) return fail("keywords must be strings");
          if (!step()) return false;
          out.keyword.emplace_back(key.str.view(), member);
        }
        break;
    }
  }
  return true;
}

namespace {

// Python's slice.indices(): where to begin, how many.
struct SliceRange {
  Int start = 0, step = 1;
  size_t count = 0;
};

SliceRange slice_range(Int size, const Int* from, const Int* to, Int step) {
  const auto clamp = [&](const Int* given, Int otherwise) {
    if (given == nullptr) return otherwise;
    Int value = *given;
    if (value < 0) value += size;
    const Int low = step < 0 ? -1 : 0, high = step < 0 ? size - 1 : size;
    return value < low ? low : value > high ? high : value;
  };
  SliceRange range;
  range.step = step;
  range.start = clamp(from, step < 0 ? size - 1 : 0);
  const Int stop = clamp(to, step < 0 ? -1 : size);
  if (step > 0 && range.start < stop) {
    range.count = static_cast<size_t>((stop - range.start - 1) / step + 1);
  }
  if (step < 0 && range.start > stop) {
    range.count = static_cast<size_t>((range.start - stop - 1) / -step + 1);
  }
  return range;
}

}  // namespace

bool Evaluator::evaluate_slice(const Link& link, const Value& value, Scope* scope, Value& out) {
  Int parts[3] = {0, 0, 1};
  const Int* given[3] = {nullptr, nullptr, nullptr};
  constexpr Int most = static_cast<Int>(INT64_MAX);  // far past any size, far from overflow
  for (int i = 0; i < 3; ++i) {
    Value part;
    if (!link.slice[i]) continue;
    if (!evaluate(*link.slice[i], scope, part)) return false;
    if (part.is(Kind::none)) continue;
    if (!part.is_integral()) return fail("a slice needs whole numbers");
    parts[i] = std::clamp<Int>(part.as_int(), -most, most);
    given[i] = &parts[i];
  }
  if (parts[2] == 0) return fail("slice step cannot be zero");
  if (value.is(Kind::undefined)) return fail_undefined(value);
  const bool is_text = value.is(Kind::string);
  const bool is_list = value.is(Kind::list) &&
                       (value.list->kind == ListKind::list || value.list->kind == ListKind::tuple ||
                        value.list->kind == ListKind::range);
  if (!is_text && !is_list) {
    return fail(fmt::format("'{}' object cannot be sliced", type_name(value)));
  }
  if (is_text && !work_on(value.str.view())) return false;
  const size_t size = is_text ? character_count(value.str.view()) : value.list->size();
  const SliceRange range = slice_range(static_cast<Int>(size), given[0], given[1], parts[2]);
  if (is_text && range.step == 1) {
    const std::string_view text = value.str.view();
    const size_t begin = byte_of_character(text, static_cast<size_t>(range.start));
    const size_t length = byte_of_character(text.substr(begin), range.count);
    out = Value::of(value.str.slice(begin, length));
    return true;
  }
  if (!step(range.count / 8)) return false;
  if (is_list) {
    if (!room(range.count * sizeof(Value))) return false;
    std::vector<Value> items;
    items.reserve(range.count);
    for (size_t i = 0; i < range.count; ++i) {
      items.push_back(
          value.list->at(static_cast<size_t>(range.start + range.step * static_cast<Int>(i))));
    }
    const ListKind kind = value.list->kind == ListKind::tuple ? ListKind::tuple : ListKind::list;
    out = Value::of(heap_.list(std::move(items), kind));
    return true;
  }
  if (!room(size * 8 + value.str.size())) return false;
  std::vector<std::pair<uint32_t, uint32_t>> characters;  // begin, bytes
  characters.reserve(size);
  for (size_t at = 0; at < value.str.size();) {
    const uint32_t bytes = decode_at(value.str.view(), at).bytes;
    characters.emplace_back(at, bytes);
    at += bytes;
  }
  StrBuilder builder(heap_);
  for (size_t i = 0; i < range.count; ++i) {
    const auto [begin, bytes] =
        characters[static_cast<size_t>(range.start + range.step * static_cast<Int>(i))];
    builder.add(value.str.slice(begin, bytes));
  }
  out = Value::of(builder.take());
  return true;
}

bool Evaluator::attribute(const Value& object, const Str& wanted, Value& out) {
  const std::string_view key = wanted.view();
  if (object.is(Kind::undefined)) return fail_undefined(object);
  out = Value::undefined(Missing::attribute, wanted);
  if (key.starts_with("__")) return true;  // nothing of Python's inside exists here
  if (object.is(Kind::space)) {
    if (!step(object.space->attributes.size() / 16)) return false;
    if (const Value* found = object.space->find(key)) out = *found;
    return true;
  }
  if (object.is(Kind::loop)) return loop_attribute(*object.loop, key, out);
  if (find_method(object, key) != nullptr) {
    Function* function = heap_.function(Function::Kind::method);
    function->self = object;
    function->items.push_back(Value::of(wanted));  // keeps the name's bytes
    function->name = function->items[0].str.view();
    out = Value::of(function);
    return true;
  }
  if (object.is(Kind::dict)) {
    if (const Value* found = object.dict->find(key)) out = *found;
  }
  return true;
}

bool Evaluator::text_item(const Str& text, Int index, Value& out) {
  const std::string_view bytes = text.view();
  if (!work_on(bytes)) return false;
  if (index < 0) index += static_cast<Int>(character_count(bytes));
  if (index < 0 || index >= static_cast<Int>(bytes.size())) return true;
  const size_t at = byte_of_character(bytes, static_cast<size_t>(index));
  if (at < bytes.size()) out = Value::of(text.slice(at, decode_at(bytes, at).bytes));
  return true;
}

bool Evaluator::item(const Value& object, const Value& key, Value& out) {
  if (object.is(Kind::undefined)) return fail_undefined(object);
  out = Value::undefined(Missing::element, Str());
  if (object.is(Kind::dict)) {
    if (const Value* found = object.dict->find(key)) {
      out = *found;
      return true;
    }
  } else if (key.is_integral()) {
    if (object.is(Kind::string)) return text_item(object.str, key.as_int(), out);
    const bool indexable = object.is(Kind::list) && (object.list->kind == ListKind::list ||
                                                     object.list->kind == ListKind::tuple ||
                                                     object.list->kind == ListKind::range);
    if (!indexable) return true;
    Int index = key.as_int();
    const auto size = static_cast<Int>(object.list->size());
    if (index < 0) index += size;
    if (index >= 0 && index < size) out = object.list->at(static_cast<size_t>(index));
    return true;
  }
  return key.is(Kind::string) ? attribute(object, key.str, out) : true;
}

bool Evaluator::path(const Value& object, const Value& dotted, Value& out) {
  if (!dotted.is(Kind::string)) return item(object, dotted, out);
  Value value = object;
  const std::string_view all = dotted.str.view();
  for (size_t at = 0; at <= all.size();) {
    const size_t dot = std::min(all.find('.', at), all.size());
    Value key = Value::of(dotted.str.slice(at, dot - at));
    Int index = 0;
    if (parse_int(key.str.view(), 10, index)) key = Value::of(index);
    Value next;
    if (!step() || !item(value, key, next)) return false;
    value = std::move(next);
    at = dot + 1;
  }
  out = std::move(value);
  return true;
}

bool Evaluator::loop_attribute(const LoopState& loop, std::string_view key, Value& out) {
  const size_t size = loop.items->size();
  const auto number = [&](size_t value) { out = Value::of(static_cast<Int>(value)); };
  if (key == "index") number(loop.index + 1);
  if (key == "index0") number(loop.index);
  if (key == "revindex") number(size - loop.index);
  if (key == "revindex0") number(size - loop.index - 1);
  if (key == "length") number(size);
  if (key == "depth") number(static_cast<size_t>(loop.depth) + 1);
  if (key == "depth0") number(static_cast<size_t>(loop.depth));
  if (key == "first") out = Value::of(loop.index == 0);
  if (key == "last") out = Value::of(loop.index + 1 == size);
  if (key == "previtem" && loop.index > 0) out = loop.items->at(loop.index - 1);
  if (key == "nextitem" && loop.index + 1 < size) out = loop.items->at(loop.index + 1);
  if (key == "cycle" || key == "changed") {
    Function* function = heap_.function(Function::Kind::method);
    function->self = Value::of(const_cast<LoopState*>(&loop));
    function->name = key == "cycle" ? "cycle" : "changed";
    out = Value::of(function);
  }
  return true;
}

bool Evaluator::iterate(const Value& value, List*& out) {
  switch (value.kind) {
    case Kind::undefined:
      out = heap_.list();
      return true;
    case Kind::list:
      out = value.list;
      return true;
    case Kind::dict: {
      std::vector<Value> keys;
      if (!step(value.dict->members.size() / 8) ||
          !room(value.dict->members.size() * sizeof(Value))) {
        return false;
      }
      for (const auto& [key, member] : value.dict->members) keys.push_back(key);
      out = heap_.list(std::move(keys), ListKind::keys);
      return true;
    }
    case Kind::string: {
      const std::string_view text = value.str.view();
      const size_t count = character_count(text);
      if (!step(count / 8) || !room(count * sizeof(Value))) return false;
      std::vector<Value> characters;
      characters.reserve(count);
      for (size_t at = 0; at < text.size();) {
        const uint32_t bytes = decode_at(text, at).bytes;
        characters.push_back(Value::of(value.str.slice(at, bytes)));
        at += bytes;
      }
      out = heap_.list(std::move(characters));
      return true;
    }
    default:
      return fail(fmt::format("'{}' object is not iterable", type_name(value)));
  }
}

// --- comparison and membership ---

bool Evaluator::same(const Value& a, const Value& b, bool& out) {
  const uint64_t left = limits_.steps_max - std::min(steps_, limits_.steps_max);
  uint64_t work = 0;
  out = equal(a, b, work, left);
  return step(work);
}

bool Evaluator::compare_lists(const List& a, const List& b, Op op, bool& out) {
  const Nest nest(*this);
  if (!depth_ok()) return false;
  const size_t both = std::min(a.size(), b.size());
  for (size_t i = 0; i < both; ++i) {
    const Value x = a.at(i), y = b.at(i);
    bool equal_here = false;
    if (!same(x, y, equal_here)) return false;
    if (!equal_here) return compare(x, y, op, out);
  }
  const Value x = Value::of(static_cast<Int>(a.size())), y = Value::of(static_cast<Int>(b.size()));
  return compare(x, y, op, out);
}

bool Evaluator::compare(const Value& a, const Value& b, Op op, bool& out) {
  if (!step()) return false;
  if (op == Op::equal || op == Op::not_equal) {
    if (!same(a, b, out)) return false;
    out = out == (op == Op::equal);
    return true;
  }
  if (a.is(Kind::undefined)) return fail_undefined(a);
  if (b.is(Kind::undefined)) return fail_undefined(b);
  const auto by = [&](auto x, auto y) {
    switch (op) {
      case Op::less:
        return x < y;
      case Op::less_equal:
        return x <= y;
      case Op::greater:
        return x > y;
      default:
        return x >= y;
    }
  };
  if (a.is_number() && b.is_number()) {
    out = a.is(Kind::real) || b.is(Kind::real) ? by(a.as_real(), b.as_real())
                                               : by(a.as_int(), b.as_int());
    return true;
  }
  if (a.is(Kind::string) && b.is(Kind::string)) {
    if (!work_on(a.str.view())) return false;
    out = by(a.str.view(), b.str.view());
    return true;
  }
  const auto ordered = [](const Value& v) {
    return v.is(Kind::list) && (v.list->kind == ListKind::list || v.list->kind == ListKind::tuple);
  };
  if (ordered(a) && ordered(b) && a.list->kind == b.list->kind) {
    return compare_lists(*a.list, *b.list, op, out);
  }
  return fail(
      fmt::format("no order between instances of '{}' and '{}'", type_name(a), type_name(b)));
}

bool Evaluator::contains(const Value& container, const Value& element, bool& out) {
  out = false;
  switch (container.kind) {
    case Kind::undefined:
      return true;
    case Kind::string:
      if (!element.is(Kind::string)) {
        return fail(fmt::format("'in <string>' requires string as left operand, not {}",
                                type_name(element)));
      }
      out = container.str.view().find(element.str.view()) != std::string_view::npos;
      return work_on(container.str.view());
    case Kind::dict:
      out = container.dict->find(element) != nullptr;
      return true;
    case Kind::list:
      for (size_t i = 0; i < container.list->size() && !out; ++i) {
        if (!same(container.list->at(i), element, out)) return false;
      }
      return true;
    default:
      return fail(fmt::format("argument of type '{}' is not iterable", type_name(container)));
  }
}

// --- arithmetic ---

namespace {
std::string_view symbol_of(Op op) {
  switch (op) {
    case Op::add:
      return "+";
    case Op::subtract:
      return "-";
    case Op::multiply:
      return "*";
    case Op::divide:
      return "/";
    case Op::floor_divide:
      return "//";
    case Op::modulo:
      return "%";
    default:
      return "**";
  }
}
}  // namespace

bool Evaluator::int_arithmetic(Int a, Int b, Op op, Value& out) {
  Int result = 0;
  bool overflow = false;
  switch (op) {
    case Op::add:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case Op::subtract:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case Op::multiply:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case Op::divide:
      return real_arithmetic(static_cast<double>(a), static_cast<double>(b), op, out);
    case Op::floor_divide:
    case Op::modulo: {
      if (b == 0) return fail("integer division or modulo by zero");
      if (b == -1) {  // the least Int has no opposite
        overflow = __builtin_sub_overflow(Int{0}, a, &result);
        if (op == Op::modulo) {
          overflow = false;
          result = 0;
        }
        break;
      }
      const Int quotient = a / b, rest = a % b;
      const bool down = rest != 0 && (rest < 0) != (b < 0);
      result = op == Op::floor_divide ? quotient - (down ? 1 : 0) : rest + (down ? b : 0);
      break;
    }
    default: {  // power
      if (b < 0) return real_arithmetic(static_cast<double>(a), static_cast<double>(b), op, out);
      result = 1;
      // Beyond 127 squarings only 0, 1 and -1 have a power that fits.
      if (a == 0 || a == 1) result = b == 0 ? 1 : a;
      if (a == -1) result = b % 2 == 0 ? 1 : -1;
      if (a < -1 || a > 1) {
        for (Int i = 0; i < b && !overflow; ++i) {
          overflow = __builtin_mul_overflow(result, a, &result);
        }
      }
    }
  }
  if (overflow) return fail("a whole number is too large", base::ErrorKind::limit_exceeded);
  out = Value::of(result);
  return true;
}

bool Evaluator::real_arithmetic(double a, double b, Op op, Value& out) {
  switch (op) {
    case Op::add:
      out = Value::of(a + b);
      return true;
    case Op::subtract:
      out = Value::of(a - b);
      return true;
    case Op::multiply:
      out = Value::of(a * b);
      return true;
    case Op::divide:
      if (b == 0) return fail("division by zero");
      out = Value::of(a / b);
      return true;
    case Op::floor_divide:
      if (b == 0) return fail("division by zero");
      out = Value::of(std::floor(a / b));
      return true;
    case Op::modulo: {
      if (b == 0) return fail("modulo by zero");
      double rest = std::fmod(a, b);
      if (rest != 0 && (rest < 0) != (b < 0)) rest += b;
      out = Value::of(rest);
      return true;
    }
    default: {
      if (a == 0 && b < 0) return fail("0.0 cannot be raised to a negative power");
      const double result = std::pow(a, b);
      if (std::isnan(result) || (std::isinf(result) && std::isfinite(a) && std::isfinite(b))) {
        return fail("the result of ** is no real number or too large");
      }
      out = Value::of(result);
      return true;
    }
  }
}

bool Evaluator::repeat(const Value& sequence, Int times, Value& out) {
  times = std::max<Int>(times, 0);
  const bool is_text = sequence.is(Kind::string);
  const size_t each = is_text ? sequence.str.size() : sequence.list->size() * sizeof(Value);
  // A text of many spans of user text costs more than its bytes.
  constexpr Int times_max = 1 << 26;
  if (each != 0 && (times > times_max || !room(static_cast<uint64_t>(times) * each))) {
    return fail("a repeated text or list is too large", base::ErrorKind::limit_exceeded);
  }
  if (!step(static_cast<uint64_t>(times > times_max ? 0 : times) * each / 64)) return false;
  if (is_text) {
    // In pieces of some size, since one character at a time takes its time.
    constexpr size_t piece_bytes = 4096;
    const Int in_piece = each == 0 ? 1 : static_cast<Int>(1 + piece_bytes / each);
    StrBuilder piece(heap_), builder(heap_);
    for (Int i = 0; i < std::min(in_piece, times); ++i) piece.add(sequence.str);
    const Str repeated = piece.take();
    for (Int i = 0; i < times / in_piece && !builder.over(); ++i) builder.add(repeated);
    for (Int i = 0; i < times % in_piece; ++i) builder.add(sequence.str);
    out = Value::of(builder.take());
    return true;
  }
  std::vector<Value> items;
  items.reserve(each == 0 ? 0 : sequence.list->size() * static_cast<size_t>(times));
  for (Int i = 0; i < times && each != 0; ++i) {
    for (size_t k = 0; k < sequence.list->size(); ++k) items.push_back(sequence.list->at(k));
  }
  out = Value::of(heap_.list(std::move(items), sequence.list->kind));
  return true;
}

// + of texts, lists and tuples; * of one of them and a number; % of a text.
bool Evaluator::sequence_arithmetic(const Value& a, const Value& b, Op op, Value& out) {
  const auto sequence = [](const Value& v) {
    return v.is(Kind::string) || (v.is(Kind::list) && (v.list->kind == ListKind::list ||
                                                       v.list->kind == ListKind::tuple));
  };
  if (op == Op::modulo && a.is(Kind::string)) return format_percent(*this, a.str, b, out);
  if (op == Op::multiply && sequence(a) && b.is_integral()) return repeat(a, b.as_int(), out);
  if (op == Op::multiply && a.is_integral() && sequence(b)) return repeat(b, a.as_int(), out);
  if (op == Op::add && a.is(Kind::string) && b.is(Kind::string)) {
    if (!room(a.str.size() + b.str.size())) return false;
    StrBuilder builder(heap_);
    builder.add(a.str);
    builder.add(b.str);
    out = Value::of(builder.take());
    return step((a.str.size() + b.str.size()) / 64);
  }
  if (op == Op::add && sequence(a) && sequence(b) && a.is(Kind::list) && b.is(Kind::list) &&
      a.list->kind == b.list->kind) {
    const size_t count = a.list->items.size() + b.list->items.size();
    if (!room(count * sizeof(Value)) || !step(count / 8)) return false;
    std::vector<Value> items;
    items.reserve(count);
    items.insert(items.end(), a.list->items.begin(), a.list->items.end());
    items.insert(items.end(), b.list->items.begin(), b.list->items.end());
    out = Value::of(heap_.list(std::move(items), a.list->kind));
    return true;
  }
  if (op == Op::add && a.is(Kind::string)) {
    return fail(fmt::format("can only concatenate str (not \"{}\") to str", type_name(b)));
  }
  return fail(fmt::format("unsupported operand type(s) for {}: '{}' and '{}'", symbol_of(op),
                          type_name(a), type_name(b)));
}

bool Evaluator::arithmetic(const Value& a, const Value& b, Op op, Value& out) {
  if (!step()) return false;
  if (a.is(Kind::undefined)) return fail_undefined(a);
  if (b.is(Kind::undefined) && !a.is(Kind::string)) return fail_undefined(b);
  if (a.is_integral() && b.is_integral()) return int_arithmetic(a.as_int(), b.as_int(), op, out);
  if (a.is_number() && b.is_number()) return real_arithmetic(a.as_real(), b.as_real(), op, out);
  return sequence_arithmetic(a, b, op, out);
}

}  // namespace text::jinja
