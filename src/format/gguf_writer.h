// GgufWriter: the header of a GGUF file (version 3, alignment 32), put together in memory: keys,
// then tensors in the order in which their data will follow. gguf.cc has the format.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/gguf.h"
#include "tensor/dtype.h"

namespace format {

class GgufWriter {
 public:
  void text(std::string_view key, std::string_view value);
  void u32(std::string_view key, uint64_t value);  // callers have checked that it fits
  void i32(std::string_view key, int32_t value);
  void f32(std::string_view key, double value);
  void boolean(std::string_view key, bool value);
  void texts(std::string_view key, std::span<const std::string> values);
  void i32s(std::string_view key, std::span<const int32_t> values);
  // A key of another file, as it is there.
  void copy(const GgufHeader& from, size_t index);

  // Returns the offset of the tensor's bytes in the data.
  uint64_t tensor(std::string_view name, std::span<const uint64_t> ne, tensor::Dtype dtype);

  // All bytes before the data, padding included.
  std::vector<uint8_t> header() const;
  uint64_t data_bytes() const { return data_bytes_; }

 private:
  void start(std::string_view key, GgufType type);

  std::vector<uint8_t> keys_, tensors_;
  uint64_t key_count_ = 0, tensor_count_ = 0, data_bytes_ = 0;
};

}  // namespace format
