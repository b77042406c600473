// Filters on texts and numbers.
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "text/jinja_eval.h"
#include "text/jinja_text.h"
#include "text/unicode.h"

namespace text::jinja {
namespace {

bool give(Value& out, Str text) {
  out = Value::of(std::move(text));
  return true;
}

using Change = bool (*)(Evaluator&, const Str&, Str&);

// A filter that takes str(value) and no arguments.
template <Change change>
bool plain(Evaluator& e, const Value& subject, Args& args, Value& out) {
  Str text, result;
  return e.check(args, "filter", {}) && e.to_text(subject, text) && change(e, text, result) &&
         give(out, result);
}
bool same(Evaluator&, const Str& text, Str& out) {
  out = text;
  return true;
}
bool title_words(Evaluator& e, const Str& text, Str& out) { return text_title(e, text, true, out); }

bool trim(Evaluator& e, const Value& subject, Args& args, Value& out) {
  Str text, characters, result;
  const Value* given = args.get(0, "chars");
  const bool has = given != nullptr && !given->is(Kind::none);
  return e.check(args, "trim", {"chars"}) && e.to_text(subject, text) &&
         (!has || e.text_argument(args, 0, "chars", characters)) &&
         text_strip(e, text, has ? &characters : nullptr, Side::both, result) && give(out, result);
}

bool replace(Evaluator& e, const Value& subject, Args& args, Value& out) {
  if (!e.check(args, "replace", {"old", "new", "count"}, 2)) return false;
  Str text, from, to, result;
  Int times = -1;
  const Value* count = args.get(2, "count");
  if (count != nullptr && !count->is(Kind::none) && !e.int_argument(args, 2, "count", times)) {
    return false;
  }
  return e.to_text(subject, text) && e.to_text(*args.get(0, "old"), from) &&
         e.to_text(*args.get(1, "new"), to) && text_replace(e, text, from, to, times, result) &&
         give(out, result);
}

bool escape_html(Evaluator& e, const Str& text, Str& out) {
  StrBuilder builder(e.heap());
  CharWalk walk(text);
  if (!e.step(1 + text.size() / 4)) return false;
  while (walk.next()) {
    std::string_view escaped = walk.bytes();
    switch (walk.code_point()) {
      case '&':
        escaped = "&amp;";
        break;
      case '<':
        escaped = "&lt;";
        break;
      case '>':
        escaped = "&gt;";
        break;
      case '\'':
        escaped = "&#39;";
        break;
      case '"':
        escaped = "&#34;";
        break;
      default:
        break;
    }
    builder.add(escaped, walk.user());
    if (builder.over()) return e.room(1);
  }
  out = builder.take();
  return true;
}

// Tags and comments go, and runs of white space become one space.
bool strip_tags(Evaluator& e, const Str& text, Str& out) {
  StrBuilder builder(e.heap());
  const std::string_view all = text.view();
  size_t at = 0;
  while (at < all.size()) {
    const size_t open = all.find('<', at);
    const bool comment = open != std::string_view::npos && all.substr(open).starts_with("<!--");
    const size_t close = open == std::string_view::npos ? open
                         : comment                      ? all.find("-->", open)
                                                        : all.find('>', open);
    const size_t end = close == std::string_view::npos ? all.size() : open;
    builder.add(text.slice(at, end - at));
    if (!e.step()) return false;
    if (close == std::string_view::npos) break;
    at = close + (comment ? 3 : 1);
  }
  std::vector<Value> words;
  const Str bare = builder.take();
  return text_split(e, bare, nullptr, -1, false, words) &&
         text_join(e, Str(" "), *e.heap().list(std::move(words)), true, out);
}

bool url_encode(Evaluator& e, const Str& text, Str& out) {
  StrBuilder builder(e.heap());
  CharWalk walk(text);
  if (!e.step(1 + text.size() / 4)) return false;
  while (walk.next()) {
    const uint32_t c = walk.code_point();
    const bool kept = c < 0x80 && (isalnum(static_cast<int>(c)) != 0 || c == '_' || c == '.' ||
                                   c == '-' || c == '~' || c == '/');
    std::string bytes(walk.bytes());
    if (!kept) {
      bytes.clear();
      for (const char b : walk.bytes()) bytes += fmt::format("%{:02X}", static_cast<uint8_t>(b));
    }
    builder.add(bytes, walk.user());
    if (builder.over()) return e.room(1);
  }
  out = builder.take();
  return true;
}

bool center(Evaluator& e, const Value& subject, Args& args, Value& out) {
  Int width = 80;
  Str text, result;
  return e.check(args, "center", {"width"}) && e.int_argument(args, 0, "width", width) &&
         e.to_text(subject, text) && text_pad(e, text, width, " ", Side::both, result) &&
         give(out, result);
}

bool indent(Evaluator& e, const Value& subject, Args& args, Value& out) {
  bool first = false, blank = false;
  Str text, indention;
  if (!e.check(args, "indent", {"width", "first", "blank"}) ||
      !e.flag_argument(args, 1, "first", first) || !e.flag_argument(args, 2, "blank", blank) ||
      !e.to_text(subject, text)) {
    return false;
  }
  if (!subject.is(Kind::string)) {
    return e.fail(fmt::format("indent takes a text, not {}", type_name(subject)));
  }
  const Value* width = args.get(0, "width");
  if (width != nullptr && width->is(Kind::string)) {
    indention = width->str;
  } else {
    Int spaces = 4;
    if (!e.int_argument(args, 0, "width", spaces)) return false;
    if (!text_pad(e, Str(""), spaces, " ", Side::left, indention)) return false;
  }
  std::vector<Value> lines;
  if (!text_lines(e, text, false, lines)) return false;
  // One line feed at the end of the text begins one more line.
  const std::string_view all = text.view();
  if (all.empty() || all.back() == '\n') lines.push_back(Value::of(Str("")));
  StrBuilder builder(e.heap());
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) builder.add("\n");
    const bool indented = i == 0 ? first : blank || !lines[i].str.empty();
    if (indented) builder.add(indention);
    builder.add(lines[i].str);
    if (!e.step(1 + indention.size() / 64) || builder.over()) return e.room(1) && false;
  }
  return give(out, builder.take());
}

bool truncate(Evaluator& e, const Value& subject, Args& args, Value& out) {
  Int length = 255, leeway = 5;
  bool kill = false;
  Str end("..."), text;
  if (!e.check(args, "truncate", {"length", "killwords", "end", "leeway"}) ||
      !e.int_argument(args, 0, "length", length) || !e.flag_argument(args, 1, "killwords", kill) ||
      !e.text_argument(args, 2, "end", end) || !e.int_argument(args, 3, "leeway", leeway) ||
      !e.to_text(subject, text) || !e.work_on(text.view())) {
    return false;
  }
  if (!subject.is(Kind::string) && !subject.is(Kind::undefined)) {
    return e.fail(fmt::format("truncate takes a text, not {}", type_name(subject)));
  }
  const auto size = static_cast<Int>(character_count(text.view()));
  const Int kept = length - static_cast<Int>(character_count(end.view()));
  if (kept < 0) return e.fail("truncate: the length is less than that of the end");
  if (length > size || size <= length + leeway) return give(out, text);
  Str cut = text.slice(0, byte_of_character(text.view(), static_cast<size_t>(kept)));
  if (!kill) {
    const size_t space = cut.view().rfind(' ');
    if (space != std::string_view::npos) cut = cut.slice(0, space);
  }
  StrBuilder builder(e.heap());
  builder.add(cut);
  builder.add(end);
  return give(out, builder.take());
}

bool wordcount(Evaluator& e, const Value& subject, Args& args, Value& out) {
  Str text;
  if (!e.check(args, "wordcount", {}) || !e.to_text(subject, text) || !e.work_on(text.view())) {
    return false;
  }
  Int words = 0;
  bool inside = false;
  for (size_t at = 0; at < text.size();) {
    const Decoded next = decode_at(text.view(), at);
    const bool word = next.code_point < code_point_end && is_word(next.code_point);
    words += word && !inside ? 1 : 0;
    inside = word;
    at += next.bytes;
  }
  out = Value::of(words);
  return true;
}

bool format(Evaluator& e, const Value& subject, Args& args, Value& out) {
  Str text;
  if (!e.to_text(subject, text)) return false;
  if (!args.keyword.empty() && !args.positional.empty()) {
    return e.fail("format takes positional or keyword arguments, not both");
  }
  if (args.keyword.empty()) {
    return format_percent(e, text, Value::of(e.heap().list(args.positional, ListKind::tuple)), out);
  }
  Dict* values = e.heap().dict();
  for (const auto& [key, value] : args.keyword) e.heap().set(*values, Value::of(Str(key)), value);
  return format_percent(e, text, Value::of(values), out);
}

// --- numbers ---

// int() of a text in a base; false if it is not one.
bool int_of_text(std::string_view text, int base, Int& out) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\n' || text.front() == '\t')) {
    text.remove_prefix(1);
  }
  while (!text.empty() && (text.back() == ' ' || text.back() == '\n' || text.back() == '\t')) {
    text.remove_suffix(1);
  }
  const bool negative = !text.empty() && text[0] == '-';
  if (negative || (!text.empty() && text[0] == '+')) text.remove_prefix(1);
  const auto prefixed = [&](char sort) {
    return text.size() > 2 && text[0] == '0' && (text[1] | 0x20) == sort;
  };
  if ((base == 16 && prefixed('x')) || (base == 8 && prefixed('o')) ||
      (base == 2 && prefixed('b'))) {
    text.remove_prefix(2);
  }
  if (!parse_int(text, base, out)) return false;
  if (negative) out = -out;
  return true;
}

bool int_of_real(double value, Int& out) {
  if (!std::isfinite(value) || std::abs(value) >= 1e38) return false;
  out = static_cast<Int>(value);
  return true;
}

bool to_int(Evaluator& e, const Value& subject, Args& args, Value& out) {
  Int base = 10;
  if (!e.check(args, "int", {"default", "base"}) || !e.int_argument(args, 1, "base", base)) {
    return false;
  }
  if (base < 2 || base > 36) return e.fail("int: the base is not from 2 to 36");
  const Value* standard = args.get(0, "default");
  out = standard != nullptr ? *standard : Value::of(Int{0});
  Int result = 0;
  bool done = false;
  if (subject.is(Kind::string)) {
    double real = 0;
    done = int_of_text(subject.str.view(), static_cast<int>(base), result) ||
           (parse_real(subject.str.view(), real) && int_of_real(real, result));
  } else if (subject.is(Kind::real)) {
    done = int_of_real(subject.real, result);
  } else if (subject.is_integral()) {
    result = subject.as_int();
    done = true;
  } else if (subject.is(Kind::undefined)) {
    return e.fail_undefined(subject);
  }
  if (done) out = Value::of(result);
  return true;
}

bool to_float(Evaluator& e, const Value& subject, Args& args, Value& out) {
  if (!e.check(args, "float", {"default"})) return false;
  const Value* standard = args.get(0, "default");
  out = standard != nullptr ? *standard : Value::of(0.0);
  double result = 0;
  if (subject.is(Kind::undefined)) return e.fail_undefined(subject);
  if (subject.is(Kind::string)) {
    Str bare;
    if (!text_strip(e, subject.str, nullptr, Side::both, bare)) return false;
    if (parse_real(bare.view(), result)) out = Value::of(result);
  } else if (subject.is_number()) {
    out = Value::of(subject.as_real());
  }
  return true;
}

bool absolute(Evaluator& e, const Value& subject, Args& args, Value& out) {
  if (!e.check(args, "abs", {})) return false;
  if (subject.is(Kind::real)) {
    out = Value::of(std::abs(subject.real));
    return true;
  }
  if (!subject.is_integral()) {
    return e.fail(fmt::format("bad operand type for abs(): '{}'", type_name(subject)));
  }
  return subject.as_int() < 0
             ? e.arithmetic(Value::of(Int{0}), Value::of(subject.as_int()), Op::subtract, out)
             : (out = Value::of(subject.as_int()), true);
}

// Decimal digits of a finite double, rounded as C and Python round: exactly, ties to even.
double rounded(double value, int digits) {
  if (digits > 300 || digits < -300 || !std::isfinite(value)) return digits < 0 ? 0 : value;
  if (digits < 0) {
    const double scale = std::pow(10.0, -digits);
    return std::nearbyint(value / scale) * scale;
  }
  char buffer[700];
  snprintf(buffer, sizeof buffer, "%.*f", digits, value);
  return std::strtod(buffer, nullptr);
}

bool round(Evaluator& e, const Value& subject, Args& args, Value& out) {
  Int digits = 0;
  Str method("common");
  if (!e.check(args, "round", {"precision", "method"}) ||
      !e.int_argument(args, 0, "precision", digits) ||
      !e.text_argument(args, 1, "method", method)) {
    return false;
  }
  if (!subject.is_number()) {
    return e.fail(fmt::format("round takes a number, not {}", type_name(subject)));
  }
  const std::string_view how = method.view();
  if (how != "common" && how != "ceil" && how != "floor") {
    return e.fail("round: the method must be common, ceil or floor");
  }
  const int places = static_cast<int>(std::clamp<Int>(digits, -400, 400));
  if (how == "common") {
    if (subject.is_integral() && places >= 0) {
      out = Value::of(subject.as_int());
      return true;
    }
    const double result = rounded(subject.as_real(), places);
    Int whole = 0;
    const bool keeps_int = subject.is_integral() && int_of_real(result, whole);
    out = keeps_int ? Value::of(whole) : Value::of(result);
    return true;
  }
  const double scale = std::pow(10.0, std::clamp(places, -300, 300));
  const double scaled = subject.as_real() * scale;
  const double result = (how == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale;
  out = Value::of(std::isfinite(result) ? result : subject.as_real());
  return true;
}

bool json_of(Evaluator& e, const Value& subject, Args& args, Value& out) {
  return to_json(e, subject, args, out);
}

bool of_json(Evaluator& e, const Value& subject, Args& args, Value& out) {
  if (!e.check(args, "from_json", {})) return false;
  if (!subject.is(Kind::string)) {
    return e.fail(fmt::format("from_json takes a text, not {}", type_name(subject)));
  }
  return from_json(e, subject.str, out);
}

constexpr NamedFilter filters[] = {{"trim", trim},
                                   {"tojson", json_of},
                                   {"from_json", of_json},
                                   {"replace", replace},
                                   {"upper", plain<text_upper>},
                                   {"lower", plain<text_lower>},
                                   {"capitalize", plain<text_capitalize>},
                                   {"title", plain<title_words>},
                                   {"string", plain<same>},
                                   {"safe", plain<same>},
                                   {"escape", plain<escape_html>},
                                   {"e", plain<escape_html>},
                                   {"forceescape", plain<escape_html>},
                                   {"striptags", plain<strip_tags>},
                                   {"urlencode", plain<url_encode>},
                                   {"center", center},
                                   {"indent", indent},
                                   {"truncate", truncate},
                                   {"wordcount", wordcount},
                                   {"format", format},
                                   {"int", to_int},
                                   {"float", to_float},
                                   {"abs", absolute},
                                   {"round", round}};

}  // namespace

std::span<const NamedFilter> text_filters() { return filters; }

}  // namespace text::jinja
