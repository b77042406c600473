// Values of the template language, and the memory that they take. They behave as Python's do, since
// templates are written against Jinja2: str, int, float, bool, None, list, tuple, dict, and
// Undefined.
//
// Ownership: one Heap for each render. Containers live in it until it ends, so that a list which
// holds itself is no leak and freeing never recurses. Texts are slices of counted buffers: split,
// trim and slicing copy nothing, and a buffer goes when its last slice does. The Heap counts the
// bytes of both and says when there are too many. One thread.
//
// Every text knows which of its bytes came from string values of the context (user text): spans of
// its buffer, kept through concatenation, slicing and every filter.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_ast.h"

namespace text::jinja {

class Heap;

// Bytes with their spans of user text (ascending, not touching). Immutable once it is shared.
struct Buffer {
  struct Span {
    uint32_t begin, end;
  };
  std::string bytes;
  std::vector<Span> user;
  uint32_t references = 0;
  Heap* heap = nullptr;
  uint64_t charged = 0;
};

// A slice of a buffer; or, without one, of a literal of the template or of a string of the context,
// both of which outlive the render.
class Str {
 public:
  Str() = default;
  explicit Str(std::string_view outside, bool user = false) : text_(outside), user_(user) {}
  Str(Buffer* buffer, std::string_view text) : buffer_(buffer), text_(text) { retain(); }
  Str(const Str& other) : buffer_(other.buffer_), text_(other.text_), user_(other.user_) {
    retain();
  }
  Str(Str&& other) noexcept : buffer_(other.buffer_), text_(other.text_), user_(other.user_) {
    other.buffer_ = nullptr;
    other.text_ = {};
  }
  Str& operator=(Str other) noexcept {
    std::swap(buffer_, other.buffer_);
    std::swap(text_, other.text_);
    std::swap(user_, other.user_);
    return *this;
  }
  ~Str() { release(); }

  std::string_view view() const { return text_; }
  size_t size() const { return text_.size(); }
  bool empty() const { return text_.empty(); }
  Str slice(size_t from, size_t count) const {
    Str part = buffer_ == nullptr ? Str({}, user_) : Str(buffer_, {});
    part.text_ = text_.substr(from, count);
    return part;
  }
  // Calls f(begin, end) for each span of user text, in bytes of this slice.
  template <class F>
  void each_user_span(F f) const;
  bool has_user_text() const;

 private:
  void retain() {
    if (buffer_ != nullptr) ++buffer_->references;
  }
  void release();
  Buffer* buffer_ = nullptr;
  std::string_view text_;
  bool user_ = false;  // without a buffer: all of it
};

enum class Kind : uint8_t {
  undefined,
  none,
  boolean,
  integer,
  real,
  string,
  list,
  dict,
  space,
  function,
  loop
};
using Int = __int128;

struct List;
struct Dict;
struct Space;
struct Function;
struct LoopState;

// Why a value is undefined; the name is in `str`.
enum class Missing : uint8_t { name, attribute, element, parameter, nothing };

struct Value {
  Kind kind = Kind::undefined;
  Missing missing = Missing::nothing;
  union {
    bool boolean;
    Int integer = 0;
    double real;
    List* list;
    Dict* dict;
    Space* space;
    Function* function;
    LoopState* loop;
  };
  Str str;

  Value() {}
  static Value none() { return of(Kind::none); }
  static Value of(bool value) {
    Value v = of(Kind::boolean);
    v.integer = 0;
    v.boolean = value;
    return v;
  }
  static Value of(Int value) {
    Value v = of(Kind::integer);
    v.integer = value;
    return v;
  }
  static Value of(double value) {
    Value v = of(Kind::real);
    v.real = value;
    return v;
  }
  static Value of(Str value) {
    Value v = of(Kind::string);
    v.str = std::move(value);
    return v;
  }
  static Value of(List* list) {
    Value v = of(Kind::list);
    v.list = list;
    return v;
  }
  static Value of(Dict* dict) {
    Value v = of(Kind::dict);
    v.dict = dict;
    return v;
  }
  static Value of(Space* space) {
    Value v = of(Kind::space);
    v.space = space;
    return v;
  }
  static Value of(Function* function) {
    Value v = of(Kind::function);
    v.function = function;
    return v;
  }
  static Value of(LoopState* loop) {
    Value v = of(Kind::loop);
    v.loop = loop;
    return v;
  }
  static Value undefined(Missing why, Str name) {
    Value v;
    v.missing = why;
    v.str = std::move(name);
    return v;
  }

  bool is(Kind k) const { return kind == k; }
  bool is_number() const { return is(Kind::integer) || is(Kind::real) || is(Kind::boolean); }
  bool is_integral() const { return is(Kind::integer) || is(Kind::boolean); }
  Int as_int() const { return is(Kind::boolean) ? Int{boolean} : integer; }
  double as_real() const { return is(Kind::real) ? real : static_cast<double>(as_int()); }

 private:
  static Value of(Kind kind) {
    Value v;
    v.kind = kind;
    return v;
  }
};

// What Python would have: they print, index and count differently.
enum class ListKind : uint8_t { list, tuple, range, lazy, keys, values, items };

struct List {
  ListKind kind = ListKind::list;
  bool frozen = false;  // from the context: one context may be rendered many times
  std::vector<Value> items;
  Int start = 0, step = 1;  // of a range
  uint64_t count = 0;       // of a range

  size_t size() const { return kind == ListKind::range ? count : items.size(); }
  Value at(size_t i) const {
    if (kind == ListKind::range) return Value::of(start + step * static_cast<Int>(i));
    return items[i];
  }
};

// In order of insertion; an index is made when there are many.
struct Dict {
  std::vector<std::pair<Value, Value>> members;
  std::vector<uint32_t> buckets;  // open addressing, index + 1; empty while small

  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
  void set(Value key, Value value);

 private:
  size_t place(const Value& key, std::string_view text) const;
  void rebuild();
};

struct Scope {
  Scope* parent = nullptr;
  bool captured = false;  // a macro or call block holds it
  std::vector<std::pair<NameId, Value>> names;

  Value* find(NameId name) {
    for (auto& [id, value] : names) {
      if (id == name) return &value;
    }
    return nullptr;
  }
  void set(NameId name, Value value) {
    if (Value* old = find(name)) {
      *old = std::move(value);
    } else {
      names.emplace_back(name, std::move(value));
    }
  }
};

struct Space {  // namespace()
  std::vector<std::pair<Str, Value>> attributes;
  Value* find(std::string_view name) {
    for (auto& [key, value] : attributes) {
      if (key.view() == name) return &value;
    }
    return nullptr;
  }
};

// Builtins are numbered in jinja_call.h; a method is a builtin bound to `self`.
struct Function {
  enum class Kind : uint8_t { builtin, method, macro, cycler, joiner } kind = Kind::builtin;
  int builtin = 0;
  std::string_view name;
  Value self;
  const MacroNode* macro = nullptr;
  Scope* scope = nullptr;
  std::vector<Value> items;  // of a cycler; the separator of a joiner
  size_t position = 0;
};

struct LoopState {
  List* items = nullptr;
  size_t index = 0;
  int depth = 0;
  const ForNode* node = nullptr;  // of a recursive loop
  Scope* scope = nullptr;
  std::vector<Value> last_changed;
  bool has_changed = false;
};

// Owns containers and counts bytes. What would grow past the limit, the old and the new place
// counted together, does not grow: its addition is dropped, over() turns true, and the evaluator
// stops at its next step.
class Heap {
 public:
  explicit Heap(uint64_t bytes_max) : bytes_max_(bytes_max) {}
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  bool over() const { return exhausted_ || bytes_ > bytes_max_; }
  void exhaust() { exhausted_ = true; }
  // True if `more` bytes may still be taken: asked before anything big is made.
  bool room(uint64_t more) const { return !over() && more <= bytes_max_ - bytes_; }
  void charge(uint64_t bytes) { bytes_ += bytes; }
  void discharge(uint64_t bytes) { bytes_ -= bytes; }

  Str text(std::string bytes, std::vector<Buffer::Span> user = {});
  List* list(ListKind kind = ListKind::list);
  List* list(std::vector<Value> items, ListKind kind = ListKind::list);
  Dict* dict();
  Space* space();
  Function* function(Function::Kind kind);
  LoopState* loop();
  Scope* scope(Scope* parent);
  void push(List& list, Value value);
  void set(Dict& dict, Value key, Value value);
  void set(Space& space, Str name, Value value);

 private:
  uint64_t bytes_max_, bytes_ = 0;
  bool exhausted_ = false;
  std::vector<std::unique_ptr<List>> lists_;
  std::vector<std::unique_ptr<Dict>> dicts_;
  std::vector<std::unique_ptr<Space>> spaces_;
  std::vector<std::unique_ptr<Function>> functions_;
  std::vector<std::unique_ptr<LoopState>> loops_;
  std::vector<std::unique_ptr<Scope>> scopes_;
};

// Puts texts together with their spans. What it holds counts in the heap.
class StrBuilder {
 public:
  explicit StrBuilder(Heap& heap) : heap_(heap) {}
  StrBuilder(const StrBuilder&) = delete;
  StrBuilder& operator=(const StrBuilder&) = delete;
  ~StrBuilder() { heap_.discharge(charged_); }

  void add(std::string_view bytes, bool user = false) {
    if (!fits(bytes.size())) return;
    const size_t at = bytes_.size();
    bytes_ += bytes;
    if (user) mark(at, bytes_.size());
  }
  void add(const Str& text) {
    if (!fits(text.size())) return;
    const size_t at = bytes_.size();
    bytes_ += text.view();
    text.each_user_span([&](size_t begin, size_t end) { mark(at + begin, at + end); });
  }
  size_t size() const { return bytes_.size(); }
  bool over() const { return heap_.over(); }
  Str take() {
    Str made = heap_.text(std::move(bytes_), std::move(user_));
    heap_.discharge(charged_);
    charged_ = 0;
    bytes_ = {};
    user_ = {};
    return made;
  }
  // The end of a render: gives up bytes and spans as they are.
  std::string& bytes() { return bytes_; }
  const std::vector<Buffer::Span>& user() const { return user_; }

 private:
  // Makes room for `more` bytes, or gives up.
  bool fits(size_t more) {
    if (bytes_.capacity() - bytes_.size() >= more) return true;
    const size_t grown = std::max(bytes_.size() + more, bytes_.capacity() + bytes_.capacity() / 2);
    if (!heap_.room(grown)) {
      heap_.exhaust();
      return false;
    }
    bytes_.reserve(grown);
    account();
    return true;
  }
  void account() {
    const uint64_t now = bytes_.capacity() + user_.capacity() * sizeof(Buffer::Span);
    heap_.discharge(charged_);
    heap_.charge(now);
    charged_ = now;
  }
  void mark(size_t begin, size_t end) {
    if (begin == end) return;
    if (!user_.empty() && user_.back().end == begin) {
      user_.back().end = static_cast<uint32_t>(end);
      return;
    }
    if (user_.size() == user_.capacity()) {
      const size_t grown = std::max<size_t>(4, user_.capacity() + user_.capacity() / 2);
      if (!heap_.room(grown * sizeof(Buffer::Span))) {
        heap_.exhaust();
        return;
      }
      user_.reserve(grown);
      account();
    }
    user_.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end)});
  }
  Heap& heap_;
  uint64_t charged_ = 0;
  std::string bytes_;
  std::vector<Buffer::Span> user_;
};

// Walks over characters, telling for each whether it is user text.
class CharWalk {
 public:
  explicit CharWalk(const Str& text);
  bool next();  // false at the end
  std::string_view bytes() const { return bytes_; }
  uint32_t code_point() const { return code_point_; }
  bool user() const { return user_; }

 private:
  std::string_view text_, bytes_;
  std::vector<std::pair<size_t, size_t>> spans_;
  size_t at_ = 0, span_ = 0;
  uint32_t code_point_ = 0;
  bool user_ = false;
};

bool truth(const Value& value);
// Python's ==. Counts its work up to `work_max`; past that, and past a nesting of 64, it gives up
// and says no.
bool equal(const Value& a, const Value& b, uint64_t& work, uint64_t work_max, int depth = 0);
inline bool equal(const Value& a, const Value& b) {
  uint64_t work = 0;
  return equal(a, b, work, 4096);
}
// "str", "int", "list", "NoneType" …: for errors.
std::string_view type_name(const Value& value);
// The message of an UndefinedError for this undefined value.
std::string missing_message(const Value& value);

size_t character_count(std::string_view text);
// The byte offset of character `index` (the size at the end).
size_t byte_of_character(std::string_view text, size_t index);

std::string int_text(Int value);
std::string real_text(double value);  // Python's repr
// The Int of decimal digits; false if it does not fit.
bool parse_int(std::string_view digits, int base, Int& out);
bool parse_real(std::string_view text, double& out);

template <class F>
void Str::each_user_span(F f) const {
  if (text_.empty()) return;
  if (buffer_ == nullptr) {
    if (user_) f(size_t{0}, text_.size());
    return;
  }
  if (buffer_->user.empty()) return;
  const auto from = static_cast<size_t>(text_.data() - buffer_->bytes.data());
  const size_t to = from + text_.size();
  // The first span that ends behind `from`.
  size_t low = 0, high = buffer_->user.size();
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (buffer_->user[middle].end <= from) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  for (; low < buffer_->user.size() && buffer_->user[low].begin < to; ++low) {
    const size_t begin = std::max<size_t>(buffer_->user[low].begin, from);
    const size_t end = std::min<size_t>(buffer_->user[low].end, to);
    f(begin - from, end - from);
  }
}

}  // namespace text::jinja
