// GGUF, versions 2 and 3, little-endian:
//
//   u8[4] "GGUF" | u32 version | u64 tensor count | u64 key count
//   key count times:     string key | u32 type | value
//   tensor count times:  string name | u32 dimensions | u64 ne[dimensions] | u32 dtype | u64 offset
//   padding to the alignment | data
//
// string: u64 length, then that many bytes of UTF-8, no NUL at the end. Array value: u32 element
// type, u64 count, the elements. The alignment is the u32 key general.alignment, else 32. The data
// begin at the end of the header rounded up to it; offsets count from there. ne[0] is the
// contiguous axis.
//
// Rules (each is an error that names the file and the key or tensor):
//  1. Magic and version are as above. A big-endian file shows version 0x03000000.
//  2. Every count and length is at most the bytes that remain divided by the least size of one
//  thing,
//     before anything is allocated by it; sums and products are checked in 64 bits.
//  3. Keys and tensor names are UTF-8 without NUL, not empty, unique; names have at most 63 bytes.
//  4. Types are known; arrays do not nest; a bool is 0 or 1.
//  5. The alignment is a power of two of at most 64 KiB.
//  6. A tensor has 1 to 4 dimensions, none 0; ne[0] is a multiple of the dtype's block; the dtype
//  is
//     one that weights can have (not retired, not an activation type).
//  7. Tensors, in the order of their offsets, follow each other without overlap and without holes
//  but
//     for the padding to the alignment, and the last one ends inside the file.
#include "format/gguf.h"

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "base/bytes.h"
#include "base/limits.h"
#include "format/decoder_check.h"

namespace format {
namespace {

using base::ErrorKind;
using base::fail;

constexpr uint64_t header_bytes_max = 256ull << 20;
constexpr uint64_t window_bytes_first = 64 << 10;
constexpr uint64_t window_bytes_step_max = 8 << 20;
constexpr uint64_t key_bytes_max = 64 << 10;
constexpr uint64_t text_bytes_max = 16 << 20;
constexpr uint64_t tensor_name_bytes_max = 63;
constexpr uint64_t keys_max = 1 << 16;
constexpr uint64_t tensors_max = 1 << 18;
constexpr uint64_t tensor_elements_max = 1ull << 40;
constexpr uint32_t alignment_bytes_max = 64 << 10;
constexpr uint32_t alignment_bytes_default = 32;
constexpr uint64_t key_entry_bytes_least = 8 + 1 + 4 + 1;
constexpr uint64_t tensor_entry_bytes_least = 8 + 1 + 4 + 8 + 4 + 8;

// Bytes of one element; 0 for those of variable size and for unknown types.
uint64_t fixed_bytes(uint32_t type) {
  switch (static_cast<GgufType>(type)) {
    case GgufType::u8:
    case GgufType::i8:
    case GgufType::boolean:
      return 1;
    case GgufType::u16:
    case GgufType::i16:
      return 2;
    case GgufType::u32:
    case GgufType::i32:
    case GgufType::f32:
      return 4;
    case GgufType::u64:
    case GgufType::i64:
    case GgufType::f64:
      return 8;
    case GgufType::string:
    case GgufType::array:
      return 0;
  }
  return 0;
}

uint64_t aligned_up(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;  // callers keep value below 2^63
}

template <class T>
T load(const std::vector<uint8_t>& bytes, uint64_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

}  // namespace

// Reads the header through a window that begins at byte 0 and grows only by what the file has shown
// itself to hold.
class GgufParser {
 public:
  GgufParser(const ByteSource& source, GgufHeader& out) : source_(source), out_(out) {}

  base::Result<void> run() {
    out_.file_ = source_.shown();
    uint64_t tensor_count = 0, key_count = 0;
    TRY(read_start(tensor_count, key_count));
    for (uint64_t i = 0; i < key_count; ++i) TRY(read_key(i));
    ASSIGN(const uint32_t alignment, read_alignment());
    std::unordered_set<std::string_view> names;
    names.reserve(tensor_count);
    out_.tensors_.reserve(tensor_count);  // so the views into names stay valid
    for (uint64_t i = 0; i < tensor_count; ++i) {
      TRY(read_tensor(i));
      if (!names.insert(out_.tensors_.back().name).second) {
        return bad(fmt::format("tensor {}", base::shown_name(out_.tensors_.back().name)),
                   "two tensors have this name");
      }
    }
    return place_tensors(alignment);
  }

 private:
  tl::unexpected<base::Error> bad(std::string_view field, std::string why,
                                  ErrorKind kind = ErrorKind::invalid_input) const {
    return fail(kind, fmt::format("{}: {}", out_.file_, field), std::move(why), get_another);
  }

  // Makes `count` more bytes readable at the cursor.
  base::Result<void> need(uint64_t count, std::string_view field) {
    const uint64_t size = source_.size();
    if (count > size - at_) {
      return fail(
          ErrorKind::invalid_input,
          fmt::format("{}: the file is cut short: {} needs {} bytes", out_.file_, field, count),
          fmt::format("only {} of {} bytes remain", size - at_, size), "download it again");
    }
    if (count > header_bytes_max - std::min(at_, header_bytes_max)) {
      return bad(field, fmt::format("the header is longer than {} bytes", header_bytes_max),
                 ErrorKind::limit_exceeded);
    }
    const uint64_t wanted = at_ + count;
    std::vector<uint8_t>& window = out_.bytes_;
    if (wanted > window.size()) {
      const uint64_t have = window.size();
      const uint64_t step = std::clamp(have, window_bytes_first, window_bytes_step_max);
      const uint64_t target = std::min(size, std::max(wanted, have + step));
      window.resize(target);
      TRY(source_.read(have, std::span(window).subspan(have)));
    }
    return {};
  }

  template <class T>
  base::Result<T> read(std::string_view field) {
    TRY(need(sizeof(T), field));
    const T value = load<T>(out_.bytes_, at_);
    at_ += sizeof(T);
    return value;
  }

  // `count` things of at least `least_bytes` must still fit into the file.
  base::Result<void> check_count(uint64_t count, uint64_t least_bytes,
                                 std::string_view field) const {
    const uint64_t remaining = source_.size() - at_;
    if (count > remaining / least_bytes) {
      return bad(field, fmt::format("{} of them cannot stand in the {} bytes that remain", count,
                                    remaining));
    }
    return {};
  }

  base::Result<std::string> read_name(uint64_t bytes_max, std::string_view field) {
    ASSIGN(const uint64_t length, read<uint64_t>(field));
    TRY(check_count(length, 1, field));
    if (length == 0) return bad(field, "is empty");
    if (length > bytes_max) {
      return bad(field, fmt::format("has {} bytes, at most {} are allowed", length, bytes_max));
    }
    TRY(need(length, field));
    std::string name(reinterpret_cast<const char*>(out_.bytes_.data() + at_), length);
    at_ += length;
    if (!base::is_utf8(name)) return bad(field, base::shown_name(name) + " is not UTF-8");
    if (name.find('\0') != std::string::npos) {
      return bad(field, base::shown_name(name) + " holds a NUL");
    }
    return name;
  }

  base::Result<void> read_start(uint64_t& tensor_count, uint64_t& key_count);
  base::Result<void> read_key(uint64_t index);
  base::Result<void> read_scalar(uint32_t type, std::string_view field, GgufValue& value);
  base::Result<void> read_text(std::string_view field, GgufValue& value);
  base::Result<void> read_array(std::string_view field, GgufValue& value);
  base::Result<uint32_t> read_alignment();
  base::Result<void> read_tensor(uint64_t index);
  base::Result<void> size_tensor(uint32_t type_id, GgufTensor& tensor) const;
  base::Result<void> place_tensors(uint32_t alignment);

  const ByteSource& source_;
  GgufHeader& out_;
  uint64_t at_ = 0;
};

base::Result<void> GgufParser::read_start(uint64_t& tensor_count, uint64_t& key_count) {
  if (source_.size() == 0) return bad("the file is empty", "a GGUF file begins with \"GGUF\"");
  TRY(need(std::min<uint64_t>(source_.size(), 4), "the magic"));
  const std::string_view start(reinterpret_cast<const char*>(out_.bytes_.data()),
                               std::min<size_t>(out_.bytes_.size(), 64));
  if (start.starts_with("version https://git-lfs")) {
    return fail(ErrorKind::invalid_input,
                fmt::format("{}: is a Git LFS pointer, not the model itself", out_.file_), "",
                "fetch it with git lfs pull, or download the file");
  }
  ASSIGN(const uint32_t magic, read<uint32_t>("the magic"));
  if (magic != 0x46554747) {
    return bad("the file does not begin with \"GGUF\"", "it is not a GGUF file");
  }
  ASSIGN(out_.version_, read<uint32_t>("the version"));
  if (out_.version_ == 0x02000000 || out_.version_ == 0x03000000) {
    return bad("the version", "the file is big-endian", ErrorKind::unsupported);
  }
  if (out_.version_ != 2 && out_.version_ != 3) {
    return bad("the version", fmt::format("is {}; 2 and 3 are known", out_.version_),
               ErrorKind::unsupported);
  }
  ASSIGN(tensor_count, read<uint64_t>("the tensor count"));
  ASSIGN(key_count, read<uint64_t>("the key count"));
  TRY(check_count(tensor_count, tensor_entry_bytes_least, "the tensor count"));
  TRY(check_count(key_count, key_entry_bytes_least, "the key count"));
  if (tensor_count > tensors_max || key_count > keys_max) {
    return bad("the tensor and key counts",
               fmt::format("at most {} tensors and {} keys are read", tensors_max, keys_max),
               ErrorKind::limit_exceeded);
  }
  return {};
}

base::Result<void> GgufParser::read_key(uint64_t index) {
  ASSIGN(std::string name, read_name(key_bytes_max, fmt::format("the name of key {}", index)));
  const std::string field = "key " + base::shown_name(name);
  if (out_.by_name_.contains(name)) return bad(field, "stands there twice");
  GgufValue value;
  ASSIGN(const uint32_t type, read<uint32_t>(field));
  if (type > static_cast<uint32_t>(GgufType::f64)) {
    return bad(field, fmt::format("has the unknown type {}", type));
  }
  value.type = static_cast<GgufType>(type);
  if (value.type == GgufType::string) {
    TRY(read_text(field, value));
  } else if (value.type == GgufType::array) {
    TRY(read_array(field, value));
  } else {
    TRY(read_scalar(type, field, value));
  }
  out_.by_name_.emplace(name, out_.keys_.size());
  out_.keys_.push_back({std::move(name), value});
  return {};
}

base::Result<void> GgufParser::read_scalar(uint32_t type, std::string_view field,
                                           GgufValue& value) {
  value.bytes = fixed_bytes(type);
  value.at = at_;
  TRY(need(value.bytes, field));
  if (value.type == GgufType::boolean && out_.bytes_[at_] > 1) {
    return bad(field, fmt::format("is a bool with the value {}", out_.bytes_[at_]));
  }
  at_ += value.bytes;
  return {};
}

base::Result<void> GgufParser::read_text(std::string_view field, GgufValue& value) {
  ASSIGN(value.bytes, read<uint64_t>(field));
  TRY(check_count(value.bytes, 1, field));
  if (value.bytes > text_bytes_max) {
    return bad(
        field,
        fmt::format("is a text of {} bytes, at most {} are read", value.bytes, text_bytes_max),
        ErrorKind::limit_exceeded);
  }
  value.at = at_;
  TRY(need(value.bytes, field));
  at_ += value.bytes;
  return {};
}

base::Result<void> GgufParser::read_array(std::string_view field, GgufValue& value) {
  ASSIGN(const uint32_t element, read<uint32_t>(field));
  if (element > static_cast<uint32_t>(GgufType::f64)) {
    return bad(field, fmt::format("is an array of the unknown type {}", element));
  }
  value.element = static_cast<GgufType>(element);
  if (value.element == GgufType::array) return bad(field, "is an array of arrays");
  ASSIGN(value.count, read<uint64_t>(field));
  value.at = at_;
  if (value.element == GgufType::string) {
    TRY(check_count(value.count, 8, field));
    GgufValue text;
    for (uint64_t i = 0; i < value.count; ++i) {
      auto done = read_text(field, text);
      if (!done) {
        done.error().what += fmt::format(" (element {})", i);
        return done;
      }
    }
    value.bytes = at_ - value.at;
    return {};
  }
  const uint64_t each = fixed_bytes(element);
  TRY(check_count(value.count, each, field));
  value.bytes = value.count * each;
  TRY(need(value.bytes, field));
  if (value.element == GgufType::boolean) {
    for (uint64_t i = 0; i < value.count; ++i) {
      if (out_.bytes_[at_ + i] > 1) {
        return bad(field,
                   fmt::format("element {} is a bool with the value {}", i, out_.bytes_[at_ + i]));
      }
    }
  }
  at_ += value.bytes;
  return {};
}

base::Result<uint32_t> GgufParser::read_alignment() {
  const std::string_view key = "general.alignment";
  const GgufValue* value = out_.find(key);
  if (value == nullptr) return alignment_bytes_default;
  if (value->type != GgufType::u32) return out_.wrong_type(key, "a u32");
  const uint32_t alignment = load<uint32_t>(out_.bytes_, value->at);
  if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > alignment_bytes_max) {
    return bad("key general.alignment", fmt::format("is {}, not a power of two of at most {}",
                                                    alignment, alignment_bytes_max));
  }
  return alignment;
}

base::Result<void> GgufParser::read_tensor(uint64_t index) {
  GgufTensor tensor;
  ASSIGN(tensor.name,
         read_name(tensor_name_bytes_max, fmt::format("the name of tensor {}", index)));
  const std::string field = "tensor " + base::shown_name(tensor.name);
  ASSIGN(const uint32_t dimensions, read<uint32_t>(field));
  if (dimensions < 1 || dimensions > 4) {
    return bad(field, fmt::format("has {} dimensions; 1 to 4 are allowed", dimensions));
  }
  for (uint32_t d = 0; d < dimensions; ++d) {
    ASSIGN(const uint64_t length, read<uint64_t>(field));
    if (length == 0) return bad(field, fmt::format("dimension {} is 0", d));
    tensor.ne.push_back(length);
  }
  ASSIGN(const uint32_t type_id, read<uint32_t>(field));
  TRY(size_tensor(type_id, tensor));
  ASSIGN(tensor.offset, read<uint64_t>(field));
  out_.tensors_.push_back(std::move(tensor));
  return {};
}

base::Result<void> GgufParser::size_tensor(uint32_t type_id, GgufTensor& tensor) const {
  const std::string field = "tensor " + base::shown_name(tensor.name);
  // Ids from 1000 are this program's own for types of safetensors.
  const auto type = type_id < 1000 ? tensor::dtype_info(type_id) : std::nullopt;
  if (!type) return bad(field, fmt::format("has the unknown or retired type id {}", type_id));
  if (type->dtype == tensor::Dtype::q8_1 || type->dtype == tensor::Dtype::q8_k) {
    return bad(field,
               fmt::format("has type {} (id {}), which is not for weights", type->name, type_id));
  }
  tensor.dtype = type->dtype;
  const uint64_t block = static_cast<uint64_t>(type->block_elements);
  if (tensor.ne[0] % block != 0) {
    return bad(field, fmt::format("has rows of {} elements, not a multiple of the {} of a {} block",
                                  tensor.ne[0], block, type->name));
  }
  uint64_t elements = 1;
  for (const uint64_t length : tensor.ne) {
    const auto product = base::checked_mul(elements, length);
    if (!product || *product > tensor_elements_max) {
      return bad(field, fmt::format("has more than {} elements", tensor_elements_max));
    }
    elements = *product;
  }
  tensor.bytes = elements / block * static_cast<uint64_t>(type->block_bytes);  // below 2^44
  return {};
}

base::Result<void> GgufParser::place_tensors(uint32_t alignment) {
  out_.bytes_.resize(at_);
  out_.bytes_.shrink_to_fit();
  if (out_.tensors_.empty()) return {};
  const uint64_t size = source_.size();
  const uint64_t start = aligned_up(at_, alignment);
  if (start > size) {
    return fail(ErrorKind::invalid_input,
                fmt::format("{}: the file is cut short: the tensor data are missing", out_.file_),
                fmt::format("they should begin at byte {}, the file has {}", start, size),
                "download it again");
  }
  std::vector<GgufTensor*> order;
  for (GgufTensor& tensor : out_.tensors_) order.push_back(&tensor);
  std::stable_sort(order.begin(), order.end(),
                   [](const GgufTensor* a, const GgufTensor* b) { return a->offset < b->offset; });
  const uint64_t data = size - start;
  uint64_t expected = 0;
  for (GgufTensor* tensor : order) {
    const std::string field = "tensor " + base::shown_name(tensor->name);
    if (tensor->offset % alignment != 0) {
      return bad(field, fmt::format("offset {} is not a multiple of the alignment {}",
                                    tensor->offset, alignment));
    }
    if (tensor->offset > data || tensor->bytes > data - tensor->offset) {
      return fail(ErrorKind::invalid_input,
                  fmt::format("{}: {}: offset {} + {} bytes is past the end of the file",
                              out_.file_, field, tensor->offset, tensor->bytes),
                  fmt::format("the file has {} bytes of data", data),
                  "the file is cut short or damaged: download it again");
    }
    if (tensor->offset != expected) {
      return bad(field, fmt::format(
                            "offset {}: {} where {} was expected", tensor->offset,
                            tensor->offset < expected ? "overlaps another tensor" : "leaves a hole",
                            expected));
    }
    expected = aligned_up(tensor->offset + tensor->bytes, alignment);
    tensor->offset += start;
  }
  return {};
}

base::Result<GgufHeader> GgufHeader::parse(const ByteSource& source) {
  GgufHeader header;
  TRY(GgufParser(source, header).run());
  return header;
}

const GgufValue* GgufHeader::find(std::string_view key) const {
  const auto found = by_name_.find(std::string(key));
  return found == by_name_.end() ? nullptr : &keys_[found->second].value;
}

std::span<const uint8_t> GgufHeader::key_bytes(size_t index) const {
  const Key& key = keys_[index];
  // Length and bytes of the name, the type; then what stands before the value.
  uint64_t before = 8 + key.name.size() + 4;
  if (key.value.type == GgufType::string) before += 8;
  if (key.value.type == GgufType::array) before += 4 + 8;
  const uint64_t from = key.value.at - before;
  return std::span(bytes_).subspan(from, before + key.value.bytes);
}

tl::unexpected<base::Error> GgufHeader::wrong_type(std::string_view key,
                                                   std::string_view wanted) const {
  return fail(ErrorKind::invalid_input, fmt::format("{}: key {}", file_, base::shown_name(key)),
              fmt::format("is not {}", wanted), get_another);
}

std::string_view GgufHeader::text_at(uint64_t at, uint64_t bytes) const {
  return {reinterpret_cast<const char*>(bytes_.data()) + at, bytes};
}

// Nothing for types that are no integers and for u64 values past int64.
std::optional<int64_t> GgufHeader::integer_at(GgufType type, uint64_t at) const {
  switch (type) {
    case GgufType::u8:
      return load<uint8_t>(bytes_, at);
    case GgufType::i8:
      return load<int8_t>(bytes_, at);
    case GgufType::u16:
      return load<uint16_t>(bytes_, at);
    case GgufType::i16:
      return load<int16_t>(bytes_, at);
    case GgufType::u32:
      return load<uint32_t>(bytes_, at);
    case GgufType::i32:
      return load<int32_t>(bytes_, at);
    case GgufType::i64:
      return load<int64_t>(bytes_, at);
    case GgufType::u64: {
      const uint64_t value = load<uint64_t>(bytes_, at);
      if (value > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
      return static_cast<int64_t>(value);
    }
    default:
      return std::nullopt;
  }
}

base::Result<std::optional<int64_t>> GgufHeader::integer(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::optional<int64_t>();
  const auto number = integer_at(value->type, value->at);
  if (!number) return wrong_type(key, "an integer of a sane size");
  return number;
}

base::Result<std::optional<double>> GgufHeader::number(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::optional<double>();
  if (value->type == GgufType::f32) {
    return std::optional<double>(static_cast<double>(load<float>(bytes_, value->at)));
  }
  if (value->type == GgufType::f64) return std::optional<double>(load<double>(bytes_, value->at));
  const auto number = integer_at(value->type, value->at);
  if (!number) return wrong_type(key, "a number");
  return std::optional<double>(static_cast<double>(*number));
}

base::Result<std::optional<bool>> GgufHeader::boolean(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::optional<bool>();
  if (value->type != GgufType::boolean) return wrong_type(key, "a bool");
  return std::optional<bool>(bytes_[value->at] == 1);
}

base::Result<std::optional<std::string>> GgufHeader::text(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::optional<std::string>();
  if (value->type != GgufType::string) return wrong_type(key, "a string");
  return std::optional<std::string>(text_at(value->at, value->bytes));
}

base::Result<std::optional<std::vector<std::string_view>>> GgufHeader::texts(
    std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::optional<std::vector<std::string_view>>();
  if (value->type != GgufType::array || value->element != GgufType::string) {
    return wrong_type(key, "a list of strings");
  }
  std::vector<std::string_view> texts;
  texts.reserve(value->count);
  uint64_t at = value->at;
  for (uint64_t i = 0; i < value->count; ++i) {
    const uint64_t length = load<uint64_t>(bytes_, at);
    texts.push_back(text_at(at + 8, length));
    at += 8 + length;
  }
  return std::optional(std::move(texts));
}

base::Result<std::optional<std::vector<int64_t>>> GgufHeader::integers(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::optional<std::vector<int64_t>>();
  if (value->type != GgufType::array || value->element == GgufType::string) {
    return wrong_type(key, "a list of integers");
  }
  std::vector<int64_t> numbers;
  numbers.reserve(value->count);
  const uint64_t each = fixed_bytes(static_cast<uint32_t>(value->element));
  for (uint64_t i = 0; i < value->count; ++i) {
    const auto number = integer_at(value->element, value->at + i * each);
    if (!number) return wrong_type(key, "a list of integers");
    numbers.push_back(*number);
  }
  return std::optional(std::move(numbers));
}

base::Json GgufHeader::scalar_json(GgufType type, uint64_t at, uint64_t bytes) const {
  constexpr size_t shown_text_bytes_max = 1 << 20;
  switch (type) {
    case GgufType::string:
      return base::Json(clean_text(text_at(at, bytes), shown_text_bytes_max));
    case GgufType::boolean:
      return base::Json(bytes_[at] == 1);
    case GgufType::f32:
      return base::Json(static_cast<double>(load<float>(bytes_, at)));
    case GgufType::f64:
      return base::Json(load<double>(bytes_, at));
    default:
      break;
  }
  if (const auto number = integer_at(type, at)) return base::Json(*number);
  return base::Json(static_cast<double>(load<uint64_t>(bytes_, at)));
}

base::Json GgufHeader::metadata() const {
  constexpr uint64_t elements_shown_max = 8;
  base::Json::Object members;
  for (const Key& key : keys_) {
    const GgufValue& value = key.value;
    if (value.type != GgufType::array) {
      members.emplace_back(clean_text(key.name, base::limits::foreign_name_shown_bytes_max),
                           scalar_json(value.type, value.at, value.bytes));
      continue;
    }
    base::Json::Array shown;
    uint64_t at = value.at;
    for (uint64_t i = 0; i < std::min(value.count, elements_shown_max); ++i) {
      uint64_t bytes = fixed_bytes(static_cast<uint32_t>(value.element));
      if (value.element == GgufType::string) {
        bytes = load<uint64_t>(bytes_, at);
        at += 8;
      }
      shown.push_back(scalar_json(value.element, at, bytes));
      at += bytes;
    }
    if (value.count > elements_shown_max) {
      shown.emplace_back(fmt::format("… {} in all", value.count));
    }
    members.emplace_back(clean_text(key.name, base::limits::foreign_name_shown_bytes_max),
                         base::Json(std::move(shown)));
  }
  return base::Json::from_members(std::move(members));
}

std::string clean_text(std::string_view foreign, size_t bytes_max) {
  std::string out;
  size_t i = 0;
  while (i < foreign.size()) {
    const unsigned char lead = static_cast<unsigned char>(foreign[i]);
    size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    length = std::min(length, foreign.size() - i);
    const std::string_view character = foreign.substr(i, length);
    const bool c1 = length == 2 && lead == 0xc2 && static_cast<unsigned char>(character[1]) < 0xa0;
    const bool control = (lead < 0x20 && lead != '\n' && lead != '\t') || lead == 0x7f || c1;
    const bool utf8 = base::is_utf8(character);
    if (!utf8) length = 1;
    const bool kept = utf8 && !control;
    if (out.size() + (kept ? length : 3) > bytes_max) {
      out += "…";
      break;
    }
    if (kept) {
      out += character;
    } else {
      out += "\xef\xbf\xbd";
    }
    i += length;
  }
  return out;
}

}  // namespace format
