// Filters on lists and dicts, and the table of all filters.
#include "text/jinja_eval.h"
#include "text/jinja_text.h"

namespace text::jinja {
namespace {

// The elements of `subject` with room for a copy of them.
bool elements(Evaluator& e, const Value& subject, List*& out) {
  return e.iterate(subject, out) && e.step(out->size() / 4) && e.room(out->size() * sizeof(Value));
}

bool length(Evaluator& e, const Value& subject, Args& args, Value& out) {
  if (!e.check(args, "length", {})) return false;
  switch (subject.kind) {
    case Kind::undefined:
      out = Value::of(Int{0});
      return true;
    case Kind::string:
      out = Value::of(static_cast<Int>(character_count(subject.str.view())));
      return e.work_on(subject.str.view());
    case Kind::dict:
      out = Value::of(static_cast<Int>(subject.dict->members.size()));
      return true;
    case Kind::list:
      if (subject.list->kind == ListKind::lazy) break;
      out = Value::of(static_cast<Int>(subject.list->size()));
      return true;
    default:
      break;
  }
  return e.fail(fmt::format("object of type '{}' has no len()", type_name(subject)));
}

bool standard(Evaluator& e, const Value& subject, Args& args, Value& out) {
  bool falsy_too = false;
  if (!e.check(args, "default", {"default_value", "boolean"}) ||
      !e.flag_argument(args, 1, "boolean", falsy_too)) {
    return false;
  }
  const Value* given = args.get(0, "default_value");
  const bool missing = subject.is(Kind::undefined) || (falsy_too && !truth(subject));
  out = !missing ? subject : given != nullptr ? *given : Value::of(Str(""));
  return true;
}

bool first(Evaluator& e, const Value& subject, Args& args, Value& out) {
  List* items = nullptr;
  if (!e.check(args, "first", {}) || !e.iterate(subject, items)) return false;
  out = items->size() == 0 ? Value::undefined(Missing::element, Str()) : items->at(0);
  return true;
}

bool last(Evaluator& e, const Value& subject, Args& args, Value& out) {
  List* items = nullptr;
  if (!e.check(args, "last", {}) || !e.iterate(subject, items)) return false;
  out =
      items->size() == 0 ? Value::undefined(Missing::element, Str()) : items->at(items->size() - 1);
  return true;
}

bool as_list(Evaluator& e, const Value& subject, Args& args, Value& out) {
  List* items = nullptr;
  if (!e.check(args, "list", {}) || !elements(e, subject, items)) return false;
  std::vector<Value> copy;
  copy.reserve(items->size());
  for (size_t i = 0; i < items->size(); ++i) copy.push_back(items->at(i));
  return give_list(e, out, std::move(copy), ListKind::list);
}

bool join_filter(Evaluator& e, const Value& subject, Args& args, Value& out) {
  Str separator(""), text;
  List* items = nullptr;
  if (!e.check(args, "join", {"d", "attribute"}) || !elements(e, subject, items)) return false;
  if (const Value* d = args.get(0, "d")) {
    if (!e.to_text(*d, separator)) return false;
  }
  const Value* attribute = args.get(1, "attribute");
  if (attribute != nullptr && !attribute->is(Kind::none)) {
    List* parts = e.heap().list();
    for (size_t i = 0; i < items->size(); ++i) {
      Value part;
      if (!e.path(items->at(i), *attribute, part)) return false;
      e.heap().push(*parts, std::move(part));
    }
    items = parts;
  }
  if (!text_join(e, separator, *items, false, text)) return false;
  out = Value::of(text);
  return true;
}

bool items_of(Evaluator& e, const Value& subject, Args& args, Value& out) {
  if (!e.check(args, "items", {})) return false;
  if (subject.is(Kind::undefined)) return give_list(e, out, {}, ListKind::lazy);
  if (!subject.is(Kind::dict)) return e.fail("items takes a dict");
  if (!find_method(subject, "items")(e, subject, args, out)) return false;
  out.list->kind = ListKind::lazy;
  return true;
}

// --- sorting ---

struct Keyed {
  Value key, item;
};

// A merge sort whose comparison may fail and need not be an order at all (NaN).
bool sort_keyed(Evaluator& e, std::vector<Keyed>& items, bool reverse) {
  std::vector<Keyed> other(items.size());
  for (size_t width = 1; width < items.size(); width *= 2) {
    for (size_t begin = 0; begin < items.size(); begin += 2 * width) {
      const size_t middle = std::min(begin + width, items.size());
      const size_t end = std::min(begin + 2 * width, items.size());
      size_t a = begin, b = middle;
      for (size_t to = begin; to < end; ++to) {
        bool from_right = a == middle;
        if (!from_right && b < end) {
          const Value& x = reverse ? items[a].key : items[b].key;
          const Value& y = reverse ? items[b].key : items[a].key;
          const bool both_missing = x.is(Kind::undefined) && y.is(Kind::undefined);
          if (!both_missing && !e.less(x, y, from_right)) return false;
        }
        other[to] = std::move(items[from_right ? b++ : a++]);
      }
    }
    items.swap(other);
  }
  return true;
}

// The key by which an element is sorted, grouped or told apart.
bool key_of(Evaluator& e, const Value& item, const Value* attribute, bool case_sensitive,
            Value& out) {
  out = item;
  if (attribute != nullptr && !attribute->is(Kind::none)) {
    if (!e.path(item, *attribute, out)) return false;
  }
  if (!case_sensitive && out.is(Kind::string)) {
    Str lower;
    if (!text_lower(e, out.str, lower)) return false;
    out = Value::of(lower);
  }
  return true;
}

bool keyed_elements(Evaluator& e, const Value& subject, const Value* attribute, bool case_sensitive,
                    std::vector<Keyed>& out) {
  List* items = nullptr;
  if (!elements(e, subject, items) || !e.room(items->size() * 3 * sizeof(Keyed))) return false;
  out.reserve(items->size());
  for (size_t i = 0; i < items->size(); ++i) {
    Keyed each;
    each.item = items->at(i);
    if (!key_of(e, each.item, attribute, case_sensitive, each.key)) return false;
    out.push_back(std::move(each));
  }
  return true;
}

bool sort(Evaluator& e, const Value& subject, Args& args, Value& out) {
  bool reverse = false, case_sensitive = false;
  std::vector<Keyed> items;
  if (!e.check(args, "sort", {"reverse", "case_sensitive", "attribute"}) ||
      !e.flag_argument(args, 0, "reverse", reverse) ||
      !e.flag_argument(args, 1, "case_sensitive", case_sensitive) ||
      !keyed_elements(e, subject, args.get(2, "attribute"), case_sensitive, items) ||
      !sort_keyed(e, items, reverse)) {
    return false;
  }
  std::vector<Value> sorted;
  sorted.reserve(items.size());
  for (Keyed& each : items) sorted.push_back(std::move(each.item));
  return give_list(e, out, std::move(sorted), ListKind::list);
}

bool dictsort(Evaluator& e, const Value& subject, Args& args, Value& out) {
  bool reverse = false, case_sensitive = false;
  Str by("key");
  if (!e.check(args, "dictsort", {"case_sensitive", "by", "reverse"}) ||
      !e.flag_argument(args, 0, "case_sensitive", case_sensitive) ||
      !e.text_argument(args, 1, "by", by) || !e.flag_argument(args, 2, "reverse", reverse)) {
    return false;
  }
  if (by.view() != "key" && by.view() != "value") return e.fail("dictsort: by key or by value");
  if (!subject.is(Kind::dict)) return e.fail("dictsort takes a dict");
  Args none;
  Value members;
  std::vector<Keyed> items;
  const Value place = Value::of(Int{by.view() == "key" ? 0 : 1});
  if (!find_method(subject, "items")(e, subject, none, members) ||
      !keyed_elements(e, members, &place, case_sensitive, items) ||
      !sort_keyed(e, items, reverse)) {
    return false;
  }
  std::vector<Value> sorted;
  sorted.reserve(items.size());
  for (Keyed& each : items) sorted.push_back(std::move(each.item));
  return give_list(e, out, std::move(sorted), ListKind::list);
}

bool groupby(Evaluator& e, const Value& subject, Args& args, Value& out) {
  bool case_sensitive = false;
  std::vector<Keyed> items;
  if (!e.check(args, "groupby", {"attribute", "default", "case_sensitive"}, 1) ||
      !e.flag_argument(args, 2, "case_sensitive", case_sensitive) ||
      !keyed_elements(e, subject, args.get(0, "attribute"), case_sensitive, items)) {
    return false;
  }
  if (const Value* given = args.get(1, "default")) {
    for (Keyed& each : items) {
      if (each.key.is(Kind::undefined)) each.key = *given;
    }
  }
  if (!sort_keyed(e, items, false)) return false;
  std::vector<Value> groups;
  for (size_t i = 0; i < items.size();) {
    List* group = e.heap().list();
    const size_t begin = i;
    for (bool same = true; i < items.size(); ++i) {
      if (!e.same(items[begin].key, items[i].key, same)) return false;
      if (!same && i > begin) break;
      e.heap().push(*group, items[i].item);
    }
    Value key;
    if (!key_of(e, items[begin].item, args.get(0, "attribute"), true, key)) return false;
    if (key.is(Kind::undefined)) key = items[begin].key;
    groups.push_back(Value::of(e.heap().list({key, Value::of(group)}, ListKind::tuple)));
  }
  return give_list(e, out, std::move(groups), ListKind::list);
}

bool unique(Evaluator& e, const Value& subject, Args& args, Value& out) {
  bool case_sensitive = false;
  std::vector<Keyed> items;
  if (!e.check(args, "unique", {"case_sensitive", "attribute"}) ||
      !e.flag_argument(args, 0, "case_sensitive", case_sensitive) ||
      !keyed_elements(e, subject, args.get(1, "attribute"), case_sensitive, items)) {
    return false;
  }
  Dict* seen = e.heap().dict();
  std::vector<Value> kept;
  for (Keyed& each : items) {
    if (each.key.is(Kind::list) || each.key.is(Kind::dict)) {
      return e.fail("unique takes only values that can be keys");
    }
    if (seen->find(each.key) != nullptr) continue;
    e.heap().set(*seen, each.key, Value::none());
    kept.push_back(std::move(each.item));
  }
  return give_list(e, out, std::move(kept), ListKind::lazy);
}

template <bool greatest>
bool extreme(Evaluator& e, const Value& subject, Args& args, Value& out) {
  bool case_sensitive = false;
  std::vector<Keyed> items;
  if (!e.check(args, "max", {"case_sensitive", "attribute"}) ||
      !e.flag_argument(args, 0, "case_sensitive", case_sensitive) ||
      !keyed_elements(e, subject, args.get(1, "attribute"), case_sensitive, items)) {
    return false;
  }
  if (items.empty()) {
    out = Value::undefined(Missing::element, Str());
    return true;
  }
  size_t best = 0;
  for (size_t i = 1; i < items.size(); ++i) {
    bool better = false;
    const Value& x = greatest ? items[best].key : items[i].key;
    const Value& y = greatest ? items[i].key : items[best].key;
    if (!e.less(x, y, better)) return false;
    if (better) best = i;
  }
  out = items[best].item;
  return true;
}

bool sum(Evaluator& e, const Value& subject, Args& args, Value& out) {
  List* items = nullptr;
  if (!e.check(args, "sum", {"attribute", "start"}) || !elements(e, subject, items)) return false;
  const Value* start = args.get(1, "start");
  Value total = start != nullptr ? *start : Value::of(Int{0});
  for (size_t i = 0; i < items->size(); ++i) {
    Value item, next;
    if (!key_of(e, items->at(i), args.get(0, "attribute"), true, item) ||
        !e.arithmetic(total, item, Op::add, next)) {
      return false;
    }
    total = std::move(next);
  }
  out = std::move(total);
  return true;
}

bool reverse(Evaluator& e, const Value& subject, Args& args, Value& out) {
  List* items = nullptr;
  if (!e.check(args, "reverse", {}) || !elements(e, subject, items)) return false;
  if (subject.is(Kind::string)) {
    StrBuilder builder(e.heap());
    for (size_t i = items->size(); i-- > 0;) builder.add(items->at(i).str);
    out = Value::of(builder.take());
    return true;
  }
  std::vector<Value> reversed;
  for (size_t i = items->size(); i-- > 0;) reversed.push_back(items->at(i));
  return give_list(e, out, std::move(reversed), ListKind::lazy);
}

bool batch(Evaluator& e, const Value& subject, Args& args, Value& out) {
  Int size = 0;
  List* items = nullptr;
  if (!e.check(args, "batch", {"linecount", "fill_with"}, 1) ||
      !e.int_argument(args, 0, "linecount", size) || !elements(e, subject, items)) {
    return false;
  }
  if (size < 1) return e.fail("batch: the size must be positive");
  const Value* fill = args.get(1, "fill_with");
  std::vector<Value> rows;
  List* row = nullptr;
  for (size_t i = 0; i < items->size(); ++i) {
    if (row == nullptr || static_cast<Int>(row->size()) == size) {
      row = e.heap().list();
      rows.push_back(Value::of(row));
    }
    e.heap().push(*row, items->at(i));
  }
  if (fill != nullptr && !fill->is(Kind::none) && row != nullptr) {
    const Int missing = size - static_cast<Int>(row->size());
    constexpr Int fill_max = 1 << 20;
    if (missing > fill_max || !e.room(static_cast<uint64_t>(missing) * sizeof(Value))) {
      return e.fail("batch: the rows are too large", base::ErrorKind::limit_exceeded);
    }
    for (Int i = 0; i < missing; ++i) e.heap().push(*row, *fill);
  }
  return give_list(e, out, std::move(rows), ListKind::lazy);
}

bool slice(Evaluator& e, const Value& subject, Args& args, Value& out) {
  Int slices = 0;
  List* items = nullptr;
  if (!e.check(args, "slice", {"slices", "fill_with"}, 1) ||
      !e.int_argument(args, 0, "slices", slices) || !elements(e, subject, items)) {
    return false;
  }
  constexpr Int slices_max = 100'000;
  if (slices < 1 || slices > slices_max) return e.fail("slice: the number is out of range");
  const auto count = static_cast<Int>(items->size());
  const Int each = count / slices, longer = count % slices;
  const Value* fill = args.get(1, "fill_with");
  std::vector<Value> columns;
  size_t at = 0;
  for (Int i = 0; i < slices; ++i) {
    List* column = e.heap().list();
    const Int size = each + (i < longer ? 1 : 0);
    for (Int k = 0; k < size; ++k) e.heap().push(*column, items->at(at++));
    if (fill != nullptr && !fill->is(Kind::none) && i >= longer) e.heap().push(*column, *fill);
    columns.push_back(Value::of(column));
    if (!e.step()) return false;
  }
  return give_list(e, out, std::move(columns), ListKind::lazy);
}

// --- map, select, reject ---

// The arguments behind the first `skipped` positional ones.
Args rest_of(const Args& args, size_t skipped) {
  Args rest;
  for (size_t i = skipped; i < args.positional.size(); ++i) {
    rest.positional.push_back(args.positional[i]);
  }
  rest.keyword = args.keyword;
  return rest;
}

bool map(Evaluator& e, const Value& subject, Args& args, Value& out) {
  List* items = nullptr;
  if (!truth(subject)) return give_list(e, out, {}, ListKind::lazy);  // whatever it is
  if (!elements(e, subject, items)) return false;
  const Value* attribute = args.positional.empty() ? args.get(1, "attribute") : nullptr;
  const Value* absent = args.get(SIZE_MAX, "default");
  if (attribute == nullptr && (args.positional.empty() || !args.positional[0].is(Kind::string))) {
    return e.fail("map takes the name of a filter, or attribute=");
  }
  std::vector<Value> mapped;
  for (size_t i = 0; i < items->size(); ++i) {
    Value value;
    if (attribute != nullptr) {
      if (!e.path(items->at(i), *attribute, value)) return false;
      if (value.is(Kind::undefined) && absent != nullptr) value = *absent;
    } else {
      Args rest = rest_of(args, 1);
      if (!e.filter(args.positional[0].str.view(), items->at(i), rest, value)) return false;
    }
    mapped.push_back(std::move(value));
  }
  return give_list(e, out, std::move(mapped), ListKind::lazy);
}

template <bool by_attribute, bool wanted>
bool choose(Evaluator& e, const Value& subject, Args& args, Value& out) {
  List* items = nullptr;
  if (!truth(subject)) return give_list(e, out, {}, ListKind::lazy);  // whatever it is
  if (!elements(e, subject, items)) return false;
  const size_t at = by_attribute ? 1 : 0;
  if (args.positional.size() < at) return e.fail("selectattr takes an attribute");
  const bool has_test = args.positional.size() > at;
  if (has_test && !args.positional[at].is(Kind::string)) return e.fail("a test is named by a text");
  std::vector<Value> kept;
  for (size_t i = 0; i < items->size(); ++i) {
    const Value item = items->at(i);
    Value judged = item;
    if (by_attribute && !e.path(item, args.positional[0], judged)) return false;
    bool holds = truth(judged);
    if (has_test) {
      Args rest = rest_of(args, at + 1);
      if (!e.test(args.positional[at].str.view(), judged, rest, holds)) return false;
    }
    if (!e.step()) return false;
    if (holds == wanted) kept.push_back(item);
  }
  return give_list(e, out, std::move(kept), ListKind::lazy);
}

bool attr(Evaluator& e, const Value& subject, Args& args, Value& out) {
  Str name;
  if (!e.check(args, "attr", {"name"}, 1) || !e.text_argument(args, 0, "name", name)) return false;
  // Only attributes, as Jinja has it: not the members of a dict.
  if (subject.is(Kind::dict) && find_method(subject, name.view()) == nullptr) {
    out = Value::undefined(Missing::attribute, name);
    return true;
  }
  return e.attribute(subject, name, out);
}

constexpr NamedFilter filters[] = {{"length", length},
                                   {"count", length},
                                   {"default", standard},
                                   {"d", standard},
                                   {"first", first},
                                   {"last", last},
                                   {"list", as_list},
                                   {"join", join_filter},
                                   {"items", items_of},
                                   {"map", map},
                                   {"select", choose<false, true>},
                                   {"reject", choose<false, false>},
                                   {"selectattr", choose<true, true>},
                                   {"rejectattr", choose<true, false>},
                                   {"sort", sort},
                                   {"dictsort", dictsort},
                                   {"groupby", groupby},
                                   {"unique", unique},
                                   {"max", extreme<true>},
                                   {"min", extreme<false>},
                                   {"sum", sum},
                                   {"reverse", reverse},
                                   {"batch", batch},
                                   {"slice", slice},
                                   {"attr", attr}};

}  // namespace

std::span<const NamedFilter> list_filters() { return filters; }

Filter find_filter(std::string_view name) {
  for (const auto& table : {text_filters(), list_filters()}) {
    for (const NamedFilter& each : table) {
      if (each.name == name) return each.filter;
    }
  }
  return nullptr;
}

bool Evaluator::filter(std::string_view name, const Value& subject, Args& args, Value& out) {
  const Filter found = find_filter(name);
  if (found == nullptr) {
    return fail(fmt::format("no filter is named {}", base::shown_name(name.substr(0, 60))));
  }
  return step() && found(*this, subject, args, out);
}

}  // namespace text::jinja
