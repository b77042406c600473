#include "format/gguf_writer.h"

namespace format {
namespace {

constexpr uint32_t version = 3;
constexpr uint64_t alignment_bytes = 32;

template <class T>
void put(std::vector<uint8_t>& out, T value) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
  out.insert(out.end(), bytes, bytes + sizeof value);
}

void put_text(std::vector<uint8_t>& out, std::string_view text) {
  put<uint64_t>(out, text.size());
  out.insert(out.end(), text.begin(), text.end());
}

uint64_t aligned_up(uint64_t value) {
  return (value + alignment_bytes - 1) / alignment_bytes * alignment_bytes;
}

}  // namespace

void GgufWriter::start(std::string_view key, GgufType type) {
  ++key_count_;
  put_text(keys_, key);
  put(keys_, static_cast<uint32_t>(type));
}

void GgufWriter::text(std::string_view key, std::string_view value) {
  start(key, GgufType::string);
  put_text(keys_, value);
}

void GgufWriter::u32(std::string_view key, uint64_t value) {
  start(key, GgufType::u32);
  put(keys_, static_cast<uint32_t>(value));
}

void GgufWriter::i32(std::string_view key, int32_t value) {
  start(key, GgufType::i32);
  put(keys_, value);
}

void GgufWriter::f32(std::string_view key, double value) {
  start(key, GgufType::f32);
  put(keys_, static_cast<float>(value));
}

void GgufWriter::boolean(std::string_view key, bool value) {
  start(key, GgufType::boolean);
  put<uint8_t>(keys_, value ? 1 : 0);
}

void GgufWriter::texts(std::string_view key, std::span<const std::string> values) {
  start(key, GgufType::array);
  put(keys_, static_cast<uint32_t>(GgufType::string));
  put<uint64_t>(keys_, values.size());
  for (const std::string& value : values) put_text(keys_, value);
}

void GgufWriter::i32s(std::string_view key, std::span<const int32_t> values) {
  start(key, GgufType::array);
  put(keys_, static_cast<uint32_t>(GgufType::i32));
  put<uint64_t>(keys_, values.size());
  for (const int32_t value : values) put(keys_, value);
}

void GgufWriter::copy(const GgufHeader& from, size_t index) {
  ++key_count_;
  const auto bytes = from.key_bytes(index);
  keys_.insert(keys_.end(), bytes.begin(), bytes.end());
}

uint64_t GgufWriter::tensor(std::string_view name, std::span<const uint64_t> ne,
                            tensor::Dtype dtype) {
  ++tensor_count_;
  put_text(tensors_, name);
  put(tensors_, static_cast<uint32_t>(ne.size()));
  uint64_t rows = 1;
  for (size_t i = 0; i < ne.size(); ++i) {
    put(tensors_, ne[i]);
    if (i > 0) rows *= ne[i];
  }
  put(tensors_, static_cast<uint32_t>(dtype));
  const uint64_t offset = data_bytes_;
  put(tensors_, offset);
  data_bytes_ = aligned_up(offset + rows * tensor::row_bytes(dtype, ne[0]));
  return offset;
}

std::vector<uint8_t> GgufWriter::header() const {
  std::vector<uint8_t> out = {'G', 'G', 'U', 'F'};
  put(out, version);
  put(out, tensor_count_);
  put(out, key_count_);
  out.insert(out.end(), keys_.begin(), keys_.end());
  out.insert(out.end(), tensors_.begin(), tensors_.end());
  out.resize(aligned_up(out.size()));
  return out;
}

}  // namespace format
