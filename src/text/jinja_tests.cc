// Tests: what stands behind "is".
#include "text/jinja_eval.h"
#include "text/jinja_text.h"
#include "text/unicode.h"

namespace text::jinja {
namespace {

bool none_of(Evaluator& e, const Args& args) { return e.check(args, "test", {}); }
bool give(bool& out, bool value) {
  out = value;
  return true;
}

bool defined(Evaluator& e, const Value& v, Args& args, bool& out) {
  return none_of(e, args) && give(out, !v.is(Kind::undefined));
}
bool undefined(Evaluator& e, const Value& v, Args& args, bool& out) {
  return none_of(e, args) && give(out, v.is(Kind::undefined));
}
template <Kind kind>
bool kind_is(Evaluator& e, const Value& v, Args& args, bool& out) {
  return none_of(e, args) && give(out, v.is(kind));
}
bool number(Evaluator& e, const Value& v, Args& args, bool& out) {
  return none_of(e, args) && give(out, v.is_number());
}
template <bool wanted>
bool is_bool(Evaluator& e, const Value& v, Args& args, bool& out) {
  return none_of(e, args) && give(out, v.is(Kind::boolean) && v.boolean == wanted);
}
bool callable(Evaluator& e, const Value& v, Args& args, bool& out) {
  // Python's Undefined can be called, with an error.
  return none_of(e, args) &&
         give(out, v.is(Kind::function) || v.is(Kind::loop) || v.is(Kind::undefined));
}
bool sequence(Evaluator& e, const Value& v, Args& args, bool& out) {
  const bool indexed =
      v.is(Kind::list) && (v.list->kind == ListKind::list || v.list->kind == ListKind::tuple ||
                           v.list->kind == ListKind::range);
  return none_of(e, args) &&
         give(out, indexed || v.is(Kind::string) || v.is(Kind::dict) || v.is(Kind::undefined));
}
bool iterable(Evaluator& e, const Value& v, Args& args, bool& out) {
  return none_of(e, args) && give(out, v.is(Kind::list) || v.is(Kind::string) || v.is(Kind::dict) ||
                                           v.is(Kind::undefined));
}

template <int divisor_of_two, int rest>
bool parity(Evaluator& e, const Value& v, Args& args, bool& out) {
  Value result;
  return none_of(e, args) && e.arithmetic(v, Value::of(Int{divisor_of_two}), Op::modulo, result) &&
         e.same(result, Value::of(Int{rest}), out);
}
bool divisible(Evaluator& e, const Value& v, Args& args, bool& out) {
  Value result;
  return e.check(args, "divisibleby", {"num"}, 1) &&
         e.arithmetic(v, *args.get(0, "num"), Op::modulo, result) &&
         e.same(result, Value::of(Int{0}), out);
}

template <Op op>
bool compared(Evaluator& e, const Value& v, Args& args, bool& out) {
  return e.check(args, "comparison", {"other"}, 1) && e.compare(v, *args.get(0, "other"), op, out);
}
bool inside(Evaluator& e, const Value& v, Args& args, bool& out) {
  return e.check(args, "in", {"seq"}, 1) && e.contains(*args.get(0, "seq"), v, out);
}
bool same_as(Evaluator& e, const Value& v, Args& args, bool& out) {
  if (!e.check(args, "sameas", {"other"}, 1)) return false;
  const Value& other = *args.get(0, "other");
  if (v.kind != other.kind) return give(out, false);
  if (v.is(Kind::list)) return give(out, v.list == other.list);
  if (v.is(Kind::dict)) return give(out, v.dict == other.dict);
  return e.same(v, other, out);
}

template <bool want_upper>
bool cased(Evaluator& e, const Value& v, Args& args, bool& out) {
  Str text;
  if (!none_of(e, args) || !e.to_text(v, text) || !e.work_on(text.view())) return false;
  bool any = false, all = true;
  for (size_t at = 0; at < text.size();) {
    const Decoded next = decode_at(text.view(), at);
    const bool has_case = is_cased(next.code_point);
    any = any || has_case;
    all =
        all && (!has_case || (want_upper ? is_upper(next.code_point) : is_lower(next.code_point)));
    at += next.bytes;
  }
  return give(out, any && all);
}

bool names_filter(Evaluator& e, const Value& v, Args& args, bool& out) {
  return none_of(e, args) && give(out, v.is(Kind::string) && find_filter(v.str.view()) != nullptr);
}
bool names_test(Evaluator& e, const Value& v, Args& args, bool& out) {
  return none_of(e, args) && give(out, v.is(Kind::string) && find_test(v.str.view()) != nullptr);
}
bool never(Evaluator& e, const Value&, Args& args, bool& out) {
  return none_of(e, args) && give(out, false);
}

struct NamedTest {
  std::string_view name;
  Test test;
};
constexpr NamedTest tests[] = {{"defined", defined},
                               {"undefined", undefined},
                               {"none", kind_is<Kind::none>},
                               {"string", kind_is<Kind::string>},
                               {"mapping", kind_is<Kind::dict>},
                               {"boolean", kind_is<Kind::boolean>},
                               {"integer", kind_is<Kind::integer>},
                               {"float", kind_is<Kind::real>},
                               {"number", number},
                               {"true", is_bool<true>},
                               {"false", is_bool<false>},
                               {"iterable", iterable},
                               {"sequence", sequence},
                               {"callable", callable},
                               {"equalto", compared<Op::equal>},
                               {"eq", compared<Op::equal>},
                               {"==", compared<Op::equal>},
                               {"ne", compared<Op::not_equal>},
                               {"!=", compared<Op::not_equal>},
                               {"lt", compared<Op::less>},
                               {"<", compared<Op::less>},
                               {"lessthan", compared<Op::less>},
                               {"le", compared<Op::less_equal>},
                               {"<=", compared<Op::less_equal>},
                               {"gt", compared<Op::greater>},
                               {">", compared<Op::greater>},
                               {"greaterthan", compared<Op::greater>},
                               {"ge", compared<Op::greater_equal>},
                               {">=", compared<Op::greater_equal>},
                               {"in", inside},
                               {"sameas", same_as},
                               {"even", parity<2, 0>},
                               {"odd", parity<2, 1>},
                               {"divisibleby", divisible},
                               {"upper", cased<true>},
                               {"lower", cased<false>},
                               {"filter", names_filter},
                               {"test", names_test},
                               {"escaped", never}};

}  // namespace

Test find_test(std::string_view name) {
  for (const NamedTest& each : tests) {
    if (each.name == name) return each.test;
  }
  return nullptr;
}

bool Evaluator::test(std::string_view name, const Value& subject, Args& args, bool& out) {
  const Test found = find_test(name);
  if (found == nullptr) {
    return fail(fmt::format("no test is named {}", base::shown_name(name.substr(0, 60))));
  }
  return step() && found(*this, subject, args, out);
}

}  // namespace text::jinja
