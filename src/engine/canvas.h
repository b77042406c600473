// Canvas: a picture of a person as a model looks at it, square and of its size, and a hash of it.
// The hash is keyed with numbers that the engine draws when it starts, so that nobody can make two
// pictures that it takes for one.
//
// How much of the memory all canvases together take is counted; above the limit there is none.
// Any thread.
#pragma once

#include <array>
#include <atomic>
#include <compare>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/random.h"

namespace engine {

struct PictureHash {
  uint64_t high = 0, low = 0;
  friend auto operator<=>(const PictureHash&, const PictureHash&) = default;
};

// SipHash-2-4 of the bytes.
uint64_t keyed_hash(uint64_t key0, uint64_t key1, std::span<const uint8_t> bytes);

struct Canvas {
  std::vector<uint8_t> pixels;  // (side, side, 3) RGB
  PictureHash hash;
};

class CanvasMaker {
 public:
  explicit CanvasMaker(base::Random& random);  // used only here
  // Null: canvases that are still in use take bytes_max.
  std::shared_ptr<const Canvas> make(std::vector<uint8_t> pixels) const;

  static constexpr uint64_t bytes_max = 256ull << 20;

 private:
  std::array<uint64_t, 4> keys_;
  std::shared_ptr<std::atomic<uint64_t>> bytes_;  // canvases may outlive the maker
};

}  // namespace engine
