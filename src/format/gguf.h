// GGUF: the header of one file (a shard, or the whole model), parsed and checked; no model
// knowledge. The format and its rules are written down at the head of gguf.cc.
//
// Values stay in the header's bytes; a GgufValue is a place in them, so that a list of 150,000
// tokens costs what it costs in the file. Immutable after parsing: any thread may read it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "format/byte_source.h"
#include "tensor/dtype.h"

namespace format {

enum class GgufType : uint32_t {
  u8 = 0,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  string,
  array,
  u64,
  i64,
  f64
};

struct GgufValue {
  GgufType type = GgufType::u8;
  GgufType element = GgufType::u8;  // of an array
  uint64_t count = 0;               // elements of an array
  uint64_t at = 0;                  // of the scalar, the text, or the first element
  uint64_t bytes = 0;
};

struct GgufTensor {
  std::string name;
  tensor::Dtype dtype = tensor::Dtype::f32;
  std::vector<uint64_t> ne;  // as in the file: contiguous axis first; 1 to 4, none 0
  uint64_t offset = 0;       // absolute, in the file
  uint64_t bytes = 0;
};

class GgufHeader {
 public:
  static base::Result<GgufHeader> parse(const ByteSource& source);

  uint32_t version() const { return version_; }
  const std::string& file() const { return file_; }
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  size_t key_count() const { return keys_.size(); }
  const std::string& key_name(size_t index) const { return keys_[index].name; }
  // The key as it stands in the file: its name, its type, its value.
  std::span<const uint8_t> key_bytes(size_t index) const;
  bool has(std::string_view key) const { return find(key) != nullptr; }
  const GgufValue* find(std::string_view key) const;

  // Each returns nothing when the key is absent, an error when it has another type.
  base::Result<std::optional<int64_t>> integer(std::string_view key) const;
  base::Result<std::optional<double>> number(std::string_view key) const;  // or an integer
  base::Result<std::optional<bool>> boolean(std::string_view key) const;
  base::Result<std::optional<std::string>> text(std::string_view key) const;
  base::Result<std::optional<std::vector<std::string_view>>> texts(std::string_view key) const;
  base::Result<std::optional<std::vector<int64_t>>> integers(std::string_view key) const;

  // All keys in order; arrays are shortened to their first elements and a count. Control characters
  // of texts are replaced, so that printing it is safe.
  base::Json metadata() const;

 private:
  friend class GgufParser;
  struct Key {
    std::string name;
    GgufValue value;
  };
  std::optional<int64_t> integer_at(GgufType type, uint64_t at) const;
  base::Json scalar_json(GgufType type, uint64_t at, uint64_t bytes) const;
  std::string_view text_at(uint64_t at, uint64_t bytes) const;
  tl::unexpected<base::Error> wrong_type(std::string_view key, std::string_view wanted) const;

  std::string file_;
  uint32_t version_ = 0;
  std::vector<uint8_t> bytes_;  // the header from byte 0
  std::vector<Key> keys_;
  std::unordered_map<std::string, size_t> by_name_;
  std::vector<GgufTensor> tensors_;
};

// Text from a foreign file for a person: ill-formed UTF-8 and control characters (but not line feed
// and tab) become U+FFFD, and more than `bytes_max` bytes are cut.
std::string clean_text(std::string_view foreign, size_t bytes_max);

}  // namespace format
