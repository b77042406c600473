// str() and repr() as Python prints, and JSON as Python's json.dumps writes it (", " and ": "
// between, nothing but quotes, backslashes and control characters escaped) and as json.loads reads
// it.
#include <cmath>

#include "base/json.h"
#include "text/jinja_eval.h"
#include "text/unicode.h"

namespace text::jinja {
namespace {

constexpr int print_depth_max = 100;
constexpr int json_depth_max = 100;

// What repr() writes as it is: all but control, format, unassigned and separators other than space.
bool is_printable(uint32_t c) {
  if (c == ' ') return true;
  if (c >= ill_formed) return false;
  return (mask_of(category_of(c)) & (mask_other | mask_separator)) == 0;
}

void add_repr(const Str& text, StrBuilder& out) {
  const std::string_view all = text.view();
  const bool double_quotes =
      all.find('\'') != std::string_view::npos && all.find('"') == std::string_view::npos;
  const char quote = double_quotes ? '"' : '\'';
  out.add(std::string_view(&quote, 1));
  CharWalk walk(text);
  while (walk.next()) {
    const uint32_t c = walk.code_point();
    std::string escaped;
    if (c == static_cast<uint32_t>(quote) || c == '\\') {
      escaped = {'\\', static_cast<char>(c)};
    } else if (c == '\n') {
      escaped = "\\n";
    } else if (c == '\r') {
      escaped = "\\r";
    } else if (c == '\t') {
      escaped = "\\t";
    } else if (!is_printable(c)) {
      escaped = c < 0x100     ? fmt::format("\\x{:02x}", c)
                : c < 0x10000 ? fmt::format("\\u{:04x}", c)
                              : fmt::format("\\U{:08x}", c);
    }
    out.add(escaped.empty() ? walk.bytes() : std::string_view(escaped), walk.user());
    if (out.over()) return;  // the next step says so
  }
  out.add(std::string_view(&quote, 1));
}

}  // namespace

bool Evaluator::print(const Value& value, StrBuilder& out) {
  if (value.is(Kind::string)) {
    out.add(value.str);
    return work_on(value.str.view());
  }
  if (value.is(Kind::undefined)) return true;
  return print_repr(value, out);
}

bool Evaluator::to_text(const Value& value, Str& out) {
  if (value.is(Kind::string)) {
    out = value.str;
    return true;
  }
  StrBuilder builder(heap_);
  if (!print(value, builder)) return false;
  out = builder.take();
  return true;
}

bool Evaluator::print_list(const List& list, StrBuilder& out, int depth) {
  if (list.kind == ListKind::range) {
    const Int stop = list.start + list.step * static_cast<Int>(list.count);
    out.add(fmt::format("range({}, {}{})", int_text(list.start), int_text(stop),
                        list.step == 1 ? "" : ", " + int_text(list.step)));
    return true;
  }
  const bool tuple = list.kind == ListKind::tuple;
  const bool view =
      list.kind == ListKind::keys || list.kind == ListKind::values || list.kind == ListKind::items;
  if (view) {
    out.add(list.kind == ListKind::keys     ? "dict_keys("
            : list.kind == ListKind::values ? "dict_values("
                                            : "dict_items(");
  }
  out.add(tuple ? "(" : "[");
  for (size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0) out.add(", ");
    if (!print_repr(list.items[i], out, depth + 1)) return false;
  }
  if (tuple && list.items.size() == 1) out.add(",");
  out.add(tuple ? ")" : "]");
  if (view) out.add(")");
  return true;
}

bool Evaluator::print_dict(const Dict& dict, StrBuilder& out, int depth) {
  out.add("{");
  for (size_t i = 0; i < dict.members.size(); ++i) {
    if (i > 0) out.add(", ");
    if (!print_repr(dict.members[i].first, out, depth + 1)) return false;
    out.add(": ");
    if (!print_repr(dict.members[i].second, out, depth + 1)) return false;
  }
  out.add("}");
  return true;
}

bool Evaluator::print_repr(const Value& value, StrBuilder& out, int depth) {
  if (!step()) return false;
  if (depth > print_depth_max) return fail("a printed value nests too deep");
  switch (value.kind) {
    case Kind::undefined:
      out.add("Undefined");
      return true;
    case Kind::none:
      out.add("None");
      return true;
    case Kind::boolean:
      out.add(value.boolean ? "True" : "False");
      return true;
    case Kind::integer:
      out.add(int_text(value.integer));
      return true;
    case Kind::real:
      out.add(real_text(value.real));
      return true;
    case Kind::string:
      add_repr(value.str, out);
      return step(1 + value.str.size() / 4);
    case Kind::list:
      return print_list(*value.list, out, depth);
    case Kind::dict:
      return print_dict(*value.dict, out, depth);
    default:
      return fail(fmt::format("a {} cannot be printed", type_name(value)));
  }
}

namespace {

struct JsonStyle {
  bool ascii = false, sorted = false, lines = false;
  Str indent, item_separator{", "}, key_separator{": "};
};

std::string json_escape(uint32_t c, bool ascii) {
  switch (c) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    case '\f':
      return "\\f";
    case '\b':
      return "\\b";
    default:
      break;
  }
  if (c < 0x20 || (ascii && c >= 0x7f && c < 0x10000)) return fmt::format("\\u{:04x}", c);
  if (ascii && c >= 0x10000 && c < code_point_end) {
    const uint32_t rest = c - 0x10000;
    return fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + (rest >> 10), 0xdc00 + (rest & 0x3ff));
  }
  return "";
}

void add_json_text(const Str& text, const JsonStyle& style, StrBuilder& out) {
  out.add("\"");
  const std::string_view all = text.view();
  size_t begin = 0;
  for (size_t at = 0; at < all.size() && !out.over();) {
    const auto byte = static_cast<unsigned char>(all[at]);
    const bool plain = byte >= 0x20 && byte != '"' && byte != '\\';
    if (plain && !(style.ascii && byte >= 0x7f)) {
      ++at;
      continue;
    }
    const Decoded next = decode_at(all, at);
    out.add(text.slice(begin, at - begin));
    out.add(json_escape(next.code_point, style.ascii), text.slice(at, next.bytes).has_user_text());
    at += next.bytes;
    begin = at;
  }
  out.add(text.slice(begin, all.size() - begin));
  out.add("\"");
}

class JsonWriter {
 public:
  JsonWriter(Evaluator& e, const JsonStyle& style, StrBuilder& out)
      : e_(e), style_(style), out_(out) {}

  bool write(const Value& value, int depth) {
    if (!e_.step()) return false;
    if (depth > json_depth_max) return e_.fail("tojson: nested too deep");
    switch (value.kind) {
      case Kind::none:
        out_.add("null");
        return true;
      case Kind::boolean:
        out_.add(value.boolean ? "true" : "false");
        return true;
      case Kind::integer:
        out_.add(int_text(value.integer));
        return true;
      case Kind::real:
        out_.add(json_real(value.real));
        return true;
      case Kind::string:
        add_json_text(value.str, style_, out_);
        return e_.step(1 + value.str.size() / 16);
      case Kind::list:
        // A lazy map() or select() counts as a list: templates rely on it.
        if (value.list->kind == ListKind::list || value.list->kind == ListKind::tuple ||
            value.list->kind == ListKind::lazy) {
          return write_list(*value.list, depth);
        }
        break;
      case Kind::dict:
        return write_dict(*value.dict, depth);
      default:
        break;
    }
    return e_.fail(fmt::format("Object of type {} is not JSON serializable", type_name(value)));
  }

 private:
  static std::string json_real(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return real_text(value);
  }
  bool new_line(int depth) {
    if (!style_.lines) return true;
    out_.add("\n");
    if (!e_.room(style_.indent.size() * static_cast<size_t>(depth))) return false;
    for (int i = 0; i < depth; ++i) out_.add(style_.indent);
    return e_.step(style_.indent.size() * static_cast<size_t>(depth) / 64);
  }
  bool write_list(const List& list, int depth) {
    if (list.items.empty()) {
      out_.add("[]");
      return true;
    }
    out_.add("[");
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) out_.add(style_.item_separator);
      if (!new_line(depth + 1) || !write(list.items[i], depth + 1)) return false;
    }
    if (!new_line(depth)) return false;
    out_.add("]");
    return true;
  }
  bool write_key(const Value& key) {
    if (key.is(Kind::string)) {
      add_json_text(key.str, style_, out_);
      return e_.work_on(key.str.view());
    }
    if (!key.is_number() && !key.is(Kind::none)) return e_.fail("tojson: a key is no text");
    out_.add("\"");
    if (!write(key, 0)) return false;
    out_.add("\"");
    return true;
  }
  bool write_dict(const Dict& dict, int depth) {
    if (dict.members.empty()) {
      out_.add("{}");
      return true;
    }
    std::vector<const std::pair<Value, Value>*> order;
    for (const auto& member : dict.members) {
      if (style_.sorted && !member.first.is(Kind::string)) {
        return e_.fail("tojson: only text keys can be sorted");
      }
      order.push_back(&member);
    }
    if (style_.sorted) {
      std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
        return a->first.str.view() < b->first.str.view();
      });
      if (!e_.step(order.size())) return false;
    }
    out_.add("{");
    for (size_t i = 0; i < order.size(); ++i) {
      if (i > 0) out_.add(style_.item_separator);
      if (!new_line(depth + 1) || !write_key(order[i]->first)) return false;
      out_.add(style_.key_separator);
      if (!write(order[i]->second, depth + 1)) return false;
    }
    if (!new_line(depth)) return false;
    out_.add("}");
    return true;
  }

  Evaluator& e_;
  const JsonStyle& style_;
  StrBuilder& out_;
};

}  // namespace

bool to_json(Evaluator& e, const Value& value, Args& args, Value& out) {
  JsonStyle style;
  if (!e.check(args, "tojson", {"ensure_ascii", "indent", "separators", "sort_keys"}) ||
      !e.flag_argument(args, 0, "ensure_ascii", style.ascii) ||
      !e.flag_argument(args, 3, "sort_keys", style.sorted)) {
    return false;
  }
  const Value* indent = args.get(1, "indent");
  if (indent != nullptr && !indent->is(Kind::none)) {
    style.lines = true;
    style.item_separator = Str(",");
    if (indent->is(Kind::string)) {
      style.indent = indent->str;
    } else if (indent->is_integral()) {
      constexpr Int indent_max = 1 << 20;
      const Int count = std::clamp<Int>(indent->as_int(), 0, indent_max + 1);
      if (count > indent_max || !e.room(static_cast<uint64_t>(count))) {
        return e.fail("tojson: the indent is too large", base::ErrorKind::limit_exceeded);
      }
      style.indent = e.heap().text(std::string(static_cast<size_t>(count), ' '));
    } else {
      return e.fail("tojson: indent is neither a number nor a text");
    }
  }
  const Value* separators = args.get(2, "separators");
  if (separators != nullptr && !separators->is(Kind::none)) {
    if (!separators->is(Kind::list) || separators->list->size() != 2 ||
        !separators->list->at(0).is(Kind::string) || !separators->list->at(1).is(Kind::string)) {
      return e.fail("tojson: separators are not two texts");
    }
    style.item_separator = separators->list->at(0).str;
    style.key_separator = separators->list->at(1).str;
  }
  StrBuilder builder(e.heap());
  if (!JsonWriter(e, style, builder).write(value, 0)) return false;
  out = Value::of(builder.take());
  return true;
}

bool value_of_json(Evaluator& e, const base::Json& json, bool user, Value& out, int depth) {
  if (!e.step()) return false;
  if (depth > json_depth_max) return e.fail("the context nests too deep");
  if (json.is_null()) {
    out = Value::none();
  } else if (json.is_bool()) {
    out = Value::of(json.as_bool());
  } else if (json.is_integer()) {
    out = Value::of(static_cast<Int>(json.as_integer()));
  } else if (json.is_number()) {
    out = Value::of(json.as_number());
  } else if (json.is_string()) {
    out = Value::of(Str(json.as_string(), user));
  } else if (json.is_array()) {
    std::vector<Value> items(json.as_array().size());
    for (size_t i = 0; i < items.size(); ++i) {
      if (!value_of_json(e, json.as_array()[i], user, items[i], depth + 1)) return false;
    }
    List* list = e.heap().list(std::move(items));
    list->frozen = true;
    out = Value::of(list);
  } else {
    Dict* dict = e.heap().dict();
    for (const auto& [key, member] : json.as_object()) {
      Value value;
      if (!value_of_json(e, member, user, value, depth + 1)) return false;
      e.heap().set(*dict, Value::of(Str(key, user)), std::move(value));
    }
    out = Value::of(dict);
  }
  return true;
}

namespace {

// The strings of parsed JSON die with it: copies, in the same shape.
bool copied_value(Evaluator& e, const base::Json& json, bool user, Value& out, int depth) {
  if (!e.step()) return false;
  const auto text = [&](const std::string& from) {
    std::vector<Buffer::Span> spans;
    if (user && !from.empty()) spans.push_back({0, static_cast<uint32_t>(from.size())});
    return Value::of(e.heap().text(from, std::move(spans)));
  };
  if (json.is_string()) {
    out = text(json.as_string());
  } else if (json.is_array()) {
    List* list = e.heap().list();
    for (const base::Json& element : json.as_array()) {
      Value value;
      if (!copied_value(e, element, user, value, depth + 1)) return false;
      e.heap().push(*list, std::move(value));
    }
    out = Value::of(list);
  } else if (json.is_object()) {
    Dict* dict = e.heap().dict();
    for (const auto& [key, member] : json.as_object()) {
      Value value;
      if (!copied_value(e, member, user, value, depth + 1)) return false;
      e.heap().set(*dict, text(key), std::move(value));
    }
    out = Value::of(dict);
  } else {
    return value_of_json(e, json, user, out, depth);
  }
  return true;
}

}  // namespace

bool from_json(Evaluator& e, const Str& text, Value& out) {
  // A tree of values takes about forty times its text.
  if (!e.room(text.size() * 40) || !e.work_on(text.view())) return false;
  const auto json = base::parse_json(text.view(), "from_json", {.depth_max = json_depth_max});
  if (!json) return e.fail("from_json: the text is not JSON");
  return copied_value(e, *json, text.has_user_text(), out, 0);
}

}  // namespace text::jinja
