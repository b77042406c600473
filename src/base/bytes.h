// ByteReader: a cursor over foreign little-endian bytes that can never pass the end. Every read
// says whether there was enough; a count from the file is checked against the bytes that are left
// before anything is allocated by it (fits()).
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

namespace base {

static_assert(std::endian::native == std::endian::little, "x86-64 first");

class ByteReader {
 public:
  explicit ByteReader(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return bytes_.size() - position_; }
  // True if `count` things of at least `least_bytes` each can still follow. Never overflows.
  bool fits(uint64_t count, uint64_t least_bytes) const {
    return least_bytes == 0 || count <= remaining() / least_bytes;
  }

  template <class T>
  requires std::is_trivially_copyable_v<T> std::optional<T> read() {
    if (remaining() < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, bytes_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return value;
  }
  std::optional<std::span<const uint8_t>> take(uint64_t count) {
    if (count > remaining()) return std::nullopt;
    auto taken = bytes_.subspan(position_, count);
    position_ += count;
    return taken;
  }
  std::optional<std::string_view> take_text(uint64_t count) {
    auto taken = take(count);
    if (!taken) return std::nullopt;
    return std::string_view(reinterpret_cast<const char*>(taken->data()), taken->size());
  }

 private:
  std::span<const uint8_t> bytes_;
  uint64_t position_ = 0;
};

// a + b and a * b in 64 bits, or nothing when they do not fit.
std::optional<uint64_t> checked_add(uint64_t a, uint64_t b);
std::optional<uint64_t> checked_mul(uint64_t a, uint64_t b);

// True if `text` is well-formed UTF-8 (no surrogates, no overlong forms, at most U+10FFFF).
bool is_utf8(std::string_view text);

}  // namespace base
