// The pickle that torch.save writes for a state dictionary, protocol 2. A stack machine: opcodes
// push values, gather those above a mark, or keep and fetch them by number. Known opcodes:
//
//   PROTO STOP MARK  NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE
//   EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3  EMPTY_LIST APPEND APPENDS  EMPTY_DICT SETITEM SETITEMS
//   BINPUT LONG_BINPUT BINGET LONG_BINGET  GLOBAL REDUCE BUILD BINPERSID
//
// Known globals, which are names and nothing else here:
//
//   collections.OrderedDict                 REDUCE with no arguments: an empty dictionary
//   torch.FloatStorage and its siblings     the type of a storage
//   torch._utils._rebuild_tensor_v2         REDUCE with (storage, first element, shape, strides,
//                                           requires_grad, hooks): a tensor
//   torch._utils._rebuild_parameter         REDUCE with (tensor, …): the same tensor
//
// BINPERSID takes ("storage", type, key, device, elements): a storage. BUILD gives a dictionary
// attributes, which are dropped. Any other opcode or global is an error with its name. What STOP
// leaves must be one dictionary from names to tensors.
//
// Values live in one table and refer to each other by number, so that nesting costs no stack here,
// neither to build nor to drop.
#include "format/torch_pickle.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>

#include "base/bytes.h"

namespace format {
namespace {

using base::ErrorKind;
using base::fail;
using tensor::Dtype;

constexpr size_t values_max = 1 << 20;
constexpr size_t stack_max = 1 << 20;
constexpr uint32_t memo_max = 1 << 20;
constexpr size_t tensors_max = 200'000;
constexpr size_t global_bytes_max = 256;
constexpr size_t text_bytes_max = 4096;
constexpr size_t key_bytes_max = 64;
constexpr size_t dimensions_max = 4;

struct StorageType {
  std::string_view name;
  Dtype dtype;
};
constexpr StorageType storage_types[] = {
    {"FloatStorage", Dtype::f32},   {"HalfStorage", Dtype::f16}, {"BFloat16Storage", Dtype::bf16},
    {"DoubleStorage", Dtype::f64},  {"LongStorage", Dtype::i64}, {"IntStorage", Dtype::i32},
    {"ShortStorage", Dtype::i16},   {"CharStorage", Dtype::i8},  {"ByteStorage", Dtype::u8},
    {"BoolStorage", Dtype::boolean}};

// All opcodes that pickle has, to name those that are refused.
constexpr std::pair<uint8_t, std::string_view> opcode_names[] = {{'0', "POP"},
                                                                 {'1', "POP_MARK"},
                                                                 {'2', "DUP"},
                                                                 {'F', "FLOAT"},
                                                                 {'I', "INT"},
                                                                 {'L', "LONG"},
                                                                 {'P', "PERSID"},
                                                                 {'S', "STRING"},
                                                                 {'T', "BINSTRING"},
                                                                 {'U', "SHORT_BINSTRING"},
                                                                 {'V', "UNICODE"},
                                                                 {'d', "DICT"},
                                                                 {'g', "GET"},
                                                                 {'i', "INST"},
                                                                 {'l', "LIST"},
                                                                 {'o', "OBJ"},
                                                                 {'p', "PUT"},
                                                                 {0x81, "NEWOBJ"},
                                                                 {0x82, "EXT1"},
                                                                 {0x83, "EXT2"},
                                                                 {0x84, "EXT4"},
                                                                 {0x8b, "LONG4"},
                                                                 {'B', "BINBYTES"},
                                                                 {'C', "SHORT_BINBYTES"},
                                                                 {0x8c, "SHORT_BINUNICODE"},
                                                                 {0x8d, "BINUNICODE8"},
                                                                 {0x8e, "BINBYTES8"},
                                                                 {0x8f, "EMPTY_SET"},
                                                                 {0x90, "ADDITEMS"},
                                                                 {0x91, "FROZENSET"},
                                                                 {0x92, "NEWOBJ_EX"},
                                                                 {0x93, "STACK_GLOBAL"},
                                                                 {0x94, "MEMOIZE"},
                                                                 {0x95, "FRAME"},
                                                                 {0x96, "BYTEARRAY8"},
                                                                 {0x97, "NEXT_BUFFER"},
                                                                 {0x98, "READONLY_BUFFER"}};

enum class Kind : uint8_t {
  none,
  flag,
  integer,
  real,
  text,
  tuple,
  list,
  dictionary,
  make_dictionary,  // globals
  make_tensor,
  make_parameter,
  storage_type,
  storage,
  tensor
};

using Place = uint32_t;  // of a value in the table

struct Value {
  Kind kind = Kind::none;
  Dtype dtype = Dtype::f32;  // of a storage and its type
  int64_t number = 0;        // of a storage: its elements
  std::string_view text;     // of a storage: its key
  std::vector<Place> items;  // of a dictionary: key, value, key, value …
};

class Machine {
 public:
  Machine(std::string_view bytes, std::string_view file)
      : reader_({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}), file_(file) {}

  base::Result<std::vector<PickledTensor>> run() {
    for (;;) {
      const auto code = reader_.read<uint8_t>();
      if (!code) return cut();
      if (*code == '.') break;
      TRY(step(*code));
      if (stack_.size() > stack_max || values_.size() > values_max) {
        return bad("holds more values than are read");
      }
    }
    if (reader_.remaining() != 0) return bad("goes on after its end");
    if (stack_.size() != 1 || !marks_.empty()) return bad("ends with values left over");
    return tensors_of(stack_.back());
  }

 private:
  tl::unexpected<base::Error> bad(std::string why,
                                  ErrorKind kind = ErrorKind::invalid_input) const {
    return fail(kind, fmt::format("{}: the pickle at byte {}", file_, reader_.position()),
                std::move(why), instead_of_torch);
  }
  tl::unexpected<base::Error> cut() const { return bad("is cut short"); }
  tl::unexpected<base::Error> refused(std::string_view what) const {
    return fail(ErrorKind::unsupported, fmt::format("{}: its pickle asks for {}", file_, what),
                "a checkpoint of tensors needs no such thing, and nothing from a file is run",
                instead_of_torch);
  }

  base::Result<void> step(uint8_t code) {
    switch (code) {
      case 0x80:
        return protocol();
      case '(':
        marks_.push_back(stack_.size());
        if (marks_.size() > stack_max) return bad("holds more marks than are read");
        return {};
      case 'N':
        return push({});
      case 0x88:
      case 0x89:
        return push({.kind = Kind::flag, .number = code == 0x88 ? 1 : 0});
      case 'c':
        return global();
      case 'Q':
        return storage();
      case 'R':
        return reduce();
      case 'b':
        return build();
      case 'q':
      case 'r':
      case 'h':
      case 'j':
        return memo(code);
      default:
        return step_of_values(code);
    }
  }

  base::Result<void> step_of_values(uint8_t code) {
    switch (code) {
      case 'J':
        return number<int32_t>();
      case 'K':
        return number<uint8_t>();
      case 'M':
        return number<uint16_t>();
      case 0x8a:
        return long_number();
      case 'G':
        if (!reader_.take(8)) return cut();
        return push({.kind = Kind::real});
      case 'X':
        return text();
      case ')':
        return push({.kind = Kind::tuple});
      case ']':
        return push({.kind = Kind::list});
      case '}':
        return push({.kind = Kind::dictionary});
      case 't':
      case 0x85:
      case 0x86:
      case 0x87:
        return tuple(code);
      case 'a':
      case 'e':
        return append(code);
      case 's':
      case 'u':
        return set_items(code);
      default:
        return refused(opcode(code));
    }
  }

  static std::string opcode(uint8_t code) {
    for (const auto& [known, name] : opcode_names) {
      if (known == code) return fmt::format("the opcode {}", name);
    }
    return fmt::format("the opcode {:#04x}", code);
  }

  base::Result<void> protocol() {
    const auto version = reader_.read<uint8_t>();
    if (!version) return cut();
    if (*version != 2) return bad(fmt::format("is of protocol {}, 2 is read", *version));
    return {};
  }

  // ---- the stack

  base::Result<void> push(Value value) {
    stack_.push_back(static_cast<Place>(values_.size()));
    values_.push_back(std::move(value));
    return {};
  }

  // What stands above the last mark belongs to it alone.
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  base::Result<Place> pop() {
    if (stack_.size() <= floor()) return bad("takes more values than it has");
    const Place place = stack_.back();
    stack_.pop_back();
    return place;
  }

  base::Result<std::vector<Place>> pop_to_mark() {
    if (marks_.empty()) return bad("has no mark where it needs one");
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<Place> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }

  base::Result<Place> top(Kind kind, std::string_view what) const {
    if (stack_.size() <= floor() || values_[stack_.back()].kind != kind) {
      return bad(fmt::format("has no {} where it needs one", what));
    }
    return stack_.back();
  }

  base::Result<void> memo(uint8_t code) {
    const bool wide = code == 'r' || code == 'j', puts = code == 'q' || code == 'r';
    const auto narrow_index = wide ? std::nullopt : reader_.read<uint8_t>();
    const auto wide_index = wide ? reader_.read<uint32_t>() : std::nullopt;
    if (!narrow_index && !wide_index) return cut();
    const uint32_t index = wide ? *wide_index : *narrow_index;
    if (index >= memo_max) return bad(fmt::format("keeps more than {} values", memo_max));
    if (!puts) {
      if (index >= memo_.size() || memo_[index] < 0) return bad("fetches what it never kept");
      stack_.push_back(static_cast<Place>(memo_[index]));
      return {};
    }
    if (stack_.size() <= floor()) return bad("keeps a value that it has not");
    if (index >= memo_.size()) memo_.resize(index + 1, -1);
    memo_[index] = stack_.back();
    return {};
  }

  // ---- plain values

  template <class T>
  base::Result<void> number() {
    const auto value = reader_.read<T>();
    if (!value) return cut();
    return push({.kind = Kind::integer, .number = static_cast<int64_t>(*value)});
  }

  // Two's complement of as many bytes as are needed.
  base::Result<void> long_number() {
    const auto count = reader_.read<uint8_t>();
    const auto bytes = count ? reader_.take(*count) : std::nullopt;
    if (!bytes) return cut();
    if (bytes->size() > sizeof(int64_t)) return bad("holds a number past 64 bits");
    uint64_t value = !bytes->empty() && (bytes->back() & 0x80) != 0 ? ~uint64_t{0} : 0;
    for (size_t i = bytes->size(); i-- > 0;) value = value << 8 | (*bytes)[i];
    return push({.kind = Kind::integer, .number = static_cast<int64_t>(value)});
  }

  base::Result<void> text() {
    const auto count = reader_.read<uint32_t>();
    if (!count) return cut();
    if (*count > text_bytes_max) return bad(fmt::format("holds a text of {} bytes", *count));
    const auto text = reader_.take_text(*count);
    if (!text) return cut();
    if (!base::is_utf8(*text)) return bad("holds a text that is not UTF-8");
    return push({.kind = Kind::text, .text = *text});
  }

  // ---- containers

  base::Result<void> tuple(uint8_t code) {
    Value value{.kind = Kind::tuple};
    if (code == 't') {
      ASSIGN(value.items, pop_to_mark());
    } else {
      for (int i = 0; i < code - 0x84; ++i) {
        ASSIGN(const Place place, pop());
        value.items.insert(value.items.begin(), place);
      }
    }
    return push(std::move(value));
  }

  base::Result<void> append(uint8_t code) {
    std::vector<Place> items;
    if (code == 'e') {
      ASSIGN(items, pop_to_mark());
    } else {
      ASSIGN(const Place place, pop());
      items.push_back(place);
    }
    ASSIGN(const Place list, top(Kind::list, "list"));
    auto& to = values_[list].items;
    to.insert(to.end(), items.begin(), items.end());
    return {};
  }

  base::Result<void> set_items(uint8_t code) {
    std::vector<Place> items;
    if (code == 'u') {
      ASSIGN(items, pop_to_mark());
      if (items.size() % 2 != 0) return bad("has a key without a value");
    } else {
      ASSIGN(const Place value, pop());
      ASSIGN(const Place key, pop());
      items = {key, value};
    }
    ASSIGN(const Place dictionary, top(Kind::dictionary, "dictionary"));
    auto& to = values_[dictionary].items;
    to.insert(to.end(), items.begin(), items.end());
    return {};
  }

  // ---- names of Python's, and what they make

  base::Result<std::string_view> line() {
    for (uint64_t length = 0; length <= global_bytes_max; ++length) {
      base::ByteReader ahead = reader_;
      const auto text = ahead.take_text(length + 1);
      if (!text) return cut();
      if (text->back() != '\n') continue;
      reader_ = ahead;
      return text->substr(0, length);
    }
    return bad(fmt::format("names something with more than {} bytes", global_bytes_max));
  }

  base::Result<void> global() {
    ASSIGN(const std::string_view module, line());
    ASSIGN(const std::string_view name, line());
    if (module == "collections" && name == "OrderedDict") {
      return push({.kind = Kind::make_dictionary});
    }
    if (module == "torch._utils" && name == "_rebuild_tensor_v2") {
      return push({.kind = Kind::make_tensor});
    }
    if (module == "torch._utils" && name == "_rebuild_parameter") {
      return push({.kind = Kind::make_parameter});
    }
    for (const StorageType& type : storage_types) {
      if (module == "torch" && name == type.name) {
        return push({.kind = Kind::storage_type, .dtype = type.dtype});
      }
    }
    return refused(base::shown_name(fmt::format("{}.{}", module, name)));
  }

  base::Result<void> reduce() {
    ASSIGN(const Place arguments, pop());
    ASSIGN(const Place callable, pop());
    if (values_[arguments].kind != Kind::tuple) return bad("makes something without arguments");
    const std::vector<Place>& items = values_[arguments].items;
    switch (values_[callable].kind) {
      case Kind::make_dictionary:
        if (!items.empty()) return bad("makes a dictionary with arguments");
        return push({.kind = Kind::dictionary});
      case Kind::make_tensor:
        return make_tensor(items);
      case Kind::make_parameter:
        if (items.empty() || values_[items[0]].kind != Kind::tensor) {
          return bad("makes a parameter of no tensor");
        }
        stack_.push_back(items[0]);
        return {};
      default:
        return bad("calls what cannot be called");
    }
  }

  base::Result<void> make_tensor(const std::vector<Place>& items) {
    constexpr std::array<Kind, 4> wanted = {Kind::storage, Kind::integer, Kind::tuple, Kind::tuple};
    if (items.size() != 6 && items.size() != 7) return bad("makes a tensor of other arguments");
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (values_[items[i]].kind != wanted[i]) return bad("makes a tensor of other arguments");
    }
    return push({.kind = Kind::tensor, .items = items});
  }

  base::Result<void> storage() {
    ASSIGN(const Place id, pop());
    const std::vector<Place>& items = values_[id].items;
    constexpr std::array<Kind, 5> wanted = {Kind::text, Kind::storage_type, Kind::text, Kind::text,
                                            Kind::integer};
    bool fits = values_[id].kind == Kind::tuple && items.size() == wanted.size();
    for (size_t i = 0; fits && i < wanted.size(); ++i) {
      fits = values_[items[i]].kind == wanted[i];
    }
    if (!fits || values_[items[0]].text != "storage") {
      return bad("refers to something that is no storage");
    }
    Value storage{.kind = Kind::storage};
    storage.dtype = values_[items[1]].dtype;
    storage.text = values_[items[2]].text;
    storage.number = values_[items[4]].number;
    // It becomes a part of a member's name.
    const bool plain = std::all_of(storage.text.begin(), storage.text.end(), [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    });
    if (!plain || storage.text.empty() || storage.text.size() > key_bytes_max) {
      return bad(fmt::format("has a storage with the key {}", base::shown_name(storage.text)));
    }
    if (storage.number < 0) return bad("has a storage of a negative size");
    return push(std::move(storage));
  }

  // Attributes of a dictionary (_metadata): nothing is computed with them.
  base::Result<void> build() {
    ASSIGN(const Place state, pop());
    if (values_[state].kind != Kind::dictionary) return bad("sets attributes that are none");
    TRY(top(Kind::dictionary, "dictionary"));
    return {};
  }

  // ---- the result

  base::Result<std::vector<PickledTensor>> tensors_of(Place place) const {
    if (values_[place].kind != Kind::dictionary) return bad("is no dictionary of tensors");
    const std::vector<Place>& items = values_[place].items;
    if (items.size() / 2 > tensors_max) {
      return bad(fmt::format("holds more than {} tensors", tensors_max));
    }
    std::vector<PickledTensor> tensors;
    for (size_t i = 0; i + 1 < items.size(); i += 2) {
      const Value& name = values_[items[i]];
      const Value& value = values_[items[i + 1]];
      if (name.kind != Kind::text || name.text.empty()) return bad("has a tensor without a name");
      if (value.kind != Kind::tensor) {
        return bad(fmt::format("{} is no tensor", base::shown_name(name.text)));
      }
      ASSIGN(PickledTensor tensor, tensor_of(std::string(name.text), value));
      tensors.push_back(std::move(tensor));
    }
    return tensors;
  }

  base::Result<PickledTensor> tensor_of(std::string name, const Value& value) const {
    PickledTensor tensor;
    tensor.name = std::move(name);
    const Value& storage = values_[value.items[0]];
    tensor.storage = std::string(storage.text);
    tensor.dtype = storage.dtype;
    tensor.storage_elements = static_cast<uint64_t>(storage.number);
    const int64_t first = values_[value.items[1]].number;
    if (first < 0) return bad(fmt::format("{} begins before its storage", shown(tensor)));
    tensor.first = static_cast<uint64_t>(first);
    ASSIGN(tensor.shape, lengths(value.items[2], 1, tensor));
    ASSIGN(tensor.strides, lengths(value.items[3], 0, tensor));
    if (tensor.shape.size() != tensor.strides.size()) {
      return bad(fmt::format("{} has another number of strides than of dimensions", shown(tensor)));
    }
    if (tensor.shape.empty()) tensor.shape.push_back(1);
    return tensor;
  }

  static std::string shown(const PickledTensor& tensor) {
    return "tensor " + base::shown_name(tensor.name);
  }

  base::Result<std::vector<uint64_t>> lengths(Place place, int64_t least,
                                              const PickledTensor& tensor) const {
    const std::vector<Place>& items = values_[place].items;
    if (items.size() > dimensions_max) {
      return bad(fmt::format("{} has {} dimensions, at most {} are read", shown(tensor),
                             items.size(), dimensions_max));
    }
    std::vector<uint64_t> out;
    for (const Place item : items) {
      const Value& length = values_[item];
      if (length.kind != Kind::integer || length.number < least) {
        return bad(fmt::format("{} has a length or stride that is none", shown(tensor)));
      }
      out.push_back(static_cast<uint64_t>(length.number));
    }
    return out;
  }

  base::ByteReader reader_;
  std::string_view file_;
  std::vector<Value> values_;
  std::vector<Place> stack_;
  std::vector<size_t> marks_;
  std::vector<int64_t> memo_;  // by number; -1: nothing
};

}  // namespace

base::Result<std::vector<PickledTensor>> read_torch_pickle(std::string_view bytes,
                                                           std::string_view file) {
  if (bytes.size() > pickle_bytes_max) {
    return fail(ErrorKind::limit_exceeded,
                fmt::format("{}: its pickle has {} bytes", file, bytes.size()),
                fmt::format("at most {} are read", pickle_bytes_max), instead_of_torch);
  }
  return Machine(bytes, file).run();
}

}  // namespace format
