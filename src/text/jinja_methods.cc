// The methods of str, list and dict that templates call, and those of a loop.
#include "text/jinja_eval.h"
#include "text/jinja_text.h"
#include "text/unicode.h"

namespace text::jinja {
namespace {

bool give(Value& out, Str text) {
  out = Value::of(std::move(text));
  return true;
}
bool give(Value& out, bool value) {
  out = Value::of(value);
  return true;
}

// --- str ---

bool upper(Evaluator& e, const Value& self, Args& args, Value& out) {
  Str text;
  return e.check(args, "upper", {}) && text_upper(e, self.str, text) && give(out, text);
}
bool lower(Evaluator& e, const Value& self, Args& args, Value& out) {
  Str text;
  return e.check(args, "lower", {}) && text_lower(e, self.str, text) && give(out, text);
}
bool capitalize(Evaluator& e, const Value& self, Args& args, Value& out) {
  Str text;
  return e.check(args, "capitalize", {}) && text_capitalize(e, self.str, text) && give(out, text);
}
bool title(Evaluator& e, const Value& self, Args& args, Value& out) {
  Str text;
  return e.check(args, "title", {}) && text_title(e, self.str, false, text) && give(out, text);
}
bool swapcase(Evaluator& e, const Value& self, Args& args, Value& out) {
  Str text;
  return e.check(args, "swapcase", {}) && text_swapcase(e, self.str, text) && give(out, text);
}

template <Side side>
bool strip(Evaluator& e, const Value& self, Args& args, Value& out) {
  if (!e.check(args, "strip", {"chars"})) return false;
  Str characters, text;
  const Value* given = args.get(0, "chars");
  const bool has = given != nullptr && !given->is(Kind::none);
  if (has && !e.text_argument(args, 0, "chars", characters)) return false;
  return text_strip(e, self.str, has ? &characters : nullptr, side, text) && give(out, text);
}

template <bool from_right>
bool split(Evaluator& e, const Value& self, Args& args, Value& out) {
  if (!e.check(args, "split", {"sep", "maxsplit"})) return false;
  Str separator;
  Int times = -1;
  const Value* given = args.get(0, "sep");
  const bool has = given != nullptr && !given->is(Kind::none);
  if ((has && !e.text_argument(args, 0, "sep", separator)) ||
      !e.int_argument(args, 1, "maxsplit", times)) {
    return false;
  }
  std::vector<Value> parts;
  return text_split(e, self.str, has ? &separator : nullptr, times, from_right, parts) &&
         give_list(e, out, std::move(parts));
}

bool splitlines(Evaluator& e, const Value& self, Args& args, Value& out) {
  bool keep = false;
  std::vector<Value> lines;
  return e.check(args, "splitlines", {"keepends"}) && e.flag_argument(args, 0, "keepends", keep) &&
         text_lines(e, self.str, keep, lines) && give_list(e, out, std::move(lines));
}

template <bool from_right>
bool partition(Evaluator& e, const Value& self, Args& args, Value& out) {
  Str mark;
  if (!e.check(args, "partition", {"sep"}, 1) || !e.text_argument(args, 0, "sep", mark))
    return false;
  if (mark.empty()) return e.fail("empty separator");
  if (!e.work_on(self.str.view())) return false;
  const std::string_view all = self.str.view();
  const size_t found = from_right ? all.rfind(mark.view()) : all.find(mark.view());
  std::vector<Value> parts(3, Value::of(Str("")));
  if (found == std::string_view::npos) {
    parts[from_right ? 2 : 0] = self;
  } else {
    const size_t after = found + mark.size();
    parts[0] = Value::of(self.str.slice(0, found));
    parts[1] = Value::of(mark);
    parts[2] = Value::of(self.str.slice(after, all.size() - after));
  }
  return give_list(e, out, std::move(parts), ListKind::tuple);
}

bool join(Evaluator& e, const Value& self, Args& args, Value& out) {
  List* items = nullptr;
  Str text;
  return e.check(args, "join", {"iterable"}, 1) && e.iterate(*args.get(0, "iterable"), items) &&
         text_join(e, self.str, *items, true, text) && give(out, text);
}

bool replace(Evaluator& e, const Value& self, Args& args, Value& out) {
  Str from, to, text;
  Int times = -1;
  return e.check(args, "replace", {"old", "new", "count"}, 2) &&
         e.text_argument(args, 0, "old", from) && e.text_argument(args, 1, "new", to) &&
         e.int_argument(args, 2, "count", times) &&
         text_replace(e, self.str, from, to, times, text) && give(out, text);
}

// startswith and endswith: one text, or a tuple of them.
template <bool at_end>
bool starts(Evaluator& e, const Value& self, Args& args, Value& out) {
  if (!e.check(args, at_end ? "endswith" : "startswith", {"prefix"}, 1)) return false;
  const Value& given = *args.get(0, "prefix");
  const auto fits = [&](const Str& text) {
    return at_end ? self.str.view().ends_with(text.view())
                  : self.str.view().starts_with(text.view());
  };
  if (given.is(Kind::string)) return give(out, fits(given.str));
  if (!given.is(Kind::list) || given.list->kind != ListKind::tuple) {
    return e.fail(
        fmt::format("startswith takes a str or a tuple of them, not {}", type_name(given)));
  }
  bool any = false;
  for (const Value& item : given.list->items) {
    if (!item.is(Kind::string) || !e.step()) return e.fail("startswith takes only texts");
    any = any || fits(item.str);
  }
  return give(out, any);
}

// The part of a text between the optional bounds `start` and `end`, in characters.
bool bounded(Evaluator& e, const Value& self, const Args& args, Str& part, size_t& skipped) {
  Int start = 0, end = INT64_MAX;
  if (!e.work_on(self.str.view()) || !e.int_argument(args, 1, "start", start) ||
      !e.int_argument(args, 2, "end", end)) {
    return false;
  }
  const std::string_view all = self.str.view();
  const auto size = static_cast<Int>(character_count(all));
  const auto clamp = [&](Int at) { return std::clamp<Int>(at < 0 ? at + size : at, 0, size); };
  skipped = static_cast<size_t>(clamp(start));
  const size_t begin = byte_of_character(all, skipped);
  const size_t stop = byte_of_character(all, static_cast<size_t>(clamp(end)));
  part = self.str.slice(begin, stop > begin ? stop - begin : 0);
  return true;
}

enum class Seek : uint8_t { find, rfind, index, rindex };

template <Seek how>
bool seek(Evaluator& e, const Value& self, Args& args, Value& out) {
  Str wanted, part;
  size_t skipped = 0;
  if (!e.check(args, "find", {"sub", "start", "end"}, 1) ||
      !e.text_argument(args, 0, "sub", wanted) || !bounded(e, self, args, part, skipped)) {
    return false;
  }
  constexpr bool last = how == Seek::rfind || how == Seek::rindex;
  const size_t found = last ? part.view().rfind(wanted.view()) : part.view().find(wanted.view());
  if (found == std::string_view::npos) {
    if (how == Seek::index || how == Seek::rindex) return e.fail("substring not found");
    out = Value::of(Int{-1});
    return true;
  }
  out = Value::of(Int{skipped} + Int{character_count(part.view().substr(0, found))});
  return true;
}

bool count(Evaluator& e, const Value& self, Args& args, Value& out) {
  Str wanted, part;
  size_t skipped = 0;
  if (!e.check(args, "count", {"sub", "start", "end"}, 1) ||
      !e.text_argument(args, 0, "sub", wanted) || !bounded(e, self, args, part, skipped)) {
    return false;
  }
  Int times = 0;
  if (wanted.empty()) {
    times = static_cast<Int>(character_count(part.view())) + 1;
  } else {
    for (size_t at = part.view().find(wanted.view()); at != std::string_view::npos;
         at = part.view().find(wanted.view(), at + wanted.size())) {
      ++times;
    }
  }
  out = Value::of(times);
  return true;
}

template <Side side>
bool pad(Evaluator& e, const Value& self, Args& args, Value& out) {
  Int width = 0;
  Str fill(" "), text;
  if (!e.check(args, "ljust", {"width", "fillchar"}, 1) ||
      !e.int_argument(args, 0, "width", width) || !e.text_argument(args, 1, "fillchar", fill)) {
    return false;
  }
  if (character_count(fill.view()) != 1) return e.fail("the fill must be one character");
  return text_pad(e, self.str, width, fill.view(), side, text) && give(out, text);
}

bool zfill(Evaluator& e, const Value& self, Args& args, Value& out) {
  Int width = 0;
  Str text;
  if (!e.check(args, "zfill", {"width"}, 1) || !e.int_argument(args, 0, "width", width))
    return false;
  const std::string_view all = self.str.view();
  const size_t sign = !all.empty() && (all[0] == '-' || all[0] == '+') ? 1 : 0;
  if (!text_pad(e, self.str.slice(sign, all.size() - sign), width - static_cast<Int>(sign), "0",
                Side::left, text)) {
    return false;
  }
  StrBuilder builder(e.heap());
  builder.add(self.str.slice(0, sign));
  builder.add(text);
  return give(out, builder.take());
}

template <bool suffix>
bool remove_affix(Evaluator& e, const Value& self, Args& args, Value& out) {
  Str affix;
  if (!e.check(args, "removeprefix", {"prefix"}, 1) || !e.text_argument(args, 0, "prefix", affix)) {
    return false;
  }
  const std::string_view all = self.str.view();
  const bool has = suffix ? all.ends_with(affix.view()) : all.starts_with(affix.view());
  const size_t less = has ? affix.size() : 0;
  return give(out, self.str.slice(suffix ? 0 : less, all.size() - less));
}

// True if there are characters and `fits` holds for all of them.
template <class Fits>
bool every(Evaluator& e, const Value& self, Args& args, Value& out, Fits fits) {
  if (!e.check(args, "is…", {}) || !e.work_on(self.str.view())) return false;
  bool all = !self.str.empty();
  for (size_t at = 0; at < self.str.size() && all;) {
    const Decoded next = decode_at(self.str.view(), at);
    all = next.code_point < code_point_end && fits(next.code_point);
    at += next.bytes;
  }
  return give(out, all);
}
bool in_mask(uint32_t c, CategoryMask mask) { return (mask_of(category_of(c)) & mask) != 0; }

bool isdigit(Evaluator& e, const Value& self, Args& args, Value& out) {
  return every(e, self, args, out, [](uint32_t c) { return in_mask(c, mask_of(Category::Nd)); });
}
bool isnumeric(Evaluator& e, const Value& self, Args& args, Value& out) {
  return every(e, self, args, out, [](uint32_t c) { return in_mask(c, mask_number); });
}
bool isalpha(Evaluator& e, const Value& self, Args& args, Value& out) {
  return every(e, self, args, out, [](uint32_t c) { return in_mask(c, mask_letter); });
}
bool isalnum(Evaluator& e, const Value& self, Args& args, Value& out) {
  return every(e, self, args, out,
               [](uint32_t c) { return in_mask(c, mask_letter | mask_number); });
}
bool isspace(Evaluator& e, const Value& self, Args& args, Value& out) {
  return every(e, self, args, out, [](uint32_t c) { return is_python_space(c); });
}
bool isascii(Evaluator& e, const Value& self, Args& args, Value& out) {
  if (!every(e, self, args, out, [](uint32_t c) { return c < 0x80; })) return false;
  if (self.str.empty()) out = Value::of(true);
  return true;
}
template <bool want_upper>
bool is_case(Evaluator& e, const Value& self, Args& args, Value& out) {
  bool any = false;
  if (!every(e, self, args, out, [&](uint32_t c) {
        any = any || is_cased(c);
        return !is_cased(c) || (want_upper ? is_upper(c) : is_lower(c));
      })) {
    return false;
  }
  return give(out, out.boolean && any);
}

bool format(Evaluator& e, const Value& self, Args& args, Value& out) {
  return format_braces(e, self.str, args, out);
}

constexpr NamedMethod string_methods[] = {{"split", split<false>},
                                          {"strip", strip<Side::both>},
                                          {"lstrip", strip<Side::left>},
                                          {"rstrip", strip<Side::right>},
                                          {"startswith", starts<false>},
                                          {"endswith", starts<true>},
                                          {"replace", replace},
                                          {"join", join},
                                          {"upper", upper},
                                          {"lower", lower},
                                          {"casefold", lower},
                                          {"capitalize", capitalize},
                                          {"title", title},
                                          {"swapcase", swapcase},
                                          {"rsplit", split<true>},
                                          {"splitlines", splitlines},
                                          {"partition", partition<false>},
                                          {"rpartition", partition<true>},
                                          {"find", seek<Seek::find>},
                                          {"rfind", seek<Seek::rfind>},
                                          {"index", seek<Seek::index>},
                                          {"rindex", seek<Seek::rindex>},
                                          {"count", count},
                                          {"center", pad<Side::both>},
                                          {"ljust", pad<Side::right>},
                                          {"rjust", pad<Side::left>},
                                          {"zfill", zfill},
                                          {"removeprefix", remove_affix<false>},
                                          {"removesuffix", remove_affix<true>},
                                          {"isdigit", isdigit},
                                          {"isdecimal", isdigit},
                                          {"isnumeric", isnumeric},
                                          {"isalpha", isalpha},
                                          {"isalnum", isalnum},
                                          {"isspace", isspace},
                                          {"isascii", isascii},
                                          {"isupper", is_case<true>},
                                          {"islower", is_case<false>},
                                          {"format", format}};

// --- list ---

bool unsafe(Evaluator& e, const Value& self, Args&, Value&) {
  return e.fail(
      fmt::format("this method changes a '{}', which a template may not do here", type_name(self)));
}

// Lists of the context never change, others only in {% set _ = list.append(x) %}.
bool append(Evaluator& e, const Value& self, Args& args, Value& out) {
  if (!e.may_mutate() || self.list->frozen || self.list->kind != ListKind::list) {
    return unsafe(e, self, args, out);
  }
  if (!e.check(args, "append", {"object"}, 1)) return false;
  e.heap().push(*self.list, *args.get(0, "object"));
  out = Value::none();
  return true;
}

bool pop(Evaluator& e, const Value& self, Args& args, Value& out) {
  if (!e.may_mutate() || self.list->frozen || self.list->kind != ListKind::list) {
    return unsafe(e, self, args, out);
  }
  Int index = -1;
  if (!e.check(args, "pop", {"index"}) || !e.int_argument(args, 0, "index", index)) return false;
  std::vector<Value>& items = self.list->items;
  if (index < 0) index += static_cast<Int>(items.size());
  if (index < 0 || index >= static_cast<Int>(items.size())) {
    return e.fail("pop from an empty list, or past its end");
  }
  out = items[static_cast<size_t>(index)];
  if (!e.step(items.size() / 8)) return false;
  items.erase(items.begin() + static_cast<std::ptrdiff_t>(index));
  return true;
}

bool list_count(Evaluator& e, const Value& self, Args& args, Value& out) {
  if (!e.check(args, "count", {"value"}, 1)) return false;
  Int times = 0;
  for (size_t i = 0; i < self.list->size(); ++i) {
    bool same = false;
    if (!e.same(self.list->at(i), *args.get(0, "value"), same)) return false;
    times += same ? 1 : 0;
  }
  out = Value::of(times);
  return true;
}

bool list_index(Evaluator& e, const Value& self, Args& args, Value& out) {
  if (!e.check(args, "index", {"value"}, 1)) return false;
  for (size_t i = 0; i < self.list->size(); ++i) {
    bool same = false;
    if (!e.same(self.list->at(i), *args.get(0, "value"), same)) return false;
    if (same) {
      out = Value::of(static_cast<Int>(i));
      return true;
    }
  }
  return e.fail("the value is not in the list");
}

bool list_copy(Evaluator& e, const Value& self, Args& args, Value& out) {
  const size_t count = self.list->size();
  if (!e.check(args, "copy", {}) || !e.step(count / 4) || !e.room(count * sizeof(Value))) {
    return false;
  }
  std::vector<Value> items;
  items.reserve(count);
  for (size_t i = 0; i < count; ++i) items.push_back(self.list->at(i));
  return give_list(e, out, std::move(items));
}

constexpr NamedMethod list_methods[] = {
    {"copy", list_copy},

    {"append", append},  {"pop", pop},       {"count", list_count}, {"index", list_index},
    {"extend", unsafe},  {"insert", unsafe}, {"remove", unsafe},    {"clear", unsafe},
    {"sort", unsafe},    {"reverse", unsafe}};

// --- dict ---

bool get(Evaluator& e, const Value& self, Args& args, Value& out) {
  if (!e.check(args, "get", {"key", "default"}, 1)) return false;
  const Value* standard = args.get(1, "default");
  const Value* found = self.dict->find(*args.get(0, "key"));
  out = found != nullptr ? *found : standard != nullptr ? *standard : Value::none();
  return true;
}

template <ListKind kind>
bool members(Evaluator& e, const Value& self, Args& args, Value& out) {
  const size_t count = self.dict->members.size();
  if (!e.check(args, "items", {}) || !e.step(count) || !e.room(count * 4 * sizeof(Value))) {
    return false;
  }
  std::vector<Value> items;
  items.reserve(count);
  for (const auto& [key, value] : self.dict->members) {
    if (kind == ListKind::keys) items.push_back(key);
    if (kind == ListKind::values) items.push_back(value);
    if (kind == ListKind::items) {
      items.push_back(Value::of(e.heap().list({key, value}, ListKind::tuple)));
    }
  }
  return give_list(e, out, std::move(items), kind);
}

bool copy(Evaluator& e, const Value& self, Args& args, Value& out) {
  if (!e.check(args, "copy", {}) || !e.step(self.dict->members.size())) return false;
  Dict* made = e.heap().dict();
  for (const auto& [key, value] : self.dict->members) e.heap().set(*made, key, value);
  out = Value::of(made);
  return true;
}

constexpr NamedMethod dict_methods[] = {{"get", get},
                                        {"items", members<ListKind::items>},
                                        {"keys", members<ListKind::keys>},
                                        {"values", members<ListKind::values>},
                                        {"copy", copy},
                                        {"update", unsafe},
                                        {"pop", unsafe},
                                        {"popitem", unsafe},
                                        {"setdefault", unsafe},
                                        {"clear", unsafe}};

// --- loop ---

bool cycle(Evaluator& e, const Value& self, Args& args, Value& out) {
  if (args.positional.empty()) return e.fail("no items for cycling given");
  out = args.positional[self.loop->index % args.positional.size()];
  return true;
}

bool changed(Evaluator& e, const Value& self, Args& args, Value& out) {
  LoopState& loop = *self.loop;
  bool same = loop.has_changed && loop.last_changed.size() == args.positional.size();
  for (size_t i = 0; same && i < args.positional.size(); ++i) {
    if (!e.same(loop.last_changed[i], args.positional[i], same)) return false;
  }
  loop.has_changed = true;
  loop.last_changed = args.positional;
  return give(out, !same);
}

constexpr NamedMethod loop_methods[] = {{"cycle", cycle}, {"changed", changed}};

// --- cycler ---

bool next(Evaluator& e, const Value& self, Args& args, Value& out) {
  Function& cycler = *self.function;
  if (!e.check(args, "next", {})) return false;
  out = cycler.items[cycler.position];
  cycler.position = (cycler.position + 1) % cycler.items.size();
  return true;
}

bool reset(Evaluator& e, const Value& self, Args& args, Value& out) {
  self.function->position = 0;
  out = Value::none();
  return e.check(args, "reset", {});
}

constexpr NamedMethod cycler_methods[] = {{"next", next}, {"reset", reset}};

}  // namespace

std::span<const NamedMethod> text_methods() { return string_methods; }

Method find_method(const Value& self, std::string_view name) {
  std::span<const NamedMethod> methods;
  if (self.is(Kind::string)) methods = string_methods;
  if (self.is(Kind::list)) methods = list_methods;
  if (self.is(Kind::dict)) methods = dict_methods;
  if (self.is(Kind::loop)) methods = loop_methods;
  if (self.is(Kind::function) && self.function->kind == Function::Kind::cycler) {
    methods = cycler_methods;
  }
  for (const NamedMethod& each : methods) {
    if (each.name == name) return each.method;
  }
  return nullptr;
}

}  // namespace text::jinja
