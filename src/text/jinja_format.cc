// '%s: %5.2f' % values and '{}: {:>5}'.format(values): Python's two ways to format. Attributes and
// items inside of braces ({0.x}, {0[x]}) are refused: they are the way out of other sandboxes.
#include <cmath>
#include <cstdio>

#include "text/jinja_eval.h"
#include "text/jinja_text.h"
#include "text/unicode.h"

namespace text::jinja {
namespace {

constexpr Int width_max = 1 << 20;
constexpr Int precision_max = 300;

struct Spec {
  std::string fill = " ";
  char align = 0, sign = '-', type = 0;
  bool zero = false, alternate = false, comma = false;
  Int width = 0, precision = -1;
};

bool read_digits(Evaluator& e, std::string_view text, size_t& at, Int most, Int& out) {
  const size_t begin = at;
  while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
  if (at == begin) return true;
  if (!parse_int(text.substr(begin, at - begin), 10, out) || out > most) {
    return e.fail("a width or precision of a format is too large", base::ErrorKind::limit_exceeded);
  }
  return true;
}

std::string with_commas(const std::string& digits) {
  std::string out;
  const size_t point = std::min(digits.find_first_not_of("0123456789"), digits.size());
  for (size_t i = 0; i < point; ++i) {
    if (i > 0 && (point - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out + digits.substr(point);
}

std::string int_in_base(Int value, int base, bool upper) {
  auto rest =
      value < 0 ? -static_cast<unsigned __int128>(value) : static_cast<unsigned __int128>(value);
  std::string out;
  do {
    const int digit = static_cast<int>(rest % static_cast<unsigned>(base));
    out += static_cast<char>(digit < 10 ? '0' + digit : (upper ? 'A' : 'a') + digit - 10);
    rest /= static_cast<unsigned>(base);
  } while (rest != 0);
  std::reverse(out.begin(), out.end());
  return out;
}

// The digits of a number without its sign.
bool number_digits(Evaluator& e, const Value& value, const Spec& spec, std::string& out) {
  const char type = spec.type;
  if (std::string_view("diuxXob").find(type) != std::string_view::npos) {
    if (!value.is_number()) {
      return e.fail(fmt::format("a number is needed to format, not {}", type_name(value)));
    }
    if (value.is(Kind::real) && !(std::abs(value.real) < 1e38)) {
      return e.fail("cannot format this float as a whole number");
    }
    const Int whole = value.is(Kind::real) ? static_cast<Int>(value.real) : value.as_int();
    const int base = type == 'x' || type == 'X' ? 16 : type == 'o' ? 8 : type == 'b' ? 2 : 10;
    out = int_in_base(whole, base, type == 'X');
    if (spec.alternate && base != 10) out = std::string("0") + type + out;
    if (static_cast<Int>(out.size()) < spec.precision) {
      out.insert(0, static_cast<size_t>(spec.precision) - out.size(), '0');
    }
    return true;
  }
  if (!value.is_number()) {
    return e.fail(fmt::format("a real number is needed to format, not {}", type_name(value)));
  }
  const double real = std::abs(value.as_real()) * (type == '%' ? 100 : 1);
  const int precision = spec.precision < 0 ? 6 : static_cast<int>(spec.precision);
  char buffer[800];
  const char format[] = {'%', '.', '*', type == '%' ? 'f' : type, '\0'};
  const int length = snprintf(buffer, sizeof buffer, format, precision, real);
  out.assign(buffer, static_cast<size_t>(std::clamp(length, 0, 799)));
  if (type == '%') out += '%';
  return true;
}

bool is_negative(const Value& value) {
  return value.is(Kind::real) ? std::signbit(value.real) && !std::isnan(value.real)
                              : value.is_integral() && value.as_int() < 0;
}

bool add_number(Evaluator& e, const Value& value, const Spec& spec, StrBuilder& out) {
  std::string digits;
  if (!number_digits(e, value, spec, digits)) return false;
  if (spec.comma) digits = with_commas(digits);
  const std::string sign = is_negative(value) ? "-"
                           : spec.sign == '-' ? ""
                                              : std::string(1, spec.sign);
  const Int length = Int{digits.size()} + Int{sign.size()};
  const Int missing = std::max<Int>(spec.width - length, 0);
  if (!e.room(static_cast<uint64_t>(missing))) return false;
  const auto times = static_cast<size_t>(missing);
  if (spec.align == '=' || (spec.zero && spec.align == 0)) {
    out.add(sign);
    for (size_t i = 0; i < times; ++i) out.add(spec.zero && spec.align == 0 ? "0" : spec.fill);
    out.add(digits);
    return true;
  }
  const size_t left = spec.align == '<' ? 0 : spec.align == '^' ? times / 2 : times;
  for (size_t i = 0; i < left; ++i) out.add(spec.fill);
  out.add(sign);
  out.add(digits);
  for (size_t i = left; i < times; ++i) out.add(spec.fill);
  return true;
}

bool add_text(Evaluator& e, Str text, const Spec& spec, StrBuilder& out) {
  if (!e.work_on(text.view())) return false;
  if (spec.precision >= 0) {
    text = text.slice(0, byte_of_character(text.view(), static_cast<size_t>(spec.precision)));
  }
  if (spec.width == 0) {
    out.add(text);
    return true;
  }
  const Side side = spec.align == '>' ? Side::left : spec.align == '^' ? Side::both : Side::right;
  Str padded;
  if (!text_pad(e, text, spec.width, spec.fill, side, padded)) return false;
  out.add(padded);
  return true;
}

bool repr_of(Evaluator& e, const Value& value, Str& out) {
  StrBuilder builder(e.heap());
  if (!e.print_repr(value, builder)) return false;
  out = builder.take();
  return true;
}

// --- % ---

class Percent {
 public:
  Percent(Evaluator& e, const Str& format, const Value& values, StrBuilder& out)
      : e_(e), format_(format), values_(values), out_(out) {
    tuple_ = values.is(Kind::list) && values.list->kind == ListKind::tuple;
  }

  bool run() {
    const std::string_view all = format_.view();
    while (at_ < all.size()) {
      const size_t sign = std::min(all.find('%', at_), all.size());
      out_.add(format_.slice(at_, sign - at_));
      at_ = sign + 1;
      if (sign == all.size()) break;
      if (!e_.step() || !conversion(all)) return false;
    }
    const bool all_used = values_.is(Kind::dict) || (values_.is(Kind::list) && !tuple_) ||
                          (tuple_ ? used_ == values_.list->size() : used_ == 1);
    if (!all_used && !keyed_)
      return e_.fail("not all arguments converted during string formatting");
    return true;
  }

 private:
  bool next_value(Value& out) {
    const size_t count = tuple_ ? values_.list->size() : 1;
    if (used_ >= count) return e_.fail("not enough arguments for format string");
    out = tuple_ ? values_.list->at(used_) : values_;
    ++used_;
    return true;
  }

  bool read_spec(std::string_view all, Spec& spec) {
    for (; at_ < all.size() && std::string_view("-+ #0").find(all[at_]) != std::string_view::npos;
         ++at_) {
      const char flag = all[at_];
      if (flag == '-') spec.align = '<';
      if (flag == '+') spec.sign = '+';
      if (flag == ' ' && spec.sign != '+') spec.sign = ' ';
      if (flag == '#') spec.alternate = true;
      if (flag == '0') spec.zero = true;
    }
    if (!read_digits(e_, all, at_, width_max, spec.width)) return false;
    if (at_ < all.size() && all[at_] == '.') {
      ++at_;
      spec.precision = 0;
      if (!read_digits(e_, all, at_, precision_max, spec.precision)) return false;
    }
    while (at_ < all.size() && (all[at_] == 'l' || all[at_] == 'h' || all[at_] == 'L')) ++at_;
    if (at_ >= all.size()) return e_.fail("incomplete format");
    spec.type = all[at_++];
    return true;
  }

  bool conversion(std::string_view all) {
    Value value;
    bool has_value = false;
    if (at_ < all.size() && all[at_] == '(') {
      const size_t close = all.find(')', at_);
      if (close == std::string_view::npos) return e_.fail("incomplete format key");
      if (!values_.is(Kind::dict)) return e_.fail("format requires a mapping");
      const Value* found = values_.dict->find(all.substr(at_ + 1, close - at_ - 1));
      if (found == nullptr) return e_.fail("a format key is not in the mapping");
      value = *found;
      has_value = keyed_ = true;
      at_ = close + 1;
    }
    Spec spec;
    if (!read_spec(all, spec)) return false;
    if (spec.type == '%') {
      out_.add("%");
      return true;
    }
    if (!has_value && !next_value(value)) return false;
    Str text;
    if (spec.align == 0 && !spec.zero) spec.align = '>';
    switch (spec.type) {
      case 's':
        return e_.to_text(value, text) && add_text(e_, text, spec, out_);
      case 'r':
      case 'a':
        return repr_of(e_, value, text) && add_text(e_, text, spec, out_);
      case 'c':
        if (!value.is(Kind::string) || character_count(value.str.view()) != 1) {
          return e_.fail("%c requires one character");
        }
        return add_text(e_, value.str, spec, out_);
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o':
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        return add_number(e_, value, spec, out_);
      default:
        return e_.fail("unsupported format character");
    }
  }

  Evaluator& e_;
  const Str& format_;
  const Value& values_;
  StrBuilder& out_;
  size_t at_ = 0, used_ = 0;
  bool tuple_ = false, keyed_ = false;
};

// --- {} ---

class Braces {
 public:
  Braces(Evaluator& e, const Str& format, const Args& args, StrBuilder& out)
      : e_(e), format_(format), args_(args), out_(out) {}

  bool run() {
    const std::string_view all = format_.view();
    size_t at = 0;
    while (at < all.size()) {
      const size_t brace = std::min(all.find_first_of("{}", at), all.size());
      out_.add(format_.slice(at, brace - at));
      if (brace == all.size()) break;
      if (!e_.step()) return false;
      if (brace + 1 < all.size() && all[brace + 1] == all[brace]) {
        out_.add(format_.slice(brace, 1));
        at = brace + 2;
        continue;
      }
      if (all[brace] == '}') return e_.fail("Single '}' encountered in format string");
      const size_t close = all.find('}', brace);
      if (close == std::string_view::npos) return e_.fail("expected '}' before end of string");
      if (!field(all.substr(brace + 1, close - brace - 1))) return false;
      at = close + 1;
    }
    return true;
  }

 private:
  bool value_of(std::string_view name, Value& out) {
    Int index = 0;
    const Value* found = nullptr;
    if (name.empty()) {
      found = automatic_ < args_.positional.size() ? &args_.positional[automatic_] : nullptr;
      ++automatic_;
    } else if (parse_int(name, 10, index)) {
      if (index < static_cast<Int>(args_.positional.size())) {
        found = &args_.positional[static_cast<size_t>(index)];
      }
    } else if (name.find_first_of(".[{") != std::string_view::npos) {
      return e_.fail("attributes and items inside of a format are not supported");
    } else {
      found = args_.get(SIZE_MAX, name);
    }
    if (found == nullptr) return e_.fail("a replacement of the format is missing");
    out = *found;
    return true;
  }

  bool read_spec(std::string_view text, Spec& spec) {
    if (text.find('{') != std::string_view::npos)
      return e_.fail("nested formats are not supported");
    size_t at = 0;
    constexpr std::string_view aligns = "<>^=";
    const size_t first = text.empty() ? 0 : decode_at(text, 0).bytes;
    if (first < text.size() && aligns.find(text[first]) != std::string_view::npos) {
      spec.fill = text.substr(0, first);
      spec.align = text[first];
      at = first + 1;
    } else if (!text.empty() && aligns.find(text[0]) != std::string_view::npos) {
      spec.align = text[0];
      at = 1;
    }
    const auto skip = [&](char c) {
      if (at >= text.size() || text[at] != c) return false;
      ++at;
      return true;
    };
    if (skip('+')) spec.sign = '+';
    if (skip(' ')) spec.sign = ' ';
    skip('-');
    spec.alternate = skip('#');
    spec.zero = skip('0');
    if (!read_digits(e_, text, at, width_max, spec.width)) return false;
    spec.comma = skip(',');
    if (skip('.') &&
        (spec.precision = 0, !read_digits(e_, text, at, precision_max, spec.precision))) {
      return false;
    }
    if (at < text.size()) spec.type = text[at++];
    if (at != text.size()) return e_.fail("invalid format specifier");
    return true;
  }

  bool field(std::string_view text) {
    const size_t colon = std::min(text.find(':'), text.size());
    std::string_view name = text.substr(0, colon);
    char conversion = 0;
    if (name.size() >= 2 && name[name.size() - 2] == '!') {
      conversion = name.back();
      name.remove_suffix(2);
    }
    Value value;
    Spec spec;
    if (!value_of(name, value)) return false;
    if (colon < text.size() && !read_spec(text.substr(colon + 1), spec)) return false;
    Str shown;
    if (conversion == 'r' || conversion == 'a') {
      return repr_of(e_, value, shown) && add_text(e_, shown, spec, out_);
    }
    const bool is_text = value.is(Kind::string) || conversion == 's' || !value.is_number() ||
                         (value.is(Kind::boolean) && spec.type == 0) || spec.type == 's';
    const bool bare = spec.type == 0 && spec.precision < 0 && !spec.comma;
    if (is_text || (bare && spec.width == 0 && spec.sign == '-')) {
      return e_.to_text(value, shown) && add_text(e_, shown, spec, out_);
    }
    if (spec.type == 0) spec.type = value.is(Kind::real) ? 'g' : 'd';
    if (spec.type == 'n') spec.type = value.is(Kind::real) ? 'g' : 'd';
    if (std::string_view("dxXobeEfFgG%").find(spec.type) == std::string_view::npos) {
      return e_.fail("unknown format code");
    }
    if (value.is(Kind::real) &&
        std::string_view("dxXob").find(spec.type) != std::string_view::npos) {
      return e_.fail("this format code is for whole numbers");
    }
    return add_number(e_, value, spec, out_);
  }

  Evaluator& e_;
  const Str& format_;
  const Args& args_;
  StrBuilder& out_;
  size_t automatic_ = 0;
};

}  // namespace

bool format_percent(Evaluator& e, const Str& format, const Value& values, Value& out) {
  StrBuilder builder(e.heap());
  if (!Percent(e, format, values, builder).run()) return false;
  out = Value::of(builder.take());
  return true;
}

bool format_braces(Evaluator& e, const Str& format, const Args& args, Value& out) {
  StrBuilder builder(e.heap());
  if (!Braces(e, format, args, builder).run()) return false;
  out = Value::of(builder.take());
  return true;
}

}  // namespace text::jinja
