// Text operations that filters and methods share. All keep what is user text.
#include "text/jinja_text.h"

#include "text/case_tables.h"
#include "text/jinja_eval.h"
#include "text/unicode.h"

namespace text::jinja {

bool is_python_space(uint32_t c) { return is_white_space(c) || (c >= 0x1c && c <= 0x1f); }

namespace {

template <class Change>
bool mapped(Evaluator& e, const Str& text, Change change, Str& out) {
  if (!e.work_on(text.view()) || !e.step(text.size() / 4)) return false;
  StrBuilder builder(e.heap());
  CharWalk walk(text);
  std::string bytes;
  while (walk.next()) {
    bytes.clear();
    change(bytes, walk.code_point());
    builder.add(bytes, walk.user());
    if (builder.over()) return e.room(1);
  }
  out = builder.take();
  return true;
}

}  // namespace

bool text_upper(Evaluator& e, const Str& text, Str& out) {
  return mapped(e, text, append_upper, out);
}

bool text_lower(Evaluator& e, const Str& text, Str& out) {
  return mapped(e, text, append_lower, out);
}

bool text_capitalize(Evaluator& e, const Str& text, Str& out) {
  bool first = true;
  return mapped(
      e, text,
      [&](std::string& bytes, uint32_t c) {
        first ? append_upper(bytes, c) : append_lower(bytes, c);
        first = false;
      },
      out);
}

// Upper case where a word begins: for str.title() after any character that has no case, for the
// filter after white space, hyphens and opening brackets.
bool text_title(Evaluator& e, const Str& text, bool as_filter, Str& out) {
  bool begins = true;
  return mapped(
      e, text,
      [&](std::string& bytes, uint32_t c) {
        begins ? append_upper(bytes, c) : append_lower(bytes, c);
        begins = as_filter ? is_python_space(c) || c == '-' || c == '(' || c == '{' || c == '[' ||
                                 c == '<'
                           : !is_cased(c);
      },
      out);
}

bool text_swapcase(Evaluator& e, const Str& text, Str& out) {
  return mapped(
      e, text,
      [](std::string& bytes, uint32_t c) {
        is_upper(c) ? append_lower(bytes, c) : append_upper(bytes, c);
      },
      out);
}

bool is_upper(uint32_t c) {
  const Category category = category_of(c < code_point_end ? c : 0);
  return category == Category::Lu;
}
bool is_lower(uint32_t c) {
  const Category category = category_of(c < code_point_end ? c : 0);
  return category == Category::Ll;
}
bool is_cased(uint32_t c) {
  return is_upper(c) || is_lower(c) || category_of(c < code_point_end ? c : 0) == Category::Lt;
}

bool text_strip(Evaluator& e, const Str& text, const Str* characters, Side side, Str& out) {
  std::vector<uint32_t> set;
  if (characters != nullptr) {
    for (size_t at = 0; at < characters->size();) {
      const Decoded next = decode_at(characters->view(), at);
      set.push_back(next.code_point);
      at += next.bytes;
    }
    std::sort(set.begin(), set.end());
  }
  const auto strips = [&](uint32_t c) {
    return characters == nullptr ? is_python_space(c)
                                 : std::binary_search(set.begin(), set.end(), c);
  };
  const std::string_view all = text.view();
  size_t begin = 0, end = all.size();
  const int sides = static_cast<int>(side);
  while ((sides & 1) != 0 && begin < end) {
    const Decoded next = decode_at(all, begin);
    if (!strips(next.code_point)) break;
    begin += next.bytes;
  }
  while ((sides & 2) != 0 && end > begin) {
    const Decoded last = decode_before(all, end);
    if (!strips(last.code_point)) break;
    end -= last.bytes;
  }
  out = text.slice(begin, end - begin);
  return e.step(1 + (all.size() - (end - begin) + set.size()) / 16);
}

bool text_replace(Evaluator& e, const Str& text, const Str& from, const Str& to, Int times,
                  Str& out) {
  if (!e.work_on(text.view())) return false;
  const std::string_view all = text.view();
  uint64_t left = times < 0 ? UINT64_MAX : static_cast<uint64_t>(std::min<Int>(times, INT64_MAX));
  StrBuilder builder(e.heap());
  size_t at = 0;
  if (from.empty()) {  // Python puts `to` before each character and at the end
    CharWalk walk(text);
    size_t begin = 0;
    while (left > 0 && walk.next()) {
      builder.add(to);
      builder.add(walk.bytes(), walk.user());
      begin += walk.bytes().size();
      --left;
      if (builder.over()) return e.room(1);
    }
    if (left > 0) builder.add(to);
    builder.add(text.slice(begin, all.size() - begin));
    out = builder.take();
    return e.step(all.size() / 4);
  }
  while (left > 0) {
    const size_t found = all.find(from.view(), at);
    if (found == std::string_view::npos) break;
    builder.add(text.slice(at, found - at));
    builder.add(to);
    at = found + from.size();
    --left;
    if (!e.step(1 + to.size() / 64) || builder.over()) return e.room(1) && false;
  }
  if (at == 0) {
    out = text;
    return true;
  }
  builder.add(text.slice(at, all.size() - at));
  out = builder.take();
  return true;
}

bool text_pad(Evaluator& e, const Str& text, Int width, std::string_view fill, Side side,
              Str& out) {
  const auto length = static_cast<Int>(character_count(text.view()));
  if (width <= length) {
    out = text;
    return true;
  }
  const Int missing = width - length;
  constexpr Int padding_max = 1 << 24;
  if (missing > padding_max || !e.room(static_cast<uint64_t>(missing) * fill.size())) {
    return e.fail("a padded text is too large", base::ErrorKind::limit_exceeded);
  }
  // Python's center puts the odd one on the left only if the width is odd.
  Int left = side == Side::left ? missing : side == Side::right ? 0 : missing / 2;
  if (side == Side::both) left += missing & width & 1;
  if (!e.step(static_cast<uint64_t>(missing) / 4)) return false;
  StrBuilder builder(e.heap());
  for (Int i = 0; i < left; ++i) builder.add(fill);
  builder.add(text);
  for (Int i = left; i < missing; ++i) builder.add(fill);
  out = builder.take();
  return true;
}

bool text_lines(Evaluator& e, const Str& text, bool keep_ends, std::vector<Value>& out) {
  if (!e.work_on(text.view())) return false;
  const std::string_view all = text.view();
  size_t begin = 0;
  for (size_t at = 0; at < all.size();) {
    const Decoded next = decode_at(all, at);
    const uint32_t c = next.code_point;
    size_t end = at + next.bytes;
    const bool breaks = c == '\n' || c == '\r' || c == '\v' || c == '\f' ||
                        (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
    if (breaks) {
      if (c == '\r' && end < all.size() && all[end] == '\n') ++end;
      out.push_back(Value::of(text.slice(begin, (keep_ends ? end : at) - begin)));
      begin = end;
      if (!e.step() || !e.room(out.size() * 3 * sizeof(Value))) return false;
    }
    at = end;
  }
  if (begin < all.size()) out.push_back(Value::of(text.slice(begin, all.size() - begin)));
  return true;
}

namespace {

bool split_space(Evaluator& e, const Str& text, Int times, bool from_right,
                 std::vector<Value>& out) {
  const std::string_view all = text.view();
  size_t begin = 0, end = all.size();
  const auto skip = [&](bool space) {  // moves the near end over (non-)space
    while (begin < end) {
      const Decoded next = from_right ? decode_before(all, end) : decode_at(all, begin);
      if (is_python_space(next.code_point) != space) break;
      from_right ? end -= next.bytes : begin += next.bytes;
    }
  };
  for (skip(true); begin < end; skip(true)) {
    if (!e.step() || !e.room(out.size() * 3 * sizeof(Value))) return false;
    if (times-- == 0) {  // the rest, less white space at its far end
      Str rest;
      if (!text_strip(e, text.slice(begin, end - begin), nullptr,
                      from_right ? Side::left : Side::right, rest)) {
        return false;
      }
      out.push_back(Value::of(rest));
      return true;
    }
    const size_t from = begin, to = end;
    skip(false);
    out.push_back(
        Value::of(from_right ? text.slice(end, to - end) : text.slice(from, begin - from)));
  }
  return true;
}

}  // namespace

bool text_split(Evaluator& e, const Str& text, const Str* separator, Int times, bool from_right,
                std::vector<Value>& out) {
  if (!e.work_on(text.view())) return false;
  if (separator == nullptr) {
    if (!split_space(e, text, times, from_right, out)) return false;
    if (from_right) std::reverse(out.begin(), out.end());
    return true;
  }
  if (separator->empty()) return e.fail("empty separator");
  const std::string_view all = text.view(), mark = separator->view();
  size_t begin = 0, end = all.size();
  while (times-- != 0) {
    const size_t found = from_right ? (end < mark.size() ? std::string_view::npos
                                                         : all.rfind(mark, end - mark.size()))
                                    : all.find(mark, begin);
    if (found == std::string_view::npos) break;
    if (!e.step() || !e.room(out.size() * 3 * sizeof(Value))) return false;
    if (from_right) {
      out.push_back(Value::of(text.slice(found + mark.size(), end - found - mark.size())));
      end = found;
    } else {
      out.push_back(Value::of(text.slice(begin, found - begin)));
      begin = found + mark.size();
    }
  }
  out.push_back(Value::of(text.slice(begin, end - begin)));
  if (from_right) std::reverse(out.begin(), out.end());
  return true;
}

bool text_join(Evaluator& e, const Str& separator, const List& items, bool only_texts, Str& out) {
  StrBuilder builder(e.heap());
  for (size_t i = 0; i < items.size(); ++i) {
    if (!e.step()) return false;
    if (i > 0) builder.add(separator);
    const Value item = items.at(i);
    if (only_texts && !item.is(Kind::string)) {
      return e.fail(
          fmt::format("sequence item {}: expected str instance, {} found", i, type_name(item)));
    }
    if (!e.print(item, builder)) return false;
  }
  out = builder.take();
  return true;
}

}  // namespace text::jinja
