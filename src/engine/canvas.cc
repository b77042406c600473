#include "engine/canvas.h"

#include <bit>
#include <cstring>
#include <utility>

namespace engine {
namespace {

// The four words of SipHash (Aumasson and Bernstein, 2012).
struct SipState {
  uint64_t a, b, c, d;

  void round() {
    a += b;
    b = std::rotl(b, 13) ^ a;
    a = std::rotl(a, 32);
    c += d;
    d = std::rotl(d, 16) ^ c;
    a += d;
    d = std::rotl(d, 21) ^ a;
    c += b;
    b = std::rotl(b, 17) ^ c;
    c = std::rotl(c, 32);
  }
  void take(uint64_t word) {
    d ^= word;
    round();
    round();
    a ^= word;
  }
};

}  // namespace

uint64_t keyed_hash(uint64_t key0, uint64_t key1, std::span<const uint8_t> bytes) {
  SipState state{key0 ^ 0x736f6d6570736575ull, key1 ^ 0x646f72616e646f6dull,
                 key0 ^ 0x6c7967656e657261ull, key1 ^ 0x7465646279746573ull};
  size_t whole = bytes.size() / 8 * 8;
  for (size_t i = 0; i < whole; i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + i, 8);
    state.take(word);
  }
  uint64_t last = static_cast<uint64_t>(bytes.size()) << 56;
  for (size_t i = whole; i < bytes.size(); ++i) {
    last |= static_cast<uint64_t>(bytes[i]) << (8 * (i - whole));
  }
  state.take(last);
  state.c ^= 0xff;
  for (int i = 0; i < 4; ++i) state.round();
  return state.a ^ state.b ^ state.c ^ state.d;
}

CanvasMaker::CanvasMaker(base::Random& random)
    : keys_{random.u64(), random.u64(), random.u64(), random.u64()},
      bytes_(std::make_shared<std::atomic<uint64_t>>(0)) {}

std::shared_ptr<const Canvas> CanvasMaker::make(std::vector<uint8_t> pixels) const {
  const uint64_t size = pixels.size();
  if (bytes_->fetch_add(size) + size > bytes_max) {
    bytes_->fetch_sub(size);
    return nullptr;
  }
  const PictureHash hash{keyed_hash(keys_[0], keys_[1], pixels),
                         keyed_hash(keys_[2], keys_[3], pixels)};
  auto canvas = std::make_unique<Canvas>(Canvas{std::move(pixels), hash});
  return {canvas.release(), [counted = bytes_, size](const Canvas* gone) {
            delete gone;
            counted->fetch_sub(size);
          }};
}

}  // namespace engine
