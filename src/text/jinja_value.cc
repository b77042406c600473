#include "text/jinja_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fmt/format.h>
#include <functional>

#include "text/unicode.h"

namespace text::jinja {
namespace {

// What one object costs beside its contents: the node itself and what malloc adds.
constexpr uint64_t object_overhead_bytes = 32;
constexpr size_t dict_small_members_max = 8;

size_t hash_text(std::string_view text) { return std::hash<std::string_view>()(text); }

// Equal numbers of different kinds have equal hashes.
size_t hash_value(const Value& key) {
  switch (key.kind) {
    case Kind::string:
      return hash_text(key.str.view());
    case Kind::boolean:
    case Kind::integer:
      return std::hash<double>()(static_cast<double>(key.as_int()));
    case Kind::real:
      return std::hash<double>()(key.real);
    default:
      return static_cast<size_t>(key.kind);
  }
}

}  // namespace

void Str::release() {
  if (buffer_ == nullptr || --buffer_->references != 0) return;
  if (buffer_->heap != nullptr) buffer_->heap->discharge(buffer_->charged);
  delete buffer_;
}

bool Str::has_user_text() const {
  bool has = false;
  each_user_span([&](size_t, size_t) { has = true; });
  return has;
}

Str Heap::text(std::string bytes, std::vector<Buffer::Span> user) {
  auto buffer = std::make_unique<Buffer>();
  if (bytes.capacity() > 2 * bytes.size() + 64) bytes.shrink_to_fit();
  if (user.capacity() > 2 * user.size() + 4) user.shrink_to_fit();
  buffer->bytes = std::move(bytes);
  buffer->user = std::move(user);
  buffer->heap = this;
  buffer->charged = sizeof(Buffer) + object_overhead_bytes + buffer->bytes.capacity() +
                    buffer->user.capacity() * sizeof(Buffer::Span);
  charge(buffer->charged);
  const std::string_view view = buffer->bytes;
  return Str(buffer.release(), view);
}

List* Heap::list(ListKind kind) {
  charge(sizeof(List) + object_overhead_bytes);
  lists_.push_back(std::make_unique<List>());
  lists_.back()->kind = kind;
  return lists_.back().get();
}
List* Heap::list(std::vector<Value> items, ListKind kind) {
  List* made = list(kind);
  charge(items.capacity() * sizeof(Value));
  made->items = std::move(items);
  return made;
}
Dict* Heap::dict() {
  charge(sizeof(Dict) + object_overhead_bytes);
  dicts_.push_back(std::make_unique<Dict>());
  return dicts_.back().get();
}
Space* Heap::space() {
  charge(sizeof(Space) + object_overhead_bytes);
  spaces_.push_back(std::make_unique<Space>());
  return spaces_.back().get();
}
Function* Heap::function(Function::Kind kind) {
  charge(sizeof(Function) + object_overhead_bytes);
  functions_.push_back(std::make_unique<Function>());
  functions_.back()->kind = kind;
  return functions_.back().get();
}
LoopState* Heap::loop() {
  charge(sizeof(LoopState) + object_overhead_bytes);
  loops_.push_back(std::make_unique<LoopState>());
  return loops_.back().get();
}
Scope* Heap::scope(Scope* parent) {
  charge(sizeof(Scope) + object_overhead_bytes + 4 * sizeof(Value));
  scopes_.push_back(std::make_unique<Scope>());
  scopes_.back()->parent = parent;
  return scopes_.back().get();
}

namespace {
// Reserves one more place, if the old and the new memory fit together.
template <class T>
bool grown(Heap& heap, std::vector<T>& items) {
  if (items.size() < items.capacity()) return true;
  const size_t places = std::max<size_t>(4, items.capacity() + items.capacity() / 2);
  if (!heap.room(places * sizeof(T))) {
    heap.exhaust();
    return false;
  }
  heap.charge((places - items.capacity()) * sizeof(T));
  items.reserve(places);
  return true;
}
}  // namespace

void Heap::push(List& list, Value value) {
  if (grown(*this, list.items)) list.items.push_back(std::move(value));
}

void Heap::set(Dict& dict, Value key, Value value) {
  if (!grown(*this, dict.members)) return;
  const uint64_t before = dict.buckets.capacity();
  dict.set(std::move(key), std::move(value));
  charge((dict.buckets.capacity() - before) * sizeof(dict.buckets[0]));
}

void Heap::set(Space& space, Str name, Value value) {
  if (Value* old = space.find(name.view())) {
    *old = std::move(value);
    return;
  }
  if (!grown(*this, space.attributes)) return;
  space.attributes.emplace_back(std::move(name), std::move(value));
}

// The bucket that holds the key or the empty one where it belongs. For a text key, `text` is it.
size_t Dict::place(const Value& key, std::string_view text) const {
  const size_t mask = buckets.size() - 1;
  size_t at = (key.is(Kind::string) ? hash_text(text) : hash_value(key)) & mask;
  while (buckets[at] != 0) {
    const Value& other = members[buckets[at] - 1].first;
    const bool same = key.is(Kind::string) ? other.is(Kind::string) && other.str.view() == text
                                           : equal(other, key);
    if (same) break;
    at = (at + 1) & mask;
  }
  return at;
}

void Dict::rebuild() {
  size_t size = 32;
  while (size < members.size() * 2 + 2) size *= 2;
  buckets.assign(size, 0);
  for (uint32_t i = 0; i < members.size(); ++i) {
    buckets[place(members[i].first, members[i].first.str.view())] = i + 1;
  }
}

const Value* Dict::find(std::string_view key) const {
  if (buckets.empty()) {
    for (const auto& [name, value] : members) {
      if (name.is(Kind::string) && name.str.view() == key) return &value;
    }
    return nullptr;
  }
  Value text_key = Value::of(Str());
  const uint32_t found = buckets[place(text_key, key)];
  return found == 0 ? nullptr : &members[found - 1].second;
}

const Value* Dict::find(const Value& key) const {
  if (key.is(Kind::string)) return find(key.str.view());
  if (buckets.empty()) {
    for (const auto& [name, value] : members) {
      if (!name.is(Kind::string) && equal(name, key)) return &value;
    }
    return nullptr;
  }
  const uint32_t found = buckets[place(key, {})];
  return found == 0 ? nullptr : &members[found - 1].second;
}

void Dict::set(Value key, Value value) {
  if (const Value* old = find(key)) {
    *const_cast<Value*>(old) = std::move(value);
    return;
  }
  members.emplace_back(std::move(key), std::move(value));
  if (members.size() <= dict_small_members_max) return;
  if (members.size() * 2 + 2 > buckets.size()) {
    rebuild();
  } else {
    const Value& added = members.back().first;
    buckets[place(added, added.str.view())] = static_cast<uint32_t>(members.size());
  }
}

CharWalk::CharWalk(const Str& text) : text_(text.view()) {
  text.each_user_span([&](size_t begin, size_t end) { spans_.emplace_back(begin, end); });
}

bool CharWalk::next() {
  if (at_ >= text_.size()) return false;
  const Decoded decoded = decode_at(text_, at_);
  bytes_ = text_.substr(at_, decoded.bytes);
  code_point_ = decoded.code_point;
  while (span_ < spans_.size() && spans_[span_].second <= at_) ++span_;
  user_ = span_ < spans_.size() && spans_[span_].first < at_ + decoded.bytes;
  at_ += decoded.bytes;
  return true;
}

bool truth(const Value& value) {
  switch (value.kind) {
    case Kind::undefined:
    case Kind::none:
      return false;
    case Kind::boolean:
      return value.boolean;
    case Kind::integer:
      return value.integer != 0;
    case Kind::real:
      return value.real != 0;
    case Kind::string:
      return !value.str.empty();
    case Kind::list:
      return value.list->kind == ListKind::lazy || value.list->size() != 0;
    case Kind::dict:
      return !value.dict->members.empty();
    case Kind::space:
    case Kind::function:
    case Kind::loop:
      return true;
  }
  return false;
}

namespace {

constexpr int equal_depth_max = 64;

bool equal_lists(const List& a, const List& b, uint64_t& work, uint64_t work_max, int depth) {
  if (a.kind != b.kind || a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!equal(a.at(i), b.at(i), work, work_max, depth + 1)) return false;
  }
  return true;
}

bool equal_dicts(const Dict& a, const Dict& b, uint64_t& work, uint64_t work_max, int depth) {
  if (a.members.size() != b.members.size()) return false;
  for (const auto& [key, value] : a.members) {
    const Value* other = b.find(key);
    if (other == nullptr || !equal(value, *other, work, work_max, depth + 1)) return false;
  }
  return true;
}

}  // namespace

bool equal(const Value& a, const Value& b, uint64_t& work, uint64_t work_max, int depth) {
  if (depth > equal_depth_max || ++work > work_max) return false;
  if (a.is_number() && b.is_number()) {
    if (a.is(Kind::real) || b.is(Kind::real)) return a.as_real() == b.as_real();
    return a.as_int() == b.as_int();
  }
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Kind::undefined:
    case Kind::none:
      return true;
    case Kind::string:
      work += a.str.size() / 64;
      return a.str.view() == b.str.view();
    case Kind::list:
      return a.list == b.list || equal_lists(*a.list, *b.list, work, work_max, depth);
    case Kind::dict:
      return a.dict == b.dict || equal_dicts(*a.dict, *b.dict, work, work_max, depth);
    case Kind::space:
      return a.space == b.space;
    case Kind::function:
      return a.function == b.function;
    case Kind::loop:
      return a.loop == b.loop;
    default:
      return false;
  }
}

std::string_view type_name(const Value& value) {
  switch (value.kind) {
    case Kind::undefined:
      return "Undefined";
    case Kind::none:
      return "NoneType";
    case Kind::boolean:
      return "bool";
    case Kind::integer:
      return "int";
    case Kind::real:
      return "float";
    case Kind::string:
      return "str";
    case Kind::dict:
      return "dict";
    case Kind::space:
      return "Namespace";
    case Kind::function:
      return "callable";
    case Kind::loop:
      return "LoopContext";
    case Kind::list:
      break;
  }
  switch (value.list->kind) {
    case ListKind::list:
      return "list";
    case ListKind::tuple:
      return "tuple";
    case ListKind::range:
      return "range";
    case ListKind::lazy:
      return "generator";
    case ListKind::keys:
      return "dict_keys";
    case ListKind::values:
      return "dict_values";
    case ListKind::items:
      return "dict_items";
  }
  return "list";
}

std::string missing_message(const Value& value) {
  // A name that a person wrote (a key of the context) stays out of errors.
  const std::string_view text = value.str.has_user_text() ? "…" : value.str.view();
  const std::string name(text.substr(0, byte_of_character(text, 60)));
  switch (value.missing) {
    case Missing::name:
      return fmt::format("'{}' is undefined", name);
    case Missing::attribute:
      return fmt::format("the object has no attribute '{}'", name);
    case Missing::element:
      return "the list or text has no such element";
    case Missing::parameter:
      return fmt::format("parameter '{}' was not provided", name);
    case Missing::nothing:
      break;
  }
  return "the value is undefined";
}

size_t character_count(std::string_view text) {
  size_t count = 0;
  for (size_t at = 0; at < text.size(); ++count) at += decode_at(text, at).bytes;
  return count;
}

size_t byte_of_character(std::string_view text, size_t index) {
  size_t at = 0;
  for (; index > 0 && at < text.size(); --index) at += decode_at(text, at).bytes;
  return at;
}

std::string int_text(Int value) {
  if (value == 0) return "0";
  const bool negative = value < 0;
  auto rest =
      negative ? -static_cast<unsigned __int128>(value) : static_cast<unsigned __int128>(value);
  std::string digits;
  for (; rest != 0; rest /= 10) digits += static_cast<char>('0' + static_cast<int>(rest % 10));
  if (negative) digits += '-';
  std::reverse(digits.begin(), digits.end());
  return digits;
}

std::string real_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto done =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  const std::string_view all(buffer, static_cast<size_t>(done.ptr - buffer));
  const size_t e = all.find('e');
  std::string digits;
  const bool negative = all[0] == '-';
  for (const char c : all.substr(0, e)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  const int exponent = std::atoi(std::string(all.substr(e + 1)).c_str());
  std::string out = negative ? "-" : "";
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    out += digits[0];
    if (count > 1) out += "." + digits.substr(1);
    return out + fmt::format("e{}{:02}", exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0)
    return out + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  if (count <= exponent + 1) {
    return out + digits + std::string(static_cast<size_t>(exponent + 1 - count), '0') + ".0";
  }
  const auto point = static_cast<size_t>(exponent) + 1;
  return out + digits.substr(0, point) + "." + digits.substr(point);
}

bool parse_int(std::string_view digits, int base, Int& out) {
  if (digits.empty()) return false;
  Int value = 0;
  for (const char c : digits) {
    int digit = 99;
    if (c >= '0' && c <= '9') digit = c - '0';
    if (c >= 'a' && c <= 'z') digit = c - 'a' + 10;
    if (c >= 'A' && c <= 'Z') digit = c - 'A' + 10;
    if (digit >= base) return false;
    if (__builtin_mul_overflow(value, Int{base}, &value) ||
        __builtin_add_overflow(value, Int{digit}, &value)) {
      return false;
    }
  }
  out = value;
  return true;
}

bool parse_real(std::string_view text, double& out) {
  bool negative = false;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  std::string lower;
  for (const char c : text.substr(0, 16))
    lower += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  if (lower == "nan") {
    out = std::nan("");
    return true;
  }
  if (lower == "inf" || lower == "infinity") {
    out = negative ? -HUGE_VAL : HUGE_VAL;
    return true;
  }
  if (text.empty() || !((text[0] >= '0' && text[0] <= '9') || text[0] == '.')) return false;
  const auto done = std::from_chars(text.data(), text.data() + text.size(), out);
  if (done.ptr != text.data() + text.size()) return false;
  if (done.ec == std::errc::result_out_of_range) {
    // Too large, or too small for a double: strtod tells which.
    out = std::strtod(std::string(text).c_str(), nullptr);
  } else if (done.ec != std::errc()) {
    return false;
  }
  if (negative) out = -out;
  return true;
}

}  // namespace text::jinja
